// SPDX-License-Identifier: Apache-2.0
#include "search.h"

#include <set>

#include "fixture.h"

namespace kubernel::plugins {
namespace {

using scheduler::NodeInfo;

// What a search costs is counted in questions to the filters.
class SearchTest : public PreemptionTest {
 protected:
  // `count` nodes of two cpus, full with a pod of that priority, numbered as by a cache.
  void add_nodes(std::size_t count, int priority) {
    for (std::size_t i = 0; i < count; ++i) {
      auto node = cpu_node("n" + std::to_string(nodes_.size()), "2");
      node.slot = static_cast<std::uint32_t>(nodes_.size());
      node.add_pod(running("on-" + node.name, priority, "2"));
      node.generation = ++generation_;
      nodes_.push_back(std::make_shared<NodeInfo>(std::move(node)));
    }
  }
  // Returns the names of the candidates.
  std::set<std::string> search(const scheduler::Cycle& cycle, std::size_t wanted, std::size_t offset = 0) {
    std::vector<const NodeInfo*> nodes;
    for (const auto& node : nodes_) nodes.push_back(node.get());
    known_.begin(cycle.signature, nodes.size());
    VictimSearch search(handle_, cycle, budgets_, known_, {wanted, offset, clock_.wall_now()});
    handle_.questions = 0;
    const auto done = search.run(nodes);
    EXPECT_TRUE(done) << done.error().message();
    std::set<std::string> out;
    for (const auto& one : search.candidates()) out.insert(one.node->name);
    refusals_ = search.take_refusals();
    return out;
  }
  static scheduler::Cycle signed_as(const std::string& signature, const std::string& cpu = "1") {
    auto cycle = wanting(10, cpu);
    cycle.signature = signature;
    return cycle;
  }

  std::vector<std::shared_ptr<NodeInfo>> nodes_;
  std::uint64_t generation_ = 0;
  std::vector<Budget> budgets_;
  KnownVictims known_;
  std::vector<scheduler::NodeVerdict> refusals_;
};

TEST_F(SearchTest, NodesWithoutPodsOfLowerPriorityArePassedOver) {
  add_nodes(300, 10);
  add_nodes(1, 1);
  EXPECT_EQ(search(wanting(10, "1"), 100), std::set<std::string>{"n300"});
  EXPECT_EQ(handle_.questions, 2);  // Without the pod, and with it again.
}

TEST_F(SearchTest, SaysOfEachNodeWhyItDoesNotHelp) {
  add_nodes(1, 10);
  add_nodes(1, 1);
  EXPECT_TRUE(search(wanting(10, "3"), 100).empty());
  ASSERT_EQ(refusals_.size(), 2U);
  EXPECT_EQ(joined(refusals_[0].verdict), "No preemption victims found for incoming pod");
  EXPECT_EQ(refusals_[0].verdict.kind(), scheduler::Verdict::Kind::Unresolvable);
  EXPECT_EQ(joined(refusals_[1].verdict), "Insufficient cpu");
}

TEST_F(SearchTest, StopsWithEnoughCandidatesFromTheOffsetOn) {
  add_nodes(200, 1);
  const auto found = search(wanting(10, "1"), 40, 190);
  EXPECT_EQ(found.size(), 40U);
  EXPECT_TRUE(found.contains("n199"));
  EXPECT_TRUE(found.contains("n0"));
  EXPECT_FALSE(found.contains("n100"));
  EXPECT_EQ(handle_.questions, 80);
}

TEST_F(SearchTest, GoesOnWhileEveryCandidateBreaksABudget) {
  add_nodes(100, 1);
  auto guarded = cpu_node("guarded", "2");
  guarded.add_pod(running("g", 1, "2", "", R"({"app":"guarded"})"));
  for (auto& node : nodes_) {
    NodeInfo same = guarded;
    same.name = node->name;
    *node = std::move(same);
  }
  add_nodes(1, 1);
  budgets_.emplace_back(budget(0, "guarded"));
  EXPECT_EQ(search(wanting(10, "1"), 40).size(), 101U);
}

TEST_F(SearchTest, WhatIsKnownOfAnUnchangedNodeIsNotAskedAgain) {
  add_nodes(100, 1);
  search(signed_as("like this"), 100);
  EXPECT_EQ(handle_.questions, 200);
  EXPECT_EQ(search(signed_as("like this"), 100).size(), 100U);
  EXPECT_EQ(handle_.questions, 0);
}

TEST_F(SearchTest, AlsoARefusalIsKnown) {
  add_nodes(50, 1);
  search(signed_as("large", "3"), 100);
  EXPECT_EQ(handle_.questions, 50);
  search(signed_as("large", "3"), 100);
  EXPECT_EQ(handle_.questions, 0);
  ASSERT_EQ(refusals_.size(), 50U);
  EXPECT_EQ(joined(refusals_[7].verdict), "Insufficient cpu");
}

TEST_F(SearchTest, AChangedNodeIsAskedAgain) {
  add_nodes(100, 1);
  search(signed_as("like this"), 100);
  auto changed = *nodes_[3];
  changed.add_pod(running("more", 20, "2"));
  changed.generation = ++generation_;
  *nodes_[3] = std::move(changed);
  EXPECT_FALSE(search(signed_as("like this"), 100).contains("n3"));
  EXPECT_EQ(handle_.questions, 1);
}

TEST_F(SearchTest, ANodeIsAskedAgainWhenWhoIsPromisedRoomThereChanges) {
  add_nodes(1, 1);
  search(signed_as("like this"), 1);
  handle_.nominated = {running("promised", 10, "2")};
  search(signed_as("like this"), 1);
  EXPECT_EQ(handle_.questions, 2);
  search(signed_as("like this"), 1);
  EXPECT_EQ(handle_.questions, 0);
  handle_.nominated = {running("promised", 10, "2")};  // The same pod, updated.
  search(signed_as("like this"), 1);
  EXPECT_EQ(handle_.questions, 2);
}

TEST_F(SearchTest, APodOfAnotherSignatureAsksForItself) {
  add_nodes(10, 1);
  search(signed_as("small"), 10);
  EXPECT_TRUE(search(signed_as("large", "3"), 10).empty());
  EXPECT_EQ(handle_.questions, 10);
}

TEST_F(SearchTest, APodWhoseAnswersDependOnMoreThanTheNodeAsksEachTime) {
  add_nodes(10, 1);
  search(wanting(10, "1"), 10);
  search(wanting(10, "1"), 10);
  EXPECT_EQ(handle_.questions, 20);
}

TEST_F(SearchTest, OfANodeThatNoCacheMadeNothingIsKept) {
  add_nodes(10, 1);
  for (auto& node : nodes_) node->generation = 0;
  search(signed_as("like this"), 10);
  search(signed_as("like this"), 10);
  EXPECT_EQ(handle_.questions, 20);
}

// Random clusters that change between searches: what is known never differs from what would be found anew.
TEST_F(SearchTest, WhatIsKnownIsWhatWouldBeFoundAnew) {
  add_nodes(60, 1);
  for (int round = 0; round < 100; ++round) {
    for (int change = 0; change < 5; ++change) {
      auto& node = nodes_[random_below(random_, nodes_.size())];
      auto changed = *node;
      if (changed.pods.empty() || random_below(random_, 2) == 0) {
        changed.add_pod(running("r" + std::to_string(round) + "-" + std::to_string(change),
                                static_cast<int>(random_below(random_, 14)), "1"));
      } else {
        changed.remove_pod(*changed.pods[random_below(random_, changed.pods.size())]);
      }
      changed.generation = ++generation_;
      node = std::make_shared<NodeInfo>(std::move(changed));
    }
    const std::string cpu = std::to_string(2 + random_below(random_, 2));
    KnownVictims nothing;
    const auto full = [&](KnownVictims& known) {
      std::vector<const NodeInfo*> nodes;
      for (const auto& node : nodes_) {
        if (node->requested.milli_cpu + 1000 > node->allocatable.milli_cpu) nodes.push_back(node.get());
      }
      const auto cycle = signed_as(cpu, cpu);
      known.begin(cycle.signature, nodes_.size());
      VictimSearch search(handle_, cycle, budgets_, known, {nodes.size(), 0, clock_.wall_now()});
      EXPECT_TRUE(search.run(nodes));
      std::set<std::string> out;
      for (const auto& one : search.candidates()) out.insert(one.node->name + ": " + names(one.candidate().pods));
      return out;
    };
    ASSERT_EQ(full(known_), full(nothing)) << "round " << round;
  }
}

}  // namespace
}  // namespace kubernel::plugins
