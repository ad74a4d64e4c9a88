// SPDX-License-Identifier: Apache-2.0
//
// The scheduler against a fake cluster, with small plugins of the test's own.
#include "scheduler.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

using namespace std::chrono_literals;
using api::resources::kEvents;
using api::resources::kNodes;
using api::resources::kPods;
using scheduler::ClusterEvent;
using scheduler::Plugin;
using scheduler::PluginContext;
using scheduler::PluginSpec;
using scheduler::Verdict;

class Sorter final : public Plugin, public scheduler::QueueSort {
 public:
  bool before(const scheduler::QueuedPod& a, const scheduler::QueuedPod& b) const override {
    return a.queued_at < b.queued_at;
  }
  std::vector<scheduler::EventInterest> retry_on() const override { return {}; }
};

// Fits nodes labeled allow=yes; among them prefers the label "score".
class Labels final : public Plugin, public scheduler::Filter, public scheduler::Score {
 public:
  Result<Verdict> filter(const scheduler::PodInfo&, const scheduler::CycleData*,
                         const scheduler::NodeInfo& node) const override {
    return node.labels()["allow"].string() == "yes" ? Verdict::fits()
                                                    : Verdict::unresolvable("node(s) were not allowed");
  }
  Result<std::int64_t> score(const scheduler::PodInfo&, const scheduler::CycleData*, const scheduler::NodeInfo& node,
                             const scheduler::Snapshot&) const override {
    return std::stoll(std::string(node.labels()["score"].string("0")));
  }
  void normalize(const scheduler::PodInfo&, const scheduler::CycleData*, std::span<std::int64_t>) const override {}
  std::vector<scheduler::EventInterest> retry_on() const override {
    return {{ClusterEvent::NodeAdded, {}}, {ClusterEvent::NodeLabelsChanged, {}}};
  }
};

// One pod a node.
class Single final : public Plugin, public scheduler::Filter {
 public:
  Result<Verdict> filter(const scheduler::PodInfo&, const scheduler::CycleData*,
                         const scheduler::NodeInfo& node) const override {
    return node.pods.empty() ? Verdict::fits() : Verdict::unschedulable("Too many pods");
  }
  std::vector<scheduler::EventInterest> retry_on() const override { return {{ClusterEvent::PodDeleted, {}}}; }
};

// Fits nodes with enough CPU.
class Room final : public Plugin, public scheduler::Filter {
 public:
  Result<Verdict> filter(const scheduler::PodInfo& pod, const scheduler::CycleData*,
                         const scheduler::NodeInfo& node) const override {
    return node.requested.milli_cpu + pod.requests.milli_cpu <= node.allocatable.milli_cpu
               ? Verdict::fits()
               : Verdict::unschedulable("Insufficient cpu");
  }
  std::vector<scheduler::EventInterest> retry_on() const override { return {{ClusterEvent::PodDeleted, {}}}; }
};

// Holds every pod until the test allows or rejects it.
class Gate final : public Plugin, public scheduler::Permit {
 public:
  scheduler::PermitResult permit(const CallContext&, const scheduler::Cycle&, std::string_view) override {
    return {Verdict::wait(), 30s};
  }
  std::vector<scheduler::EventInterest> retry_on() const override { return {}; }
};

class Binder final : public Plugin, public scheduler::Bind {
 public:
  explicit Binder(client::ApiClient& api) : api_(api) {}
  Result<Verdict> bind(const CallContext& ctx, const scheduler::Cycle& cycle, std::string_view node) override {
    auto bound = api_.create(ctx, kPods, cycle.pod->key(), {{"target", {{"name", node}}}}, {.subresource = "binding"});
    if (!bound) return bound.error();
    return Verdict::fits();
  }
  std::vector<scheduler::EventInterest> retry_on() const override { return {}; }

 private:
  client::ApiClient& api_;
};

template <class T>
Result<std::unique_ptr<Plugin>> make_plugin(const PluginContext&) {
  return std::make_unique<T>();
}
Result<std::unique_ptr<Plugin>> make_binder(const PluginContext& context) {
  return std::make_unique<Binder>(context.api);
}

// Keeps pods with gates out of the queue.
class Held final : public Plugin, public scheduler::PreEnqueue {
 public:
  Verdict pre_enqueue(const scheduler::PodInfo& pod) const override {
    return pod.spec["schedulingGates"].empty() ? Verdict::fits() : Verdict::unschedulable("held");
  }
  std::vector<scheduler::EventInterest> retry_on() const override { return {}; }
};

class SchedulerTest : public testing::SchedulerPluginTest {
 protected:
  SchedulerTest() {
    provide("Sorter", make_plugin<Sorter>);
    provide("Labels", make_plugin<Labels>);
    provide("Binder", make_binder);
  }
  ~SchedulerTest() override {
    if (!scheduler_) return;
    scheduler_->stop({});
    informers_->stop();
    executor_.run_all();
  }

  using Make = Result<std::unique_ptr<Plugin>> (*)(const PluginContext&);
  void provide(const std::string& name, Make factory) {
    specs_.push_back(std::make_shared<const PluginSpec>(PluginSpec{.make = factory}));
    extensions_.push_back(std::make_unique<plugin::Extension>(
        plugin::Extension{"scheduler", name, name, "{}", &typeid(PluginSpec), specs_.back()}));
  }

  Result<void> start(SchedulerOptions options = {}) {
    std::vector<plugin::Provided<PluginSpec>> provided;
    for (std::size_t i = 0; i < specs_.size(); ++i) provided.push_back({extensions_[i].get(), specs_[i].get()});
    auto made = Scheduler::make({log_, metrics_, clock_, random_, executor_, executor_, cluster_, *informers_},
                                std::move(options), provided);
    if (!made) return std::move(made).error();
    scheduler_ = *std::move(made);
    scheduler_->start();
    informers_->start();
    settle();
    return {};
  }
  void settle() { executor_.run_all(); }
  void pass(std::chrono::milliseconds time) {
    clock_.advance(time);
    settle();
  }

  void put_node(const std::string& name, const std::string& labels) {
    cluster_.put_text(
        kNodes, R"({"apiVersion":"v1","kind":"Node","metadata":{"name":")" + name + R"(","labels":)" + labels + "}}");
  }
  void put_pod(const std::string& name, const std::string& spec = R"({"schedulerName":"default-scheduler"})") {
    cluster_.put_text(kPods, R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":")" + name +
                                 R"("},"spec":)" + spec + R"(,"status":{"phase":"Pending"}})");
  }
  std::string node_of(const std::string& name) {
    return std::string(cluster_.find(kPods, {"default", name})->pointer("/spec/nodeName").string());
  }
  std::string condition_message(const std::string& name) {
    return std::string(cluster_.find(kPods, {"default", name})->pointer("/status/conditions/0/message").string());
  }

  std::vector<std::shared_ptr<const PluginSpec>> specs_;
  std::vector<std::unique_ptr<plugin::Extension>> extensions_;
  std::unique_ptr<Scheduler> scheduler_;
};

TEST_F(SchedulerTest, BindsAPodToTheBestNodeThatFits) {
  put_node("a", R"({"allow":"yes","score":"10"})");
  put_node("b", R"({"allow":"yes","score":"90"})");
  put_node("c", R"({"allow":"no","score":"99"})");
  put_pod("p");
  ASSERT_TRUE(start());
  EXPECT_EQ(node_of("p"), "b");
}

TEST_F(SchedulerTest, LeavesOtherSchedulersPodsAlone) {
  put_node("a", R"({"allow":"yes"})");
  put_pod("p", R"({"schedulerName":"mine"})");
  ASSERT_TRUE(start());
  EXPECT_EQ(node_of("p"), "");
}

TEST_F(SchedulerTest, SaysOnceWhyNoNodeFits) {
  put_node("a", "{}");
  put_node("b", "{}");
  put_pod("p");
  ASSERT_TRUE(start());
  EXPECT_EQ(condition_message("p"), "0/2 nodes are available: 2 node(s) were not allowed.");
  pass(10s);
  ASSERT_EQ(cluster_.all(kEvents).size(), 1U);
  EXPECT_EQ(cluster_.all(kEvents)[0].pointer("/reason").string(), "FailedScheduling");
  EXPECT_EQ(metrics_.value(R"(scheduler_schedule_attempts_total{profile="default-scheduler",result="unschedulable"})"),
            1);
}

TEST_F(SchedulerTest, TriesAgainWhenANodeThatMayFitAppears) {
  put_pod("p");
  ASSERT_TRUE(start());
  EXPECT_EQ(condition_message("p"), "no nodes available to schedule pods");
  put_node("a", R"({"allow":"yes"})");
  settle();
  pass(1s);  // Its back-off.
  EXPECT_EQ(node_of("p"), "a");
}

TEST_F(SchedulerTest, CountsAPodItHasJustPlaced) {
  provide("Single", make_plugin<Single>);
  put_node("a", R"({"allow":"yes"})");
  ASSERT_TRUE(start());
  put_pod("p");
  put_pod("q");
  settle();
  EXPECT_EQ(node_of("p") + node_of("q"), "a");
}

TEST_F(SchedulerTest, ADeletedPodMakesRoomForTheNext) {
  provide("Single", make_plugin<Single>);
  put_node("a", R"({"allow":"yes"})");
  ASSERT_TRUE(start());
  put_pod("p");
  settle();
  put_pod("q");
  settle();
  cluster_.erase(kPods, {"default", "p"});
  settle();
  pass(1s);
  EXPECT_EQ(node_of("q"), "a");
}

// KEP-1287: the spec has shrunk already, the containers not yet.
TEST_F(SchedulerTest, APodMakesRoomOnceItsContainersHaveShrunk) {
  provide("Room", make_plugin<Room>);
  put_node("a", R"({"allow":"yes"})");
  cluster_.edit(kNodes, {"", "a"}, [](auto& node) { node["status"]["allocatable"] = {{"cpu", "2"}}; });
  constexpr const char* kWants =
      R"({"schedulerName":"default-scheduler","containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]})";
  put_pod("p", kWants);
  const auto in_use = [&](const char* cpu) {
    cluster_.edit(kPods, {"default", "p"}, [&](auto& pod) {
      pod["spec"]["nodeName"] = "a";
      pod["status"]["containerStatuses"] =
          nlohmann::json::parse(R"([{"name":"c","resources":{"requests":{"cpu":")" + std::string(cpu) + R"("}}}])");
    });
  };
  in_use("2");
  ASSERT_TRUE(start());
  put_pod("q", kWants);
  settle();
  EXPECT_EQ(condition_message("q"), "0/1 nodes are available: 1 Insufficient cpu.");
  in_use("1");
  settle();
  pass(1s);
  EXPECT_EQ(node_of("q"), "a");
}

TEST_F(SchedulerTest, AFailedBindingIsTriedAgainAndHoldsNothing) {
  provide("Single", make_plugin<Single>);
  put_node("a", R"({"allow":"yes"})");
  cluster_.fail_next("create/binding", kPods, Error(Reason::ServiceUnavailable, "away"));
  put_pod("p");
  ASSERT_TRUE(start());
  EXPECT_EQ(node_of("p"), "");
  pass(1s);
  EXPECT_EQ(node_of("p"), "a");
}

TEST_F(SchedulerTest, APodHeldByPermitIsBoundWhenItIsAllowed) {
  provide("Gate", make_plugin<Gate>);
  put_node("a", R"({"allow":"yes"})");
  put_pod("p");
  ASSERT_TRUE(start());
  EXPECT_EQ(node_of("p"), "");
  scheduler_->for_each_waiting([](scheduler::WaitingPod& held) { held.allow("Gate"); });
  settle();
  EXPECT_EQ(node_of("p"), "a");
}

TEST_F(SchedulerTest, APodHeldTooLongIsGivenBack) {
  provide("Gate", make_plugin<Gate>);
  put_node("a", R"({"allow":"yes"})");
  put_pod("p");
  ASSERT_TRUE(start());
  pass(30s);
  EXPECT_EQ(node_of("p"), "");
  EXPECT_EQ(condition_message("p"),
            "0/1 nodes are available: 1 rejected due to timeout after waiting 30s at plugin Gate.");
}

// Makes room by nominating the node "a", once.
class Nominating final : public Plugin, public scheduler::PostFilter {
 public:
  Result<scheduler::PostFilterResult> post_filter(const CallContext&, const scheduler::Cycle&,
                                                  const scheduler::Refusals& refusals) override {
    if (refusals.nodes.empty()) return scheduler::PostFilterResult{};
    return scheduler::PostFilterResult{Verdict::fits(), "a"};
  }
  std::vector<scheduler::EventInterest> retry_on() const override { return {}; }
};

TEST_F(SchedulerTest, ANominatedNodeIsInTheStatusAndKeptFromLesserPods) {
  provide("Single", make_plugin<Single>);
  provide("Nominating", make_plugin<Nominating>);
  put_node("a", R"({"allow":"yes"})");
  ASSERT_TRUE(start());
  put_pod("first");
  settle();
  put_pod("high", R"({"schedulerName":"default-scheduler","priority":10})");
  settle();
  EXPECT_EQ(cluster_.find(kPods, {"default", "high"})->pointer("/status/nominatedNodeName").string(), "a");
  put_pod("low", R"({"schedulerName":"default-scheduler","priority":1})");
  cluster_.erase(kPods, {"default", "first"});
  settle();  // The lesser pod is tried first, but the room is promised.
  EXPECT_EQ(node_of("low"), "");
  EXPECT_EQ(node_of("high"), "a");
}

// One pod a node, and says so of the node alone. Counts how often it is asked.
class Counting final : public Plugin, public scheduler::Filter, public scheduler::LocalFilter {
 public:
  static inline int asked = 0;
  Result<Verdict> filter(const scheduler::PodInfo&, const scheduler::CycleData*,
                         const scheduler::NodeInfo& node) const override {
    ++asked;
    return node.pods.empty() ? Verdict::fits() : Verdict::unschedulable("Too many pods");
  }
  bool sign(const scheduler::PodInfo&, std::string&) const override { return true; }
  std::vector<scheduler::EventInterest> retry_on() const override { return {}; }
};

// Nodes whose room is promised fit at first sight: only there the promise is looked at, and once for pods alike.
TEST_F(SchedulerTest, APromisedNodeIsLookedAtWithThePromiseOnceForPodsAlike) {
  specs_.erase(specs_.begin() + 1);  // Labels does not sign.
  extensions_.erase(extensions_.begin() + 1);
  provide("Counting", make_plugin<Counting>);
  constexpr int kCount = 20;
  for (int i = 0; i < kCount; ++i) put_node("n" + std::to_string(i), "{}");
  for (int i = 0; i < kCount; ++i) {
    cluster_.put_text(
        kPods, R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"promised)" +
                   std::to_string(i) +
                   R"("},"spec":{"schedulerName":"default-scheduler","priority":10,"schedulingGates":[{"name":"x"}]},
                                 "status":{"phase":"Pending","nominatedNodeName":"n)" +
                   std::to_string(i) + R"("}})");
  }
  provide("Held", make_plugin<Held>);
  ASSERT_TRUE(start());
  const auto asked_for = [&](const std::string& name, int priority) {
    Counting::asked = 0;
    put_pod(name, R"({"schedulerName":"default-scheduler","priority":)" + std::to_string(priority) + "}");
    settle();
    return Counting::asked;
  };
  EXPECT_EQ(asked_for("first", 1), 2 * kCount + 1);  // And once for the clock, as one decision of ten.
  EXPECT_EQ(asked_for("second", 1), kCount);
  EXPECT_EQ(node_of("first") + node_of("second"), "");
  cluster_.erase(kPods, {"default", "promised7"});
  settle();
  EXPECT_LE(asked_for("third", 1), kCount);  // Known of all others.
  EXPECT_EQ(node_of("third"), "n7");
  EXPECT_EQ(asked_for("high", 11), 1);  // Promises to lesser pods do not bind it: the first node is as good as any.
  EXPECT_NE(node_of("high"), "");
}

// Between the refusal and its report the pod is bound.
TEST_F(SchedulerTest, AConditionDoesNotOvertakeABinding) {
  put_node("a", "{}");
  put_pod("p");
  cluster_.on_call(
      [&](std::string_view verb, const api::Resource& resource, const api::ObjectKey& key) -> Result<void> {
        if (verb != "patch/status" || resource != kPods) return {};
        cluster_.on_call({});
        EXPECT_TRUE(cluster_.create({}, kPods, key, {{"target", {{"name", "a"}}}}, {.subresource = "binding"}));
        return {};
      });
  ASSERT_TRUE(start());
  EXPECT_EQ(node_of("p"), "a");
  EXPECT_EQ(condition_message("p"), "");
}

TEST_F(SchedulerTest, ExplainsNodeByNode) {
  put_node("a", R"({"allow":"yes","score":"10"})");
  put_node("b", R"({"allow":"yes","score":"90"})");
  put_node("c", "{}");
  provide("Single", make_plugin<Single>);
  ASSERT_TRUE(start());
  put_pod("x");
  settle();  // On b.
  put_pod("held", R"({"schedulerName":"default-scheduler"})");
  cluster_.fail_next("create/binding", kPods, Error(Reason::ServiceUnavailable, "away"));
  settle();
  const auto explained = scheduler_->explain({}, {"default", "held"});
  ASSERT_TRUE(explained) << explained.error().message();
  ASSERT_EQ(explained->nodes.size(), 3U);
  EXPECT_TRUE(explained->nodes[0].fits);
  EXPECT_EQ(explained->nodes[0].total, 10);
  EXPECT_FALSE(explained->nodes[1].fits);
  EXPECT_EQ(explained->nodes[1].filters[1].plugin, "Single");
  EXPECT_EQ(explained->nodes[1].filters[1].verdict.reasons(), std::vector<std::string>{"Too many pods"});
  EXPECT_FALSE(explained->nodes[2].fits);
  const auto bound = scheduler_->explain({}, {"default", "x"});
  ASSERT_FALSE(bound);
  EXPECT_EQ(bound.error().message(), "pod default/x is bound to b");
  EXPECT_FALSE(scheduler_->explain({}, {"default", "nobody"}));
}

TEST_F(SchedulerTest, SeveralProfilesShareTheNodes) {
  put_node("a", R"({"allow":"yes","score":"10"})");
  put_node("b", R"({"allow":"yes","score":"90"})");
  SchedulerOptions options;
  options.profiles.push_back({});
  options.profiles.back().scheduler_name = "other";
  options.profiles.back().points[static_cast<std::size_t>(Point::Filter)].disabled = {"*"};
  put_node("c", R"({"score":"99"})");
  put_pod("p");
  put_pod("q", R"({"schedulerName":"other"})");
  ASSERT_TRUE(start(options));
  EXPECT_EQ(node_of("p"), "b");
  EXPECT_EQ(node_of("q"), "c");  // Without the filter the best of all.
  EXPECT_EQ(metrics_.value(R"(scheduler_schedule_attempts_total{profile="other",result="scheduled"})"), 1);
}

TEST_F(SchedulerTest, TwoProfilesOfOneNameAreRefused) {
  SchedulerOptions options;
  options.profiles.push_back({});
  const auto started = start(options);
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message(), "profiles: two of them have the schedulerName \"default-scheduler\"");
}

TEST_F(SchedulerTest, CountsEventsUnderUpstreamsLabels) {
  using nlohmann::json;
  put_node("a", R"({"allow":"yes"})");
  put_pod("p");
  put_pod("other", R"({"schedulerName":"somebody-else"})");
  ASSERT_TRUE(start());
  ASSERT_EQ(node_of("p"), "a");
  const auto count = [&](std::string_view event) {
    return metrics_.value("scheduler_event_handling_duration_seconds{event=\"" + std::string(event) + "\"}");
  };
  EXPECT_EQ(count("NodeAdd"), 1);
  EXPECT_EQ(count("UnschedulablePodAdd"), 1) << "another scheduler's pods are not counted";
  EXPECT_EQ(count("AssignedPodAdd"), 1);
  EXPECT_EQ(count("UnschedulablePodDelete"), 1) << "it is bound";
  const api::ObjectKey node{"", "a"}, bound{"default", "p"}, waiting{"default", "other"};
  struct Row {
    const char* event;
    const api::Resource& resource;
    api::ObjectKey key;
    std::function<void(json&)> change;
  };
  const std::vector<Row> rows = {
      {"NodeUpdateNodeLabel", kNodes, node, [](json& n) { n["metadata"]["labels"]["x"] = "y"; }},
      {"NodeUpdateNodeAnnotation", kNodes, node, [](json& n) { n["metadata"]["annotations"]["x"] = "y"; }},
      {"NodeUpdateNodeAllocatable", kNodes, node, [](json& n) { n["status"]["allocatable"]["cpu"] = "9"; }},
      {"NodeUpdateNodeTaint", kNodes, node,
       [](json& n) { n["spec"]["taints"] = json::parse(R"([{"key":"k","effect":"NoSchedule"}])"); }},
      {"NodeUpdateNodeCondition", kNodes, node,
       [](json& n) { n["status"]["conditions"] = json::parse(R"([{"type":"Ready","status":"True"}])"); }},
      {"NodeUpdateNodeDeclaredFeature", kNodes, node,
       [](json& n) { n["status"]["declaredFeatures"] = json::parse(R"(["F"])"); }},
      {"AssignedPodUpdatePodLabel", kPods, bound, [](json& p) { p["metadata"]["labels"]["x"] = "y"; }},
      {"AssignedPodUpdatePodToleration", kPods, bound,
       [](json& p) { p["spec"]["tolerations"] = json::parse(R"([{"operator":"Exists"}])"); }},
      {"AssignedPodUpdatePodGeneratedResourceClaim", kPods, bound,
       [](json& p) { p["status"]["resourceClaimStatuses"] = json::parse(R"([{"name":"c"}])"); }},
  };
  for (const Row& row : rows) {
    cluster_.edit(row.resource, row.key, row.change);
    settle();
    EXPECT_EQ(count(row.event), 1) << row.event;
  }
  EXPECT_EQ(count("AssignedPodUpdate"), 3);

  cluster_.edit(kNodes, node, [](json& n) { n["spec"]["unschedulable"] = true; });
  cluster_.edit(kNodes, node, [](json& n) {
    n["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-01-01T00:00:00Z";
    n["status"]["conditions"][0]["reason"] = "StillReady";
  });
  settle();
  EXPECT_EQ(count("NodeUpdateNodeTaint"), 1) << "a node that closes helps nobody";
  EXPECT_EQ(count("NodeUpdateNodeCondition"), 1) << "a heartbeat is no event";
  cluster_.edit(kNodes, node, [](json& n) { n["spec"].erase("unschedulable"); });
  settle();
  EXPECT_EQ(count("NodeUpdateNodeTaint"), 2) << "a node that opens does";

  cluster_.edit(kPods, waiting, [](json& p) { p["metadata"]["labels"]["x"] = "y"; });
  cluster_.edit(kPods, bound, [](json& p) { p["status"]["phase"] = "Succeeded"; });
  settle();
  EXPECT_EQ(count("UnschedulablePodUpdate"), 0) << "another scheduler's";
  EXPECT_EQ(count("AssignedPodDelete"), 1) << "a pod that has ended is gone";
  cluster_.erase(kPods, bound);
  cluster_.erase(kNodes, node);
  settle();
  EXPECT_EQ(count("AssignedPodDelete"), 1) << "once";
  EXPECT_EQ(count("NodeDelete"), 1);
}

TEST_F(SchedulerTest, CountsPendingPodsAndHowTheyCame) {
  put_node("a", "{}");
  put_pod("p");
  ASSERT_TRUE(start());
  EXPECT_EQ(metrics_.value(R"(scheduler_pending_pods{queue="unschedulable"})"), 1);
  EXPECT_EQ(metrics_.value(R"(scheduler_unschedulable_pods{plugin="Labels",profile="default-scheduler"})"), 1);
  EXPECT_EQ(metrics_.value(R"(scheduler_cache_size{type="nodes"})"), 1);
  EXPECT_EQ(
      metrics_.value(
          R"(scheduler_plugin_evaluation_total{extension_point="Filter",plugin="Labels",profile="default-scheduler"})"),
      1);
  EXPECT_EQ(metrics_.value(R"(scheduler_event_handling_duration_seconds{event="UnschedulablePodAdd"})"), 1);
  EXPECT_EQ(
      metrics_.value(
          R"(scheduler_plugin_execution_duration_seconds{extension_point="Filter",plugin="Labels",status="UnschedulableAndUnresolvable"})"),
      1);
  EXPECT_EQ(metrics_.value(R"(scheduler_queue_incoming_pods_total{event="UnschedulablePodAdd",queue="active"})"), 1);
  EXPECT_EQ(
      metrics_.value(R"(scheduler_queue_incoming_pods_total{event="ScheduleAttemptFailure",queue="unschedulable"})"),
      1);
  EXPECT_EQ(
      metrics_.value(
          R"(scheduler_framework_extension_point_duration_seconds{extension_point="Filter",profile="default-scheduler",status="Unschedulable"})"),
      1);
}

TEST_F(SchedulerTest, ManyNodesAreLookedAtInTurn) {
  for (int i = 0; i < 300; ++i) put_node("n" + std::to_string(i), R"({"allow":"yes"})");
  SchedulerOptions options;
  options.algorithm.percentage_of_nodes_to_score = 10;
  put_pod("p");
  ASSERT_TRUE(start(options));
  EXPECT_NE(node_of("p"), "");
}

TEST_F(SchedulerTest, NeedsExactlyOneQueueSortAndABinder) {
  SchedulerOptions options;
  options.profiles.front().multi_point.disabled = {"Binder"};
  const auto without = start(options);
  ASSERT_FALSE(without);
  EXPECT_THAT(without.error().message(), ::testing::HasSubstr("default-binder"));
  options.profiles.front().multi_point.disabled = {"Bindr"};
  const auto unknown = start(options);
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message(),
              ::testing::HasSubstr("no loaded plugin provides \"Bindr\"; did you mean \"Binder\"?"));
}

}  // namespace
}  // namespace kubernel::plugins
