// SPDX-License-Identifier: Apache-2.0
//
// The scheduler with upstream's plugins on the real API pipeline: who leads, what a pod costs, and what users read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "memory_backend.h"
#include "scheduler_process.h"

namespace kubernel::integration {
namespace {

using namespace std::chrono_literals;
using api::resources::kEvents;
using api::resources::kNodes;
using api::resources::kPods;
using nlohmann::json;

constexpr const char* kElection = R"({"leaderElection":{"leaderElect":true}})";
constexpr const char* kBindings = "create pods/binding";

class SchedulerOnApi : public ::testing::Test {
 protected:
  void settle() { fixture_.executor().run_all(); }
  void pass(std::chrono::seconds time) {
    for (auto passed = 0s; passed < time; passed += 1s) {
      fixture_.clock().advance(1s);
      settle();
    }
  }

  // Ready, as its kubelet and the node life cycle would have made it.
  void add_node(const std::string& name, const std::string& cpu = "4", const json& spec = json::object(),
                const json& labels = json::object()) {
    const json allocatable = {{"cpu", cpu}, {"memory", "8Gi"}, {"pods", "110"}};
    const json node = {
        {"metadata", {{"name", name}, {"labels", labels}}},
        {"spec", spec},
        {"status",
         {{"capacity", allocatable},
          {"allocatable", allocatable},
          {"conditions",
           json::array({{{"type", "Ready"}, {"status", "True"}, {"lastHeartbeatTime", "2026-01-01T00:00:00Z"}}})}}}};
    fixture_.create(kNodes, "", node.dump());
    json made = fixture_.client().get({}, kNodes, {"", name}, "")->to_json();
    if (!made["spec"].contains("taints")) return;
    std::erase_if(made["spec"]["taints"].get_ref<json::array_t&>(),
                  [](const json& taint) { return taint["key"] == "node.kubernetes.io/not-ready"; });
    ASSERT_TRUE(fixture_.client().update({}, kNodes, {"", name}, made, {}));
  }
  void add_pod(const std::string& name, const std::string& cpu = "100m", const json& more = json::object()) {
    json spec = {{"containers",
                  json::array({{{"name", "c"}, {"image", "busybox"}, {"resources", {{"requests", {{"cpu", cpu}}}}}}})}};
    spec.update(more);
    fixture_.create(kPods, "default", json{{"metadata", {{"name", name}}}, {"spec", spec}}.dump());
  }
  void add_pods(const std::string& name, int count) {
    for (int i = 0; i < count; ++i) add_pod(name + std::to_string(i));
  }
  api::Object pod(const std::string& name) { return *fixture_.client().get({}, kPods, {"default", name}, ""); }
  std::string node_of(const std::string& name) { return std::string(pod(name).pointer("/spec/nodeName").string()); }
  int unbound() {
    return static_cast<int>(fixture_.client().list({}, kPods, {.field_selector = "spec.nodeName="})->items.size());
  }
  std::vector<api::Object> events(const std::string& reason) {
    std::vector<api::Object> out;
    const auto all = fixture_.client().list({}, kEvents, {});
    for (const api::Object& event : all->items) {
      if (event["reason"].string() == reason) out.push_back(event);
    }
    return out;
  }

  apiserver::testing::ApiFixture fixture_{storage_memory::open_memory};
};

TEST_F(SchedulerOnApi, ASecondSchedulerTakesOverWithinTheLeaseAndNothingIsBoundTwice) {
  for (const char* name : {"a", "b", "c"}) add_node(name);
  SchedulerProcess first(fixture_, kElection, 1);
  SchedulerProcess second(fixture_, kElection, 2);
  settle();
  add_pods("early", 10);
  settle();
  EXPECT_EQ(unbound(), 0);
  EXPECT_EQ(first.calls(kBindings), 10);
  EXPECT_EQ(second.calls(kBindings), 0);

  first.cut();
  add_pods("late", 10);
  settle();
  EXPECT_EQ(unbound(), 10);
  auto waited = 0s;
  for (; unbound() > 0 && waited < 60s; waited += 1s) pass(1s);
  EXPECT_LE(waited, 15s + 5s);  // The lease, and how often a follower looks.
  EXPECT_EQ(second.calls(kBindings), 10);

  first.mend();
  pass(60s);
  add_pods("after", 10);
  pass(5s);
  EXPECT_EQ(unbound(), 0);
  EXPECT_EQ(first.calls(kBindings), 10);
  EXPECT_EQ(second.calls(kBindings), 20);
  // One binding a pod, and none that the API had to refuse.
  EXPECT_EQ(first.refused(kBindings) + second.refused(kBindings), 0);
}

TEST_F(SchedulerOnApi, ASchedulerThatStopsHandsOverAtOnce) {
  add_node("a");
  auto first = std::make_unique<SchedulerProcess>(fixture_, kElection, 1);
  SchedulerProcess second(fixture_, kElection, 2);
  first.reset();
  add_pods("p", 3);
  pass(5s);  // How often a follower looks, at most.
  EXPECT_EQ(unbound(), 0);
  EXPECT_EQ(second.calls(kBindings), 3);
}

TEST_F(SchedulerOnApi, APodThatCannotBeScheduledCostsOneEventAndOneStatusWrite) {
  for (const char* name : {"a", "b"}) add_node(name, "1");
  SchedulerProcess scheduler(fixture_, "{}", 1);
  add_pod("large", "2");
  settle();
  for (int i = 0; i < 100; ++i) {  // What happens meanwhile is none of its business.
    json node = fixture_.client().get({}, kNodes, {"", "a"}, "")->to_json();
    node["status"]["conditions"][0]["lastHeartbeatTime"] =
        "2026-01-01T00:01:" + std::string(i % 2 == 0 ? "00" : "01") + "Z";
    ASSERT_TRUE(fixture_.client().update({}, kNodes, {"", "a"}, node, {.subresource = "status"}));
    add_pod("small" + std::to_string(i), "1m");
    pass(2s);
  }
  add_node("c", "1");  // Just as small.
  pass(30s);
  EXPECT_EQ(scheduler.calls("patch pods/status"), 1);
  EXPECT_EQ(events("FailedScheduling").size(), 1U);
  EXPECT_EQ(scheduler.calls("patch events") + scheduler.calls("update events"), 0);
  EXPECT_EQ(
      scheduler.metric(R"(scheduler_schedule_attempts_total{profile="default-scheduler",result="unschedulable"})"), 1);

  add_node("d", "4");
  pass(15s);
  EXPECT_EQ(node_of("large"), "d");
}

TEST_F(SchedulerOnApi, UsersReadUpstreamsMessage) {
  add_node("a", "1");
  add_node("b", "4", {{"unschedulable", true}});
  add_node("c", "4", {{"taints", json::array({{{"key", "dedicated"}, {"value", "x"}, {"effect", "NoSchedule"}}})}});
  add_node("d", "4", json::object(), {{"disk", "hdd"}});
  SchedulerProcess scheduler(fixture_, "{}", 1);
  add_pod("p", "2",
          {{"affinity",
            {{"nodeAffinity",
              {{"requiredDuringSchedulingIgnoredDuringExecution",
                {{"nodeSelectorTerms",
                  json::array({{{"matchExpressions", json::array({{{"key", "disk"},
                                                                   {"operator", "NotIn"},
                                                                   {"values", json::array({"hdd"})}}})}}})}}}}}}}});
  pass(2s);
  const std::string message =
      "0/4 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector, "
      "1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. preemption: 0/4 nodes are available: "
      "4 Preemption is not helpful for scheduling.";
  EXPECT_EQ(pod("p").pointer("/status/conditions/0/message").string(), message);
  ASSERT_EQ(events("FailedScheduling").size(), 1U);
  const api::Object told = events("FailedScheduling").front();
  EXPECT_EQ(told[told["note"] ? "note" : "message"].string(), message);
}

// Every node is as good as any other: only the seed decides.
std::map<std::string, std::string> placements(std::uint64_t seed) {
  class World final : public SchedulerOnApi {
   public:
    void TestBody() override {}
    std::map<std::string, std::string> play(std::uint64_t of_seed) {
      for (int i = 0; i < 40; ++i) add_node("n" + std::to_string(i));
      SchedulerProcess scheduler(fixture_, "{}", of_seed);
      add_pods("p", 20);
      pass(1s);
      std::map<std::string, std::string> out;
      for (int i = 0; i < 20; ++i) out["p" + std::to_string(i)] = node_of("p" + std::to_string(i));
      return out;
    }
  };
  return World().play(seed);
}

TEST(SeededScheduling, TheSameSeedGivesTheSameDecisions) {
  const auto once = placements(7);
  EXPECT_THAT(once, ::testing::Each(::testing::Pair(::testing::_, ::testing::Not(""))));
  EXPECT_EQ(once, placements(7));
  EXPECT_NE(once, placements(8));
}

}  // namespace
}  // namespace kubernel::integration
