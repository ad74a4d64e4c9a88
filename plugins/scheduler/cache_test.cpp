// SPDX-License-Identifier: Apache-2.0
#include "cache.h"

#include <map>
#include <set>

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

class SchedulerCacheTest : public testing::SchedulerPluginTest {
 protected:
  static std::shared_ptr<const scheduler::PodInfo> bound(const std::string& name, const std::string& node) {
    return pod(R"({"nodeName":")" + node + R"(","containers":[{"resources":{"requests":{"cpu":"1"}}}]})", name);
  }
  std::int64_t used(const std::string& name) { return cache_.snapshot()->find(name)->requested.milli_cpu; }

  SchedulerCache cache_;
};

TEST_F(SchedulerCacheTest, CountsPodsOfANodeThatComesLater) {
  cache_.set_pod(bound("a", "n1"));
  cache_.set_node(node("n1").object);
  EXPECT_EQ(used("n1"), 1000);
}

TEST_F(SchedulerCacheTest, AnAssumedPodCountsUntilItIsForgotten) {
  cache_.set_node(node("n1").object);
  const auto waiting = pod(R"({"containers":[{"resources":{"requests":{"cpu":"1"}}}]})");
  cache_.assume(*waiting, "n1");
  EXPECT_EQ(used("n1"), 1000);
  cache_.forget(waiting->uid());
  EXPECT_EQ(used("n1"), 0);
}

TEST_F(SchedulerCacheTest, AConfirmedPodIsNotForgotten) {
  cache_.set_node(node("n1").object);
  cache_.assume(*pod("{}", "a"), "n1");
  cache_.set_pod(bound("a", "n1"));
  cache_.forget("u-a");
  EXPECT_EQ(used("n1"), 1000);
}

TEST_F(SchedulerCacheTest, ASnapshotDoesNotChange) {
  cache_.set_node(node("n1").object);
  cache_.set_node(node("n2").object);
  const auto before = cache_.snapshot();
  cache_.set_pod(bound("a", "n1"));
  EXPECT_EQ(before->find("n1")->requested.milli_cpu, 0);
  const auto after = cache_.snapshot();
  EXPECT_EQ(after->find("n1")->requested.milli_cpu, 1000);
  EXPECT_EQ(before->find("n2"), after->find("n2"));  // Shared, not copied.
}

TEST_F(SchedulerCacheTest, TellsWhatChangedBetweenTwoSnapshots) {
  using Kind = scheduler::SnapshotChange::Kind;
  cache_.set_node(node("n1").object);
  const auto before = cache_.snapshot();
  cache_.set_pod(bound("a", "n1"));
  cache_.set_pod(bound("b", "n2"));  // Counts on nobody until its node comes.
  cache_.set_node(node("n2").object);
  cache_.remove_pod("u-a");
  cache_.remove_node("n1");
  const auto changes = cache_.snapshot()->changes_since(before->version());
  ASSERT_TRUE(changes);
  std::vector<std::pair<Kind, std::uint32_t>> seen;
  for (const auto& change : *changes) seen.emplace_back(change.kind, change.slot);
  EXPECT_EQ(seen, (std::vector<std::pair<Kind, std::uint32_t>>{{Kind::PodAdded, 0},
                                                               {Kind::NodeSet, 1},
                                                               {Kind::PodAdded, 1},
                                                               {Kind::PodRemoved, 0},
                                                               {Kind::NodeRemoved, 0}}));
  EXPECT_TRUE(before->changes_since(before->version())->empty());
  EXPECT_FALSE(before->changes_since(0));
}

TEST_F(SchedulerCacheTest, ANodesSlotIsItsOwnWhileItExists) {
  cache_.set_node(node("n1").object);
  cache_.set_node(node("n2").object);
  cache_.set_node(node("n1").object);
  EXPECT_EQ(cache_.snapshot()->find("n1")->slot, 0U);
  EXPECT_EQ(cache_.snapshot()->find("n2")->slot, 1U);
  cache_.remove_node("n1");
  cache_.set_node(node("n3").object);
  EXPECT_EQ(cache_.snapshot()->find("n3")->slot, 0U);
}

TEST_F(SchedulerCacheTest, ALogThatHasForgottenTheBeginningSaysSo) {
  cache_.set_node(node("n1").object);
  const auto before = cache_.snapshot();
  for (std::size_t i = 0; i <= scheduler::ChangeLog::kCapacity; ++i) cache_.set_node(node("n1").object);
  EXPECT_FALSE(cache_.snapshot()->changes_since(before->version()));
}

TEST_F(SchedulerCacheTest, ASnapshotNobodyHoldsIsBroughtUpToDateInPlace) {
  cache_.set_node(node("n1").object);
  const auto* const first = cache_.snapshot().get();
  cache_.set_pod(bound("a", "n1"));
  EXPECT_EQ(cache_.snapshot().get(), first);
  EXPECT_EQ(used("n1"), 1000);
  cache_.set_node(node("n2").object);
  EXPECT_EQ(cache_.snapshot()->nodes().size(), 2U);
}

TEST_F(SchedulerCacheTest, PodsOfANodeThatWentCountAgainWhenItReturns) {
  cache_.set_node(node("n1").object);
  cache_.set_pod(bound("a", "n1"));
  cache_.set_pod(bound("b", "n1"));
  cache_.remove_node("n1");
  cache_.remove_pod("u-b");
  cache_.set_node(node("n1").object);
  EXPECT_EQ(used("n1"), 1000);
}

TEST_F(SchedulerCacheTest, NodesAreLookedAtZoneByZone) {
  for (const char* name : {"a1", "a2", "a3"})
    cache_.set_node(node(name, R"("spec":{})", R"({"topology.kubernetes.io/zone":"a"})").object);
  cache_.set_node(node("b1", R"("spec":{})", R"({"topology.kubernetes.io/zone":"b"})").object);
  std::string order;
  for (const auto& info : cache_.snapshot()->nodes()) order += info->name + " ";
  EXPECT_EQ(order, "a1 b1 a2 a3 ");
  EXPECT_EQ(cache_.snapshot()->find("b1")->name, "b1");
}

TEST_F(SchedulerCacheTest, AChangedNodeIsOfAnotherGeneration) {
  cache_.set_node(node("n1").object);
  cache_.set_node(node("n2").object);
  const auto generation = [&](const char* name) { return cache_.snapshot()->find(name)->generation; };
  std::set<std::uint64_t> seen{0};
  const auto another = [&](const char* name) { return seen.insert(generation(name)).second; };
  EXPECT_TRUE(another("n1"));
  EXPECT_TRUE(another("n2"));
  EXPECT_FALSE(another("n1"));
  cache_.set_pod(bound("a", "n1"));
  EXPECT_TRUE(another("n1"));
  EXPECT_FALSE(another("n2"));
  cache_.set_node(node("n1", R"("spec":{"unschedulable":true})").object);
  EXPECT_TRUE(another("n1"));
  cache_.remove_pod("u-a");
  EXPECT_TRUE(another("n1"));
  cache_.remove_node("n1");
  cache_.set_node(node("n1").object);
  EXPECT_TRUE(another("n1"));
}

TEST_F(SchedulerCacheTest, AConfirmationIsNoNewsForThoseWhoCount) {
  cache_.set_node(node("n1").object);
  cache_.assume(*bound("a", ""), "n1");
  const auto before = cache_.snapshot();
  const auto confirmed = bound("a", "n1");
  cache_.set_pod(confirmed);
  const auto after = cache_.snapshot();
  EXPECT_TRUE(after->changes_since(before->version())->empty());
  EXPECT_EQ(after->find("n1")->pods.front(), confirmed);  // Its status may be news for others.
  EXPECT_NE(before->find("n1")->pods.front(), confirmed);
  cache_.set_pod(labeled_pod("a", R"({"app":"web"})", R"({"nodeName":"n1"})"));
  EXPECT_EQ(cache_.snapshot()->changes_since(after->version())->size(), 2U);
}

TEST_F(SchedulerCacheTest, WithoutSnapshotsItForgetsNothingAndHoardsNothing) {
  cache_.set_node(node("n1").object);
  for (int i = 0; i < 500; ++i) cache_.set_pod(bound("a", "n1"));
  cache_.remove_pod("u-a");
  cache_.set_pod(bound("b", "n1"));
  EXPECT_EQ(used("n1"), 1000);
}

// Whatever happens, what the cache keeps up to date equals what is counted anew.
TEST_F(SchedulerCacheTest, AfterAnyHistoryTheCountersAreRight) {
  std::map<std::string, std::string> where;  // Pod to node.
  const auto counted = [](const scheduler::Snapshot& snapshot) {
    std::map<std::string, std::int64_t> out;
    for (const auto& info : snapshot.nodes()) out[info->name] = info->requested.milli_cpu;
    return out;
  };
  std::shared_ptr<const scheduler::Snapshot> held;  // Now and then somebody keeps one: it must stay as it was.
  std::map<std::string, std::int64_t> as_it_was;
  for (int step = 0; step < 2000; ++step) {
    const std::string node_name = "n" + std::to_string(random_below(random_, 6));
    const std::string pod_name = "p" + std::to_string(random_below(random_, 20));
    switch (random_below(random_, 6)) {
      case 0: cache_.set_node(node(node_name).object); break;
      case 1: cache_.remove_node(node_name); break;
      case 2:
        cache_.remove_pod("u-" + pod_name);
        where.erase(pod_name);
        break;
      case 3:
        cache_.assume(*bound(pod_name, ""), node_name);
        where[pod_name] = node_name;
        break;
      default:
        cache_.set_pod(bound(pod_name, node_name));
        where[pod_name] = node_name;
        break;
    }
    ASSERT_EQ(held == nullptr ? as_it_was : counted(*held), as_it_was) << "step " << step;
    if (random_below(random_, 8) == 0) {
      held = random_below(random_, 2) == 0 ? nullptr : cache_.snapshot();
      if (held != nullptr) as_it_was = counted(*held);
    }
    if (random_below(random_, 3) == 0) continue;  // Several changes between two snapshots.
    std::map<std::string, std::int64_t> expected;
    for (const auto& [name, place] : where) expected[place] += 1000;
    for (const auto& info : cache_.snapshot()->nodes())
      ASSERT_EQ(info->requested.milli_cpu, expected[info->name]) << "step " << step;
  }
}

TEST_F(SchedulerCacheTest, APodThatMovesLeavesItsOldNode) {
  cache_.set_node(node("n1").object);
  cache_.set_node(node("n2").object);
  cache_.assume(*bound("a", ""), "n1");
  cache_.set_pod(bound("a", "n2"));
  EXPECT_EQ(used("n1"), 0);
  EXPECT_EQ(used("n2"), 1000);
}

}  // namespace
}  // namespace kubernel::plugins
