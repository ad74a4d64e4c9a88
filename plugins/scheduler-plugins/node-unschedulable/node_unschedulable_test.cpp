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

}  // namespace
}  // namespace kubernel::plugins
