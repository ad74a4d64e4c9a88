// SPDX-License-Identifier: Apache-2.0
#include "pod_garbage_collector.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/controller/conditions.h>
#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::pod_garbage_collector {
namespace {

using namespace std::chrono_literals;
using api::Object;
using api::resources::kNodes;
using api::resources::kPods;
using nlohmann::json;

class PodGarbageCollectorTest : public ::testing::Test {
 protected:
  void put_node(const std::string& name) { bench_.cluster.put(kNodes, {{"metadata", {{"name", name}}}}); }
  void put_pod(const std::string& name, const std::string& node, const std::string& phase = "Running",
               const json& more = json::object()) {
    json pod = {{"metadata", {{"name", name}, {"namespace", "shop"}}},
                {"spec", json::object()},
                {"status", {{"phase", phase}}}};
    if (!node.empty()) pod["spec"]["nodeName"] = node;
    pod.merge_patch(more);
    bench_.cluster.put(kPods, pod);
  }
  std::optional<Object> pod(const std::string& name) { return bench_.cluster.find(kPods, {"shop", name}); }
  void hold(const std::string& name) {
    bench_.cluster.edit(kPods, {"shop", name}, [](json& p) { p["metadata"]["finalizers"] = {"example.com/hold"}; });
  }

  testing::ControllerBench bench_{make_reconciler, R"({"terminatedPodThreshold": 2})"};
};

TEST_F(PodGarbageCollectorTest, PodsOfANodeThatIsGoneGoAfterAWhile) {
  put_node("a");
  put_node("b");
  put_pod("p", "a");
  put_pod("q", "b");
  bench_.start();
  hold("p");
  bench_.cluster.erase(kNodes, {"", "a"});
  bench_.advance(39s);
  EXPECT_FALSE(pod("p")->head().deleting);
  bench_.advance(2s);
  ASSERT_TRUE(pod("p")->head().deleting);
  EXPECT_EQ(pod("p")->pointer("/status/phase").string(), "Failed");
  const Object held = *pod("p");
  EXPECT_EQ(controller::find_condition(held.pointer("/status/conditions"), "DisruptionTarget")["reason"].string(),
            "DeletionByPodGC");
  EXPECT_FALSE(pod("q")->head().deleting);
}

TEST_F(PodGarbageCollectorTest, PodsFoundWithoutTheirNodeAtTheStartGoToo) {
  put_pod("p", "gone");
  bench_.start();
  bench_.advance(41s);
  EXPECT_FALSE(pod("p"));
}

TEST_F(PodGarbageCollectorTest, ANodeThatComesBackKeepsItsPods) {
  put_node("a");
  put_pod("p", "a");
  bench_.start();
  bench_.cluster.erase(kNodes, {"", "a"});
  bench_.advance(20s);
  put_node("a");
  bench_.advance(60s);
  EXPECT_TRUE(pod("p"));
}

TEST_F(PodGarbageCollectorTest, TheCacheAloneIsNoReasonToDelete) {
  put_pod("p", "a");
  bench_.start();
  bench_.cluster.freeze_cache();
  put_node("a");
  bench_.advance(60s);
  EXPECT_TRUE(pod("p"));
}

TEST_F(PodGarbageCollectorTest, ADeletedPodThatWasNeverBoundGoes) {
  put_pod("p", "", "Pending");
  bench_.cluster.edit(kPods, {"shop", "p"}, [](json& p) { p["metadata"]["finalizers"] = {"example.com/hold"}; });
  ASSERT_TRUE(bench_.cluster.remove({}, kPods, {"shop", "p"}, {}));
  bench_.start();
  EXPECT_EQ(pod("p")->pointer("/status/phase").string(), "Failed");
  EXPECT_EQ(pod("p")->pointer("/metadata/deletionGracePeriodSeconds").integer(-1), 0);
}

TEST_F(PodGarbageCollectorTest, ATerminatingPodOfALivingNodeIsItsKubeletsAffair) {
  put_node("a");
  put_pod("p", "a");
  bench_.start();
  ASSERT_TRUE(bench_.cluster.remove({}, kPods, {"shop", "p"}, {}));
  bench_.advance(10min);
  EXPECT_TRUE(pod("p"));
}

TEST_F(PodGarbageCollectorTest, ANodeOutOfServiceGivesUpItsTerminatingPods) {
  put_node("a");
  put_pod("p", "a");
  put_pod("q", "a");
  bench_.start();
  ASSERT_TRUE(bench_.cluster.remove({}, kPods, {"shop", "p"}, {}));
  bench_.cluster.edit(kNodes, {"", "a"}, [](json& node) {
    node["spec"]["taints"] = {{{"key", "node.kubernetes.io/out-of-service"}, {"effect", "NoExecute"}}};
    node["status"]["conditions"] = {{{"type", "Ready"}, {"status", "Unknown"}}};
  });
  bench_.settle();
  EXPECT_FALSE(pod("p"));
  EXPECT_TRUE(pod("q"));
}

TEST_F(PodGarbageCollectorTest, TheOldestEndedPodsGoEvictedOnesFirst) {
  put_node("a");
  put_pod("running", "a");
  for (const char* name : {"first", "second", "third"}) {
    put_pod(name, "a", "Succeeded");
    bench_.clock.advance(10s);
  }
  put_pod("evicted", "a", "Failed", {{"status", {{"reason", "Evicted"}}}});
  bench_.start();
  EXPECT_FALSE(pod("evicted"));
  EXPECT_FALSE(pod("first"));
  EXPECT_TRUE(pod("second"));
  EXPECT_TRUE(pod("third"));
  EXPECT_TRUE(pod("running"));
}

}  // namespace
}  // namespace kubernel::plugins::pod_garbage_collector
