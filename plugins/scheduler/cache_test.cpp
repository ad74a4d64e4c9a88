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
