// SPDX-License-Identifier: Apache-2.0

#include "node_name.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

class NodeNameTest : public testing::SchedulerPluginTest {};

TEST_F(NodeNameTest, APodThatNamesNoNodeFitsAnywhere) {
  EXPECT_EQ(filter(*make(make_node_name), *pod("{}"), node("a")), "");
}

TEST_F(NodeNameTest, APodThatNamesItsNodeFitsOnlyThere) {
  const auto plugin = make(make_node_name);
  EXPECT_EQ(filter(*plugin, *pod(R"({"nodeName":"a"})"), node("a")), "");
  EXPECT_EQ(filter(*plugin, *pod(R"({"nodeName":"ab"})"), node("a")), "node(s) didn't match the requested node name");
}

}  // namespace
}  // namespace kubernel::plugins
