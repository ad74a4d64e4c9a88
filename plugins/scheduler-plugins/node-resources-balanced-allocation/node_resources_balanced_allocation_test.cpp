// SPDX-License-Identifier: Apache-2.0

#include "node_resources_balanced_allocation.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

std::string wants(const std::string& requests) {
  return R"({"containers":[{"resources":{"requests":)" + requests + "}}]}";
}

class NodeResourcesBalancedAllocationTest : public testing::SchedulerPluginTest {
 protected:
  std::unique_ptr<scheduler::Plugin> plugin_ = make(make_node_resources_balanced_allocation);
};

TEST_F(NodeResourcesBalancedAllocationTest, PrefersTheNodeThatEndsUpEven) {
  const auto even = node("a", R"("status":{"allocatable":{"cpu":"4","memory":"4Gi"}})");
  const auto lopsided = node("b", R"("status":{"allocatable":{"cpu":"1","memory":"4Gi"}})");
  // Fractions 0.25 and 0.25 deviate by 0; 1 and 0.25 by 0.375.
  EXPECT_EQ(score(*plugin_, *pod(wants(R"({"cpu":"1","memory":"1Gi"})")), {even, lopsided}),
            (std::vector<std::int64_t>{100, 62}));
}

TEST_F(NodeResourcesBalancedAllocationTest, HasNothingToSayAboutAPodThatAsksForNothing) {
  EXPECT_TRUE(score(*plugin_, *pod(R"({"containers":[{}]})"), {node("a")}).empty());
}

}  // namespace
}  // namespace kubernel::plugins
