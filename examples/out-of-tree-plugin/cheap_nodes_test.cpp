// SPDX-License-Identifier: Apache-2.0
#include "cheap_nodes.h"

#include <kubernel/testing/scheduler.h>

namespace {

class CheapNodesTest : public kubernel::testing::SchedulerPluginTest {
 protected:
  static kubernel::scheduler::NodeInfo priced(const std::string& name, const std::string& price) {
    return node(name, R"("spec":{})", R"({"example.com/price":")" + price + R"("})");
  }
};

TEST_F(CheapNodesTest, RefusesNodesAboveTheLimit) {
  const auto plugin = make(make_cheap_nodes, R"({"limit":50})");
  EXPECT_EQ(filter(*plugin, *pod("{}"), priced("a", "50")), "");
  EXPECT_EQ(filter(*plugin, *pod("{}"), priced("a", "51")), "node(s) cost more than 50");
}

TEST_F(CheapNodesTest, ANodeWithoutAPriceIsAllowedButNotPreferred) {
  const auto plugin = make(make_cheap_nodes, R"({"limit":50})");
  EXPECT_EQ(filter(*plugin, *pod("{}"), node("a")), "");
  EXPECT_EQ(score(*plugin, *pod("{}"), {priced("free", "0"), priced("half", "25"), node("unknown")}),
            (std::vector<std::int64_t>{100, 50, 0}));
}

TEST_F(CheapNodesTest, ReadsTheLabelItIsTold) {
  const auto plugin = make(make_cheap_nodes, R"({"label":"price","limit":10})");
  EXPECT_EQ(filter(*plugin, *pod("{}"), node("a", R"("spec":{})", R"({"price":"11"})")), "node(s) cost more than 10");
}

}  // namespace
