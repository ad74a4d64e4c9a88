// SPDX-License-Identifier: Apache-2.0

#include "node_resources_fit.h"

#include <nlohmann/json.hpp>

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
  EXPECT_EQ(
      filter(*plugin_, *pod(wants(R"({"cpu":"2","memory":"2Gi"})")), with(R"({"cpu":"1","memory":"1Gi","pods":"0"})")),
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

struct FitRow {
  const char* rule;
  const char* spec;
  const char* refusal;
};
class NodeResourcesFitRules : public NodeResourcesFitTest, public ::testing::WithParamInterface<FitRow> {};

// One node with 2 cpus, 2 Gi and 2 example.com/gpu, of which 1 cpu, 1 Gi and 1 gpu are taken.
TEST_P(NodeResourcesFitRules, Hold) {
  auto info = with(
      R"({"cpu":"2","memory":"2Gi","ephemeral-storage":"1Gi","hugepages-2Mi":"4Mi","example.com/gpu":"2","pods":"9"})");
  info.add_pod(pod(wants(R"({"cpu":"1","memory":"1Gi","example.com/gpu":"1"})"), "first"));
  EXPECT_EQ(filter(*plugin_, *pod(GetParam().spec), info), GetParam().refusal) << GetParam().rule;
}

INSTANTIATE_TEST_SUITE_P(
    Rules, NodeResourcesFitRules,
    ::testing::Values(
        FitRow{"a pod that asks for nothing fits a full node", R"({"containers":[{}]})", ""},
        FitRow{"requests of containers add up", R"({"containers":[{"resources":{"requests":{"cpu":"600m"}}},
               {"resources":{"requests":{"cpu":"600m"}}}]})",
               "Insufficient cpu"},
        FitRow{"init containers run one after the other", R"({"initContainers":[{"resources":{"requests":{"cpu":"1"}}},
               {"resources":{"requests":{"cpu":"1"}}}],"containers":[{}]})",
               ""},
        FitRow{"KEP-753: a sidecar runs beside the containers", R"({"initContainers":[{"restartPolicy":"Always",
               "resources":{"requests":{"cpu":"600m"}}}],"containers":[{"resources":{"requests":{"cpu":"600m"}}}]})",
               "Insufficient cpu"},
        FitRow{"KEP-753: a sidecar runs beside later init containers", R"({"initContainers":[{"restartPolicy":"Always",
               "resources":{"requests":{"cpu":"600m"}}},{"resources":{"requests":{"cpu":"600m"}}}],"containers":[{}]})",
               "Insufficient cpu"},
        FitRow{"KEP-753: an init container before the sidecar runs alone",
               R"({"initContainers":[{"resources":{"requests":{"cpu":"1"}}},
               {"restartPolicy":"Always","resources":{"requests":{"cpu":"500m"}}}],"containers":[{"resources":{"requests":{"cpu":"500m"}}}]})",
               ""},
        FitRow{"KEP-688: overhead counts",
               R"({"overhead":{"cpu":"1m"},"containers":[{"resources":{"requests":{"cpu":"1"}}}]})",
               "Insufficient cpu"},
        FitRow{"KEP-2837: pod level requests win",
               R"({"resources":{"requests":{"cpu":"1"}},"containers":[{"resources":{"requests":{"cpu":"2"}}}]})", ""},
        FitRow{"KEP-2837: what the pod level leaves out comes from containers",
               R"({"resources":{"requests":{"cpu":"1"}},
               "containers":[{"resources":{"requests":{"memory":"2Gi"}}}]})",
               "Insufficient memory"},
        FitRow{"ephemeral storage counts", R"({"containers":[{"resources":{"requests":{"ephemeral-storage":"2Gi"}}}]})",
               "Insufficient ephemeral-storage"},
        FitRow{"huge pages count", R"({"containers":[{"resources":{"requests":{"hugepages-2Mi":"6Mi"}}}]})",
               "Insufficient hugepages-2Mi"},
        FitRow{"extended resources count", R"({"containers":[{"resources":{"requests":{"example.com/gpu":"2"}}}]})",
               "Insufficient example.com/gpu"},
        FitRow{"a resource the node does not have",
               R"({"containers":[{"resources":{"requests":{"example.com/tpu":"1"}}}]})",
               "Insufficient example.com/tpu"},
        FitRow{"none of a resource the node does not have",
               R"({"containers":[{"resources":{"requests":{"example.com/tpu":"0"}}}]})", ""}));

TEST_F(NodeResourcesFitTest, AnExtendedResourceScoresOnlyPodsThatAskForIt) {
  plugin_ = make(make_node_resources_fit, R"({"scoringStrategy":{"type":"MostAllocated",
      "resources":[{"name":"cpu","weight":1},{"name":"example.com/gpu","weight":3}]}})");
  const auto info = with(R"({"cpu":"4","example.com/gpu":"4","pods":"9"})");
  EXPECT_EQ(score(*plugin_, *pod(wants(R"({"cpu":"1"})")), {info}), (std::vector<std::int64_t>{25}));
  EXPECT_EQ(score(*plugin_, *pod(wants(R"({"cpu":"1","example.com/gpu":"2"})")), {info}),
            (std::vector<std::int64_t>{(25 + 3 * 50) / 4}));
}

// RequestedToCapacityRatio: a resource that scores 0 does not count, and the mean is rounded.
TEST_F(NodeResourcesFitTest, ARatioOfZeroIsLeftOutOfTheMean) {
  plugin_ = make(make_node_resources_fit, R"({"scoringStrategy":{"type":"RequestedToCapacityRatio",
      "resources":[{"name":"cpu","weight":1},{"name":"memory","weight":1}],
      "requestedToCapacityRatio":{"shape":[{"utilization":50,"score":0},{"utilization":100,"score":10}]}}})");
  const auto info = with(R"({"cpu":"4","memory":"4Gi","pods":"9"})");
  EXPECT_EQ(score(*plugin_, *pod(wants(R"({"cpu":"3","memory":"1Gi"})")), {info}), (std::vector<std::int64_t>{50}));
  EXPECT_EQ(score(*plugin_, *pod(wants(R"({"cpu":"3","memory":"3080Mi"})")), {info}), (std::vector<std::int64_t>{50}));
}

TEST_F(NodeResourcesFitTest, LeastAllocatedPrefersTheEmptierNode) {
  auto half = with(R"({"cpu":"4","memory":"4Gi","pods":"9"})", "b");
  half.add_pod(pod(wants(R"({"cpu":"1","memory":"1Gi"})"), "first"));
  EXPECT_EQ(score(*plugin_, *pod(wants(R"({"cpu":"1","memory":"1Gi"})")),
                  {with(R"({"cpu":"4","memory":"4Gi","pods":"9"})"), half}),
            (std::vector<std::int64_t>{75, 50}));
}

TEST_F(NodeResourcesFitTest, MostAllocatedPrefersTheFullerNode) {
  plugin_ = make(make_node_resources_fit,
                 R"({"scoringStrategy":{"type":"MostAllocated","resources":[{"name":"cpu","weight":1}]}})");
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
  EXPECT_FALSE(make_node_resources_fit(
      context(R"({"scoringStrategy":{"type":"RequestedToCapacityRatio","requestedToCapacityRatio":
      {"shape":[{"utilization":50,"score":0},{"utilization":50,"score":10}]}}})")));
}

TEST_F(NodeResourcesFitTest, IsWokenByWhatGivesRoom) {
  using scheduler::ClusterEvent;
  const auto containers = [](const std::string& requests) {
    return R"({"containers":[{"name":"c","resources":{"requests":)" + requests + "}}]}";
  };
  const auto one_cpu = pod(containers(R"({"cpu":"1","example.com/gpu":"0"})"))->object;
  const auto two_cpus = pod(containers(R"({"cpu":"2"})"))->object;
  const auto one_cpu_in_use = *two_cpus.with([](nlohmann::json& p) {
    p["status"] = nlohmann::json::parse(
        R"({"conditions":[{"type":"PodResizePending","reason":"Infeasible"}],
            "containerStatuses":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]})");
  });
  const auto waiting = pod(containers(R"({"cpu":"2","example.com/gpu":"1"})"));
  const auto wants_memory = pod(containers(R"({"memory":"1Gi"})"));
  const auto has = [](const std::string& allocatable) {
    return node("a", R"("status":{"allocatable":)" + allocatable + "}").object;
  };
  const auto none = has(R"({"cpu":"1","memory":"4Gi"})");
  const auto large = has(R"({"pods":"9","cpu":"4","memory":"4Gi","example.com/gpu":"1"})");
  const auto larger = has(R"({"pods":"9","cpu":"4","memory":"8Gi","example.com/gpu":"2"})");
  const auto small = has(R"({"pods":"9","cpu":"1","memory":"4Gi","example.com/gpu":"1"})");
  const auto no_slots = has(R"({"cpu":"4","memory":"4Gi","example.com/gpu":"1"})");
  struct Row {
    const char* rule;
    ClusterEvent event;
    std::shared_ptr<const scheduler::PodInfo> pod;
    api::Object before, after;
    bool woken;
  };
  const std::vector<Row> rows = {
      {"a pod went", ClusterEvent::PodDeleted, waiting, one_cpu, {}, true},
      {"a pod wants less", ClusterEvent::PodDeleted, waiting, two_cpus, one_cpu, true},
      {"a pod uses less", ClusterEvent::PodDeleted, waiting, two_cpus, one_cpu_in_use, true},
      {"a pod wants less of something else", ClusterEvent::PodDeleted, wants_memory, two_cpus, one_cpu, false},
      {"a large node came", ClusterEvent::NodeAdded, waiting, {}, large, true},
      {"a small node came", ClusterEvent::NodeAdded, waiting, {}, small, false},
      {"a node without slots came", ClusterEvent::NodeAdded, waiting, {}, no_slots, false},
      {"a node grew", ClusterEvent::NodeAllocatableChanged, waiting, none, large, true},
      {"a node shrank", ClusterEvent::NodeAllocatableChanged, waiting, larger, small, false},
      {"a node has less, but enough", ClusterEvent::NodeAllocatableChanged, waiting, larger, large, false},
      {"a node has more of what it does not want", ClusterEvent::NodeAllocatableChanged, wants_memory, small, large,
       false},
      {"a node has slots now", ClusterEvent::NodeAllocatableChanged, waiting, no_slots, large, true},
      {"it wants less itself", ClusterEvent::PodUpdated, waiting, two_cpus, one_cpu, true},
      {"it wants more itself", ClusterEvent::PodUpdated, waiting, one_cpu, two_cpus, false},
  };
  const auto plugin = make(make_node_resources_fit);
  for (const Row& row : rows)
    EXPECT_EQ(wakes(*plugin, row.event, *row.pod, row.before, row.after), row.woken) << row.rule;
}

// KEP-5004.
TEST_F(NodeResourcesFitTest, IsWokenByAClassThatStandsForWhatItWants) {
  const auto plugin = make(make_node_resources_fit);
  const auto wakened = [&](const scheduler::PodInfo& waiting, const api::Object& before, const api::Object& after) {
    return wakes(*plugin, scheduler::ClusterEvent::ResourceChanged, waiting, before, after);
  };
  const auto wants = [](const std::string& name) {
    return pod(R"({"containers":[{"resources":{"requests":{")" + name + R"(":"2"}}}]})");
  };
  const auto of_class = [](const std::string& spec) {
    return *api::Object::parse(R"({"metadata":{"name":"gpus"},"spec":)" + spec + "}");
  };
  const auto gpu = wants("example.com/gpu");
  const auto named = of_class(R"({"extendedResourceName":"example.com/gpu"})");
  EXPECT_TRUE(wakened(*gpu, {}, named));
  EXPECT_TRUE(wakened(*gpu, of_class("{}"), named));
  EXPECT_FALSE(wakened(*gpu, named, named));
  EXPECT_FALSE(wakened(*gpu, named, of_class("{}")));
  EXPECT_FALSE(wakened(*gpu, named, {}));
  EXPECT_FALSE(wakened(*wants("example.com/nic"), {}, named));
  EXPECT_TRUE(wakened(*wants("deviceclass.resource.kubernetes.io/gpus"), {}, of_class("{}")));
  EXPECT_FALSE(wakened(*wants("deviceclass.resource.kubernetes.io/gpus"), of_class("{}"), named));
}

// KEP-5004.
TEST_F(NodeResourcesFitTest, WhatANodeMayHaveAsDevicesIsNotCounted) {
  const auto plugin = make(make_node_resources_fit);
  const auto wants = pod(R"({"containers":[{"resources":{"requests":{"example.com/gpu":"2"}}}]})");
  const auto none = node("a", R"("status":{"allocatable":{"pods":"9"}})");
  const auto one = node("b", R"("status":{"allocatable":{"pods":"9","example.com/gpu":"1"}})");
  EXPECT_EQ(filter(*plugin, *wants, none), "Insufficient example.com/gpu");
  EXPECT_FALSE(wakes(*plugin, scheduler::ClusterEvent::NodeAdded, *wants, {}, none.object));
  device_resources_->answer_with([](std::string_view resource) { return resource == "example.com/gpu"; });
  EXPECT_EQ(filter(*plugin, *wants, none), "");
  EXPECT_TRUE(wakes(*plugin, scheduler::ClusterEvent::NodeAdded, *wants, {}, none.object));
  EXPECT_EQ(filter(*plugin, *wants, one), "Insufficient example.com/gpu") << "the node has it as a number";
}

}  // namespace
}  // namespace kubernel::plugins
