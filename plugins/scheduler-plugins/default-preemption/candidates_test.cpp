// SPDX-License-Identifier: Apache-2.0
#include "candidates.h"

#include "fixture.h"

namespace kubernel::plugins {
namespace {

using scheduler::NodeInfo;

class CandidatesTest : public PreemptionTest {
 protected:
  Candidate victims(const std::string& node_name, const std::vector<std::pair<int, std::string>>& priorities_and_starts,
                    int violations = 0) {
    Candidate out{node_name, {}, violations};
    int n = 0;
    for (const auto& [priority, start] : priorities_and_starts)
      out.pods.push_back(running(node_name + std::to_string(n++), priority, "1", start));
    return out;
  }
  std::string picked(const std::vector<Candidate>& candidates) {
    std::vector<Rank> ranks;
    for (const Candidate& one : candidates) ranks.push_back(rank_of(one.pods, one.budget_violations));
    return candidates[pick_one(ranks, clock_.wall_now())].node;
  }
  static Pods victims_on(const NodeInfo& node, const Result<Victims>& found) {
    return NodeVictims{&node, &*found}.candidate().pods;
  }
};

// Each row names upstream's criterion; only that one differs.
TEST_F(CandidatesTest, FewestBrokenBudgetsComeFirst) {
  EXPECT_EQ(picked({victims("a", {{1, ""}}, 1), victims("b", {{9, ""}, {9, ""}}, 0)}), "b");
}
TEST_F(CandidatesTest, ThenTheLowestHighestPriority) {
  EXPECT_EQ(picked({victims("a", {{9, ""}}), victims("b", {{5, ""}, {5, ""}, {5, ""}})}), "b");
}
TEST_F(CandidatesTest, ThenTheLowestSumOfPriorities) {
  EXPECT_EQ(picked({victims("a", {{5, ""}, {4, ""}}), victims("b", {{5, ""}, {3, ""}})}), "b");
}
TEST_F(CandidatesTest, ManyVictimsOfNegativePriorityWeighMoreThanFew) {
  EXPECT_EQ(picked({victims("a", {{-1, ""}, {-5, ""}, {-5, ""}}), victims("b", {{-1, ""}, {-5, ""}})}), "b");
}
TEST_F(CandidatesTest, ThenTheLatestStartOfTheMostImportantVictims) {
  EXPECT_EQ(picked({victims("a", {{5, "2025-01-01T00:00:00Z"}}), victims("b", {{5, "2025-06-01T00:00:00Z"}})}), "b");
}
TEST_F(CandidatesTest, OneThatHasNotStartedIsTheLatest) {
  EXPECT_EQ(picked({victims("a", {{5, "2025-01-01T00:00:00Z"}}), victims("b", {{5, ""}})}), "b");
  EXPECT_EQ(picked({victims("a", {{5, "2025-01-01T00:00:00Z"}, {5, ""}}), victims("b", {{5, ""}, {5, ""}})}), "b");
}
TEST_F(CandidatesTest, ThenTheFirst) {
  EXPECT_EQ(picked({victims("a", {{5, ""}}), victims("b", {{5, ""}})}), "a");
}

TEST_F(CandidatesTest, BringsBackTheMostImportantPodsThatLeaveRoom) {
  auto full = cpu_node("a", "4");
  full.add_pod(running("low", 1, "2"));
  full.add_pod(running("middle", 2, "1"));
  full.add_pod(running("lowest", 0, "1"));
  const auto found = select_victims(handle_, wanting(10, "2"), full, {}, clock_.wall_now());
  ASSERT_TRUE(found);
  EXPECT_EQ(names(victims_on(full, found)), "low");  // Middle and lowest fit beside it again.
}

TEST_F(CandidatesTest, SparesThoseWhoseBudgetIsSpent) {
  auto full = cpu_node("a", "2");
  full.add_pod(running("guarded", 1, "1", "", R"({"app":"guarded"})"));
  full.add_pod(running("other", 2, "1"));
  const std::vector<Budget> budgets{Budget(budget(0, "guarded"))};
  const auto found = select_victims(handle_, wanting(10, "1"), full, budgets, clock_.wall_now());
  ASSERT_TRUE(found);
  EXPECT_EQ(names(victims_on(full, found)), "other");  // More important, but nothing protects it.
  EXPECT_EQ(found->rank.budget_violations, 0);
  const auto both = select_victims(handle_, wanting(10, "2"), full, budgets, clock_.wall_now());
  EXPECT_EQ(names(victims_on(full, both)), "other guarded");
  EXPECT_EQ(both->rank.budget_violations, 1);
}

TEST_F(CandidatesTest, ABudgetThatAllowsOneIsBrokenByTheSecond) {
  auto full = cpu_node("a", "2");
  full.add_pod(running("x", 1, "1", "", R"({"app":"guarded"})"));
  full.add_pod(running("y", 1, "1", "", R"({"app":"guarded"})"));
  const auto found = select_victims(handle_, wanting(10, "2"), full, {Budget(budget(1, "guarded"))}, clock_.wall_now());
  EXPECT_EQ(found->rank.budget_violations, 1);
}

TEST_F(CandidatesTest, SaysWhyThereAreNone) {
  auto busy = cpu_node("a", "2");
  busy.add_pod(running("equal", 10, "1"));
  auto found = select_victims(handle_, wanting(10, "2"), busy, {}, clock_.wall_now());
  EXPECT_EQ(joined(found->verdict), "No preemption victims found for incoming pod");
  busy.add_pod(running("low", 1, "1"));
  found = select_victims(handle_, wanting(10, "2"), busy, {}, clock_.wall_now());
  EXPECT_EQ(joined(found->verdict), "Insufficient cpu");
}

// On random nodes: what is left fits, no victim could have stayed, and nobody of equal or higher priority goes.
TEST_F(CandidatesTest, OnAnyNodeTheVictimsAreEnoughAndNoneIsNeedless) {
  for (int round = 0; round < 200; ++round) {
    auto node = cpu_node("a", "8");
    const auto count = 1 + random_below(random_, 8);
    for (std::uint64_t i = 0; i < count; ++i) {
      node.add_pod(running("p" + std::to_string(i), static_cast<int>(random_below(random_, 12)),
                           std::to_string(1 + random_below(random_, 3))));
    }
    const auto cycle = wanting(6, std::to_string(1 + random_below(random_, 8)));
    if (handle_.run_filters(cycle, node)->ok()) continue;  // Nobody asks for victims then.
    const auto found = select_victims(handle_, cycle, node, {}, clock_.wall_now());
    ASSERT_TRUE(found) << found.error().message();
    if (!found->verdict.ok()) continue;
    const Pods gone = victims_on(node, found);
    for (const auto& victim : gone) {
      EXPECT_LT(victim->priority, 6);
      node.remove_pod(victim->uid());
    }
    EXPECT_TRUE(handle_.run_filters(cycle, node)->ok());
    for (const auto& victim : gone) {
      auto with = node;
      with.add_pod(victim);
      EXPECT_FALSE(handle_.run_filters(cycle, with)->ok()) << victim->key().name << " could have stayed";
    }
  }
}

}  // namespace
}  // namespace kubernel::plugins
