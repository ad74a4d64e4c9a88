// SPDX-License-Identifier: Apache-2.0
#include "cache.h"

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
  EXPECT_EQ(seen, (std::vector<std::pair<Kind, std::uint32_t>>{
                      {Kind::PodAdded, 0}, {Kind::NodeSet, 1}, {Kind::PodAdded, 1}, {Kind::PodRemoved, 0}, {Kind::NodeRemoved, 0}}));
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
