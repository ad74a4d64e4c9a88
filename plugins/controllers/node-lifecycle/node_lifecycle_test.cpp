// SPDX-License-Identifier: Apache-2.0
#include "node_lifecycle.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>
#include <kubernel/controller/conditions.h>
#include <kubernel/controller/pods.h>
#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::node_lifecycle {
namespace {

using namespace std::chrono_literals;
using api::Object;
using api::Value;
using api::resources::kLeases;
using api::resources::kNodes;
using api::resources::kPods;
using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class NodeLifecycleTest : public ::testing::Test {
 protected:
  void put_node(const std::string& name, const std::string& ready = "True", const json& spec = json::object()) {
    bench_.cluster.put(kNodes,
                       {{"metadata", {{"name", name}}},
                        {"spec", spec},
                        {"status",
                         {{"conditions",
                           {{{"type", "Ready"}, {"status", ready}, {"lastHeartbeatTime", "2026-01-01T00:00:00Z"}},
                            {{"type", "MemoryPressure"}, {"status", "False"}}}}}}});
  }
  void renew(const std::string& name) {
    bench_.cluster.put(kLeases, {{"metadata", {{"name", name}, {"namespace", "kube-node-lease"}}},
                                 {"spec", {{"renewTime", api::format_micro_time(bench_.clock.wall_now())}}}});
  }
  // Time passes; the nodes named renew their leases as kubelets do.
  void pass(std::chrono::seconds time, const std::vector<std::string>& alive) {
    for (auto passed = 0s; passed < time; passed += 5s) {
      for (const auto& name : alive) renew(name);
      bench_.advance(5s);
    }
  }
  void set_ready(const std::string& name, const std::string& status) {
    bench_.cluster.edit(kNodes, {"", name}, [&](json& node) {
      node["status"]["conditions"][0]["status"] = status;
      node["status"]["conditions"][0]["lastHeartbeatTime"] = api::format_time(bench_.clock.wall_now());
    });
    bench_.settle();
  }
  void put_pod(const std::string& name, const std::string& node, const json& tolerations = json::array()) {
    bench_.cluster.put(kPods,
                       {{"metadata", {{"name", name}, {"namespace", "shop"}}},
                        {"spec", {{"nodeName", node}, {"tolerations", tolerations}}},
                        {"status", {{"phase", "Running"}, {"conditions", {{{"type", "Ready"}, {"status", "True"}}}}}}});
  }
  static json tolerate(const char* key, int seconds) {
    return {{"key", key}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", seconds}};
  }
  std::vector<std::string> taints(const std::string& name) {
    std::vector<std::string> out;
    const Object node = *bench_.cluster.find(kNodes, {"", name});
    for (const Value taint : node.pointer("/spec/taints"))
      out.push_back(std::string(taint["key"].string()) + ":" + std::string(taint["effect"].string()));
    return out;
  }
  std::string condition(const std::string& name, const char* type, const char* field = "status") {
    const Object node = *bench_.cluster.find(kNodes, {"", name});
    return std::string(controller::find_condition(node.pointer("/status/conditions"), type)[field].string());
  }
  bool evicted(const std::string& name) {
    const auto pod = bench_.cluster.find(kPods, {"shop", name});
    return !pod || pod->head().deleting;
  }

  testing::ControllerBench bench_{make_reconciler};
};

TEST_F(NodeLifecycleTest, ANodeThatRenewsItsLeaseStaysReady) {
  put_node("a");
  bench_.start();
  pass(300s, {"a"});
  EXPECT_EQ(condition("a", "Ready"), "True");
  EXPECT_THAT(taints("a"), IsEmpty());
}

TEST_F(NodeLifecycleTest, ANodeThatReportsItsStatusStaysReadyWithoutALease) {
  put_node("a");
  bench_.start();
  for (int i = 0; i < 10; ++i) {
    bench_.advance(40s);
    set_ready("a", "True");
  }
  EXPECT_EQ(condition("a", "Ready"), "True");
}

TEST_F(NodeLifecycleTest, ASilentNodeBecomesUnknownAfterTheGracePeriod) {
  put_node("a");
  put_node("b");
  bench_.start();
  pass(45s, {"b"});
  EXPECT_EQ(condition("a", "Ready"), "True");
  pass(10s, {"b"});
  EXPECT_EQ(condition("a", "Ready"), "Unknown");
  EXPECT_EQ(condition("a", "Ready", "reason"), "NodeStatusUnknown");
  EXPECT_EQ(condition("a", "Ready", "message"), "Kubelet stopped posting node status.");
  EXPECT_EQ(condition("a", "MemoryPressure"), "Unknown");
  EXPECT_EQ(condition("a", "DiskPressure", "reason"), "NodeStatusNeverUpdated");
  EXPECT_EQ(condition("b", "Ready"), "True");
  EXPECT_THAT(taints("a"), UnorderedElementsAre("node.kubernetes.io/unreachable:NoSchedule",
                                                "node.kubernetes.io/unreachable:NoExecute"));
  EXPECT_THAT(bench_.events.lines(), Contains(HasSubstr("NodeNotReady")));
}

TEST_F(NodeLifecycleTest, ANodeThatComesBackLosesItsTaints) {
  put_node("a");
  put_node("b");
  bench_.start();
  pass(60s, {"b"});
  ASSERT_EQ(taints("a").size(), 2U);
  set_ready("a", "True");
  EXPECT_THAT(taints("a"), IsEmpty());
}

TEST_F(NodeLifecycleTest, ANodeThatNeverReportedHasALongerGracePeriod) {
  bench_.cluster.put(kNodes, {{"metadata", {{"name", "a"}}}});
  bench_.start();
  bench_.advance(55s);
  EXPECT_EQ(condition("a", "Ready"), "");
  bench_.advance(6s);
  EXPECT_EQ(condition("a", "Ready"), "Unknown");
  EXPECT_EQ(condition("a", "Ready", "reason"), "NodeStatusNeverUpdated");
}

TEST_F(NodeLifecycleTest, ConditionsBecomeTaintsAndOtherTaintsStay) {
  put_node("a", "False",
           {{"unschedulable", true},
            {"taints",
             {{{"key", "gpu"}, {"effect", "NoSchedule"}},
              {{"key", "node.kubernetes.io/disk-pressure"}, {"effect", "NoSchedule"}}}}});
  put_node("b");
  bench_.cluster.edit(kNodes, {"", "a"}, [](json& node) { node["status"]["conditions"][1]["status"] = "True"; });
  bench_.start();
  EXPECT_THAT(taints("a"), UnorderedElementsAre("gpu:NoSchedule", "node.kubernetes.io/not-ready:NoSchedule",
                                                "node.kubernetes.io/memory-pressure:NoSchedule",
                                                "node.kubernetes.io/unschedulable:NoSchedule",
                                                "node.kubernetes.io/not-ready:NoExecute"));
}

TEST_F(NodeLifecycleTest, PodsOfASilentNodeAreMarkedNotReady) {
  put_node("a");
  put_node("b");
  put_pod("p", "a", json::array({tolerate("node.kubernetes.io/unreachable", 300)}));
  bench_.start();
  pass(60s, {"b"});
  EXPECT_FALSE(controller::pod_ready(*bench_.cluster.find(kPods, {"shop", "p"})));
  EXPECT_FALSE(evicted("p"));
}

TEST_F(NodeLifecycleTest, PodsLeaveWhenTheirTolerationIsOver) {
  put_node("a");
  put_node("b");
  put_pod("short", "a", json::array({tolerate("node.kubernetes.io/unreachable", 30)}));
  put_pod("long", "a", json::array({tolerate("node.kubernetes.io/unreachable", 300)}));
  put_pod("ever", "a", {{{"operator", "Exists"}}});
  put_pod("none", "a");
  put_pod("elsewhere", "b");
  bench_.start();
  pass(60s, {"b"});
  EXPECT_TRUE(evicted("none"));
  EXPECT_FALSE(evicted("short"));
  pass(30s, {"b"});
  EXPECT_TRUE(evicted("short"));
  EXPECT_FALSE(evicted("long"));
  pass(300s, {"b"});
  EXPECT_TRUE(evicted("long"));
  EXPECT_FALSE(evicted("ever"));
  EXPECT_FALSE(evicted("elsewhere"));
  const Object pod = *bench_.cluster.find(kPods, {"shop", "long"});
  EXPECT_EQ(controller::find_condition(pod.pointer("/status/conditions"), "DisruptionTarget")["reason"].string(),
            "DeletionByTaintManager");
}

TEST_F(NodeLifecycleTest, APodStaysWhenItsNodeComesBackInTime) {
  put_node("a");
  put_node("b");
  put_pod("p", "a", json::array({tolerate("node.kubernetes.io/unreachable", 30)}));
  bench_.start();
  pass(60s, {"b"});
  set_ready("a", "True");
  pass(120s, {"a", "b"});
  EXPECT_FALSE(evicted("p"));
}

TEST_F(NodeLifecycleTest, ATaintSomebodyElseSetsEvictsToo) {
  put_node("a");
  put_pod("p", "a",
          {{{"key", "repair"},
            {"operator", "Equal"},
            {"value", "disk"},
            {"effect", "NoExecute"},
            {"tolerationSeconds", 20}}});
  put_pod("q", "a", {{{"key", "repair"}, {"operator", "Equal"}, {"value", "cpu"}, {"effect", "NoExecute"}}});
  bench_.start();
  bench_.cluster.edit(kNodes, {"", "a"}, [](json& node) {
    node["spec"]["taints"] = {{{"key", "repair"}, {"value", "disk"}, {"effect", "NoExecute"}}};
  });
  bench_.settle();
  EXPECT_TRUE(evicted("q"));
  EXPECT_FALSE(evicted("p"));
  pass(20s, {"a"});
  EXPECT_TRUE(evicted("p"));
}

TEST_F(NodeLifecycleTest, WhenNoNodeIsReadyNothingIsEvicted) {
  put_node("a");
  put_node("b");
  put_pod("p", "a");
  bench_.start();
  pass(300s, {});
  EXPECT_EQ(condition("a", "Ready"), "Unknown");
  EXPECT_THAT(taints("a"), ElementsAre("node.kubernetes.io/unreachable:NoSchedule"));
  EXPECT_FALSE(evicted("p"));
}

TEST_F(NodeLifecycleTest, NodesLoseTheirPodsOneAfterTheOther) {
  for (const char* name : {"a", "b", "c", "d", "e"}) put_node(name);
  bench_.start();
  pass(55s, {"c", "d", "e"});
  const auto both = [&] { return taints("a").size() + taints("b").size(); };
  EXPECT_EQ(both(), 3U);  // Both NoSchedule, one NoExecute.
  pass(10s, {"c", "d", "e"});
  EXPECT_EQ(both(), 4U);
}

TEST_F(NodeLifecycleTest, AFailingZoneIsLeftAlone) {
  for (const char* name : {"a", "b", "c", "d", "e"}) put_node(name);
  put_pod("p", "a");
  bench_.start();
  for (const char* name : {"a", "b", "c"}) {
    bench_.cluster.edit(kNodes, {"", name}, [&](json& node) { node["status"]["conditions"][0]["status"] = "False"; });
  }
  pass(120s, {"a", "b", "c", "d", "e"});
  EXPECT_FALSE(evicted("p"));
  set_ready("b", "True");
  pass(20s, {"a", "b", "c", "d", "e"});
  EXPECT_TRUE(evicted("p"));
}

TEST_F(NodeLifecycleTest, WritesNothingWhileNothingChanges) {
  put_node("a");
  bench_.start();
  pass(20s, {"a"});
  const auto before = bench_.cluster.find(kNodes, {"", "a"})->head().resource_version;
  pass(120s, {"a"});
  EXPECT_EQ(bench_.cluster.find(kNodes, {"", "a"})->head().resource_version, before);
}

}  // namespace
}  // namespace kubernel::plugins::node_lifecycle
