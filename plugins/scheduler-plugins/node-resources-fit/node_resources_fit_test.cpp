// SPDX-License-Identifier: Apache-2.0

#include "node_resources_fit.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

std::string wants(const std::string& requests) {
  return R"({"containers":[{"resources":{"requests":)" + requests + "}}]}";
}

class NodeResourcesFitTest : public testing::SchedulerPluginTest {
 protected:
  static scheduler::NodeInfo with(const std::string& allocatable, const std::string& name = "a") {
    return node(name, R"("status":{"allocatable":)" + allocatable + "}");
  }
  scheduler::Verdict::Kind kind(const scheduler::PodInfo& pod, const scheduler::NodeInfo& node) {
    return dynamic_cast<scheduler::Filter&>(*plugin_).filter(pod, nullptr, node)->kind();
  }
  std::unique_ptr<scheduler::Plugin> plugin_ = make(make_node_resources_fit);
};

TEST_F(NodeResourcesFitTest, APodThatFitsExactlyFits) {
  auto info = with(R"({"cpu":"2","memory":"1Gi","pods":"2"})");
  info.add_pod(pod(wants(R"({"cpu":"1500m"})"), "first"));
  EXPECT_EQ(filter(*plugin_, *pod(wants(R"({"cpu":"500m","memory":"1Gi"})")), info), "");
  EXPECT_EQ(filter(*plugin_, *pod(wants(R"({"cpu":"501m"})")), info), "Insufficient cpu");
}

TEST_F(NodeResourcesFitTest, NamesEverythingThatIsShort) {
  EXPECT_EQ(filter(*plugin_, *pod(wants(R"({"cpu":"2","memory":"2Gi"})")), with(R"({"cpu":"1","memory":"1Gi","pods":"0"})")),
            "Too many pods; Insufficient cpu; Insufficient memory");
}

TEST_F(NodeResourcesFitTest, CountsExtendedResources) {
  auto info = with(R"({"cpu":"2","pods":"9","example.com/gpu":"1"})");
  EXPECT_EQ(filter(*plugin_, *pod(wants(R"({"example.com/gpu":"1"})")), info), "");
  info.add_pod(pod(wants(R"({"example.com/gpu":"1"})"), "first"));
  EXPECT_EQ(filter(*plugin_, *pod(wants(R"({"example.com/gpu":"1"})")), info), "Insufficient example.com/gpu");
  EXPECT_EQ(filter(*plugin_, *pod(wants(R"({"other.com/gpu":"1"})")), info), "Insufficient other.com/gpu");
}

TEST_F(NodeResourcesFitTest, MoreThanTheWholeNodeIsBeyondPreemption) {
  auto info = with(R"({"cpu":"2","pods":"9"})");
  info.add_pod(pod(wants(R"({"cpu":"2"})"), "first"));
  EXPECT_EQ(kind(*pod(wants(R"({"cpu":"1"})")), info), scheduler::Verdict::Kind::Unschedulable);
  EXPECT_EQ(kind(*pod(wants(R"({"cpu":"3"})")), info), scheduler::Verdict::Kind::Unresolvable);
}

TEST_F(NodeResourcesFitTest, IgnoresTheResourcesItIsToldTo) {
  plugin_ = make(make_node_resources_fit, R"({"ignoredResources":["a.com/x"],"ignoredResourceGroups":["b.com"]})");
  EXPECT_EQ(filter(*plugin_, *pod(wants(R"({"a.com/x":"1","b.com/y":"1"})")), with(R"({"pods":"9"})")), "");
}

TEST_F(NodeResourcesFitTest, LeastAllocatedPrefersTheEmptierNode) {
  auto half = with(R"({"cpu":"4","memory":"4Gi","pods":"9"})", "b");
  half.add_pod(pod(wants(R"({"cpu":"1","memory":"1Gi"})"), "first"));
  EXPECT_EQ(score(*plugin_, *pod(wants(R"({"cpu":"1","memory":"1Gi"})")),
                  {with(R"({"cpu":"4","memory":"4Gi","pods":"9"})"), half}),
            (std::vector<std::int64_t>{75, 50}));
}

TEST_F(NodeResourcesFitTest, MostAllocatedPrefersTheFullerNode) {
  plugin_ = make(make_node_resources_fit, R"({"scoringStrategy":{"type":"MostAllocated","resources":[{"name":"cpu","weight":1}]}})");
  auto half = with(R"({"cpu":"4","pods":"9"})", "b");
  half.add_pod(pod(wants(R"({"cpu":"1"})"), "first"));
  EXPECT_EQ(score(*plugin_, *pod(wants(R"({"cpu":"1"})")), {with(R"({"cpu":"4","pods":"9"})"), half}),
            (std::vector<std::int64_t>{25, 50}));
}

TEST_F(NodeResourcesFitTest, AShapeIsALineBetweenItsPoints) {
  plugin_ = make(make_node_resources_fit, R"({"scoringStrategy":{"type":"RequestedToCapacityRatio",
      "resources":[{"name":"cpu","weight":1}],
      "requestedToCapacityRatio":{"shape":[{"utilization":0,"score":0},{"utilization":100,"score":10}]}}})");
  EXPECT_EQ(score(*plugin_, *pod(wants(R"({"cpu":"1"})")), {with(R"({"cpu":"4","pods":"9"})")}),
            (std::vector<std::int64_t>{25}));
}

TEST_F(NodeResourcesFitTest, AShapeMustRise) {
  const scheduler::PluginContext context{R"({"scoringStrategy":{"type":"RequestedToCapacityRatio","requestedToCapacityRatio":
      {"shape":[{"utilization":50,"score":0},{"utilization":50,"score":10}]}}})", 0, handle_, cluster_, *informers_, log_, clock_};
  EXPECT_FALSE(make_node_resources_fit(context));
}

}  // namespace
}  // namespace kubernel::plugins
