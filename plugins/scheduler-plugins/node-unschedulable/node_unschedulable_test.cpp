// SPDX-License-Identifier: Apache-2.0

#include "node_unschedulable.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

class NodeUnschedulableTest : public testing::SchedulerPluginTest {};

TEST_F(NodeUnschedulableTest, ACordonedNodeTakesOnlyPodsThatTolerateIt) {
  const auto plugin = make(make_node_unschedulable);
  const auto cordoned = node("a", R"("spec":{"unschedulable":true})");
  EXPECT_EQ(filter(*plugin, *pod("{}"), node("b")), "");
  EXPECT_EQ(filter(*plugin, *pod("{}"), cordoned), "node(s) were unschedulable");
  EXPECT_EQ(filter(*plugin, *pod(R"({"tolerations":[{"key":"node.kubernetes.io/unschedulable","operator":"Exists"}]})"),
                   cordoned),
            "");
}

TEST_F(NodeUnschedulableTest, IsWokenOnlyByANodeThatIsUncordoned) {
  const auto plugin = make(make_node_unschedulable);
  const auto cordoned = node("a", R"("spec":{"unschedulable":true})");
  const auto open = node("a");
  EXPECT_TRUE(wakes(*plugin, scheduler::ClusterEvent::NodeTaintsChanged, *pod("{}"), cordoned.object, open.object));
  EXPECT_FALSE(wakes(*plugin, scheduler::ClusterEvent::NodeTaintsChanged, *pod("{}"), open.object, cordoned.object));
  EXPECT_FALSE(wakes(*plugin, scheduler::ClusterEvent::NodeAdded, *pod("{}"), {}, cordoned.object));
}

TEST_F(NodeUnschedulableTest, IsWokenWhenThePodToleratesIt) {
  const auto plugin = make(make_node_unschedulable);
  const auto plain = pod("{}");
  const auto tolerant = pod(R"({"tolerations":[{"operator":"Exists"}]})");
  const auto other = pod(R"({"tolerations":[{"key":"k","operator":"Exists"}]})");
  const auto updated = scheduler::ClusterEvent::PodUpdated;
  EXPECT_TRUE(wakes(*plugin, updated, *tolerant, plain->object, tolerant->object));
  EXPECT_FALSE(wakes(*plugin, updated, *other, plain->object, other->object));
  EXPECT_FALSE(wakes(*plugin, updated, *tolerant, tolerant->object, tolerant->object));
}

}  // namespace
}  // namespace kubernel::plugins
