// SPDX-License-Identifier: Apache-2.0
#include "default_preemption.h"

#include <nlohmann/json.hpp>

#include "fixture.h"

namespace kubernel::plugins {
namespace {

using api::resources::kPods;
using scheduler::NodeInfo;
using scheduler::Verdict;

class DefaultPreemptionTest : public PreemptionTest {
 protected:
  // On a node, and in the API.
  void put(NodeInfo& node, const std::string& name, int priority, const std::string& cpu,
           const std::string& status = "") {
    const auto info = running(name, priority, cpu, "", "{}", status);
    auto document = info->object.to_json();
    document["spec"]["nodeName"] = node.name;
    cluster_.put(kPods, document);
    node.add_pod(std::make_shared<const scheduler::PodInfo>(*cluster_.find(kPods, {"default", name})));
  }
  scheduler::PostFilterResult preempt(std::vector<NodeInfo> nodes, scheduler::Cycle cycle,
                                      const std::string& config = "{}") {
    scheduler::PluginContext context{config, 0, handle_, cluster_, *informers_, log_, clock_, metrics_, random_};
    plugin_ = *make_default_preemption(context);
    informers_->start();
    executor_.run_all();
    std::vector<std::shared_ptr<const NodeInfo>> shared;
    for (NodeInfo& node : nodes) shared.push_back(std::make_shared<const NodeInfo>(std::move(node)));
    cycle.snapshot = std::make_shared<const scheduler::Snapshot>(shared);
    scheduler::Refusals refusals;
    for (const auto& node : cycle.snapshot->nodes()) {
      if (node->name != hopeless_)
        refusals.nodes.push_back({node.get(), "Cpu", Verdict::unschedulable("Insufficient cpu")});
    }
    auto result = dynamic_cast<scheduler::PostFilter&>(*plugin_).post_filter({}, cycle, refusals);
    EXPECT_TRUE(result) << result.error().message();
    executor_.run_all();
    return *std::move(result);
  }
  bool exists(const std::string& name) {
    const auto found = cluster_.find(kPods, {"default", name});
    return found && !found->head().deleting;
  }

  std::string gate(const scheduler::PodInfo& pod) {
    return joined(dynamic_cast<scheduler::PreEnqueue&>(*plugin_).pre_enqueue(pod));
  }

  std::unique_ptr<scheduler::Plugin> plugin_;
  std::string hopeless_;  // A node that evicting pods cannot open.
};

TEST_F(DefaultPreemptionTest, NominatesTheNodeAndEvictsItsVictims) {
  auto a = cpu_node("a", "2"), b = cpu_node("b", "2");
  put(a, "important", 5, "2");
  put(b, "humble", 1, "2");
  const auto result = preempt({a, b}, wanting(10, "1"));
  EXPECT_EQ(result.nominated_node, "b");
  EXPECT_TRUE(result.verdict.ok());
  EXPECT_TRUE(exists("important"));
  EXPECT_FALSE(exists("humble"));
  ASSERT_EQ(cluster_.all(api::resources::kEvents).size(), 1U);
  EXPECT_EQ(cluster_.all(api::resources::kEvents)[0].pointer("/message").string(),
            "Preempted by pod u-preemptor on node b");
  EXPECT_EQ(metrics_.value("scheduler_preemption_attempts_total"), 1);
  EXPECT_EQ(metrics_.value("scheduler_preemption_victims"), 1);
  EXPECT_EQ(metrics_.value(R"(scheduler_preemption_goroutines_execution_total{result="success"})"), 1);
  EXPECT_EQ(metrics_.value(R"(scheduler_preemption_goroutines_duration_seconds{result="success"})"), 1);
}

TEST_F(DefaultPreemptionTest, TheVictimsConditionSaysWhy) {
  auto a = cpu_node("a", "2");
  put(a, "humble", 1, "2");
  api::Object seen;
  cluster_.on_call([&](std::string_view verb, const api::Resource&, const api::ObjectKey& key) -> Result<void> {
    if (verb == "delete") seen = *cluster_.find(kPods, key);
    return {};
  });
  preempt({a}, wanting(10, "1"));
  ASSERT_TRUE(seen);
  const api::Value condition = seen.pointer("/status/conditions/0");
  EXPECT_EQ(condition["type"].string(), "DisruptionTarget");
  EXPECT_EQ(condition["reason"].string(), "PreemptionByScheduler");
  EXPECT_EQ(condition["message"].string(), "default-scheduler: preempting to accommodate a higher priority pod");
}

TEST_F(DefaultPreemptionTest, SaysNodeByNodeWhyItDoesNotHelp) {
  auto a = cpu_node("a", "2"), b = cpu_node("b", "2"), c = cpu_node("c", "2");
  put(a, "equal", 10, "2");
  put(b, "high", 20, "1");
  put(b, "low", 1, "1");
  hopeless_ = "c";
  const auto result = preempt({a, b, c}, wanting(10, "2"));
  EXPECT_EQ(joined(result.verdict),
            "preemption: 0/3 nodes are available: 1 Insufficient cpu, 1 No preemption victims found for incoming pod, "
            "1 Preemption is not helpful for scheduling.");
  EXPECT_EQ(result.nominated_node, "");  // An older nomination is void.
  EXPECT_TRUE(exists("low"));
}

TEST_F(DefaultPreemptionTest, APodThatNeverPreemptsDoesNot) {
  auto a = cpu_node("a", "2");
  put(a, "humble", 1, "2");
  const auto result = preempt({a}, wanting(10, "1", R"(,"preemptionPolicy":"Never")"));
  EXPECT_EQ(joined(result.verdict), "preemption: not eligible due to preemptionPolicy=Never.");
  EXPECT_FALSE(result.nominated_node);
  EXPECT_TRUE(exists("humble"));
}

TEST_F(DefaultPreemptionTest, WaitsForVictimsThatAreStillTerminating) {
  auto a = cpu_node("a", "2");
  const auto leaving = *api::Object::parse(
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"leaving","uid":"u-leaving",
      "deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"priority":1,"containers":[{"resources":{"requests":{"cpu":"2"}}}]},
      "status":{"conditions":[{"type":"DisruptionTarget","status":"True","reason":"PreemptionByScheduler"}]}})");
  a.add_pod(std::make_shared<const scheduler::PodInfo>(leaving));
  auto cycle = wanting(10, "1");
  const auto nominated = cycle.pod->object.with([](nlohmann::json& pod) { pod["status"]["nominatedNodeName"] = "a"; });
  cycle.pod = std::make_shared<const scheduler::PodInfo>(*nominated);
  EXPECT_EQ(joined(preempt({a}, std::move(cycle)).verdict),
            "preemption: not eligible due to a terminating pod on the nominated node.");
}

TEST_F(DefaultPreemptionTest, TakesBackTheNominationsOfLessImportantPods) {
  auto a = cpu_node("a", "2");
  put(a, "humble", 1, "2");
  const auto other = running("promised", 2, "1");
  auto document = other->object.to_json();
  document["status"]["nominatedNodeName"] = "a";
  cluster_.put(kPods, document);
  handle_.nominated = {other};
  preempt({a}, wanting(10, "1"));
  EXPECT_FALSE(cluster_.find(kPods, {"default", "promised"})->pointer("/status/nominatedNodeName"));
}

TEST_F(DefaultPreemptionTest, NobodyWaitsWhileVictimsAreDeleted) {
  auto a = cpu_node("a", "2");
  put(a, "humble", 1, "1");
  put(a, "humbler", 0, "1");
  handle_.hold_back = true;
  const auto cycle = wanting(10, "2");
  const auto preemptor = cycle.pod;
  EXPECT_EQ(preempt({a}, cycle.clone()).nominated_node, "a");
  EXPECT_TRUE(exists("humble"));
  EXPECT_EQ(gate(*preemptor), "waiting for the preemption for this pod to be finished");
  const api::Object victim = *cluster_.find(kPods, {"default", "humble"});
  const api::Object last = *cluster_.find(kPods, {"default", "humbler"});
  const api::Object stranger = running("stranger", 1, "1")->object;
  EXPECT_FALSE(wakes(*plugin_, scheduler::ClusterEvent::PodDeleted, *preemptor, stranger, {}));
  EXPECT_FALSE(wakes(*plugin_, scheduler::ClusterEvent::NodeAdded, *preemptor, {}, a.object));
  std::string at_the_last = "not asked";
  cluster_.on_call([&](std::string_view verb, const api::Resource&, const api::ObjectKey& key) -> Result<void> {
    if (verb == "delete" && key.name == "humbler") at_the_last = gate(*preemptor);
    return {};
  });
  handle_.catch_up();
  executor_.run_all();
  EXPECT_FALSE(exists("humble"));
  EXPECT_FALSE(exists("humbler"));
  EXPECT_EQ(at_the_last, "");  // Its deletion is the event that wakes the preemptor.
  EXPECT_FALSE(wakes(*plugin_, scheduler::ClusterEvent::PodDeleted, *preemptor, victim, {}));
  // Whatever else happens may open another way.
  EXPECT_TRUE(wakes(*plugin_, scheduler::ClusterEvent::PodDeleted, *preemptor, stranger, {}));
  EXPECT_TRUE(wakes(*plugin_, scheduler::ClusterEvent::NodeAdded, *preemptor, {}, a.object));
  EXPECT_TRUE(wakes(*plugin_, scheduler::ClusterEvent::PodDeleted, *preemptor, last, {}));
  EXPECT_TRUE(handle_.activated.empty());
}

TEST_F(DefaultPreemptionTest, AVictimThatIsGoingAlreadyIsNotToldAgain) {
  auto a = cpu_node("a", "2");
  const auto leaving = *api::Object::parse(
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"leaving","uid":"u-leaving",
      "deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"priority":1,"containers":[{"resources":{"requests":{"cpu":"2"}}}]}})");
  a.add_pod(std::make_shared<const scheduler::PodInfo>(leaving));
  bool called = false;
  cluster_.on_call([&](std::string_view verb, const api::Resource&, const api::ObjectKey&) -> Result<void> {
    called = called || verb == "delete" || verb == "patch";
    return {};
  });
  const auto cycle = wanting(10, "1");
  EXPECT_EQ(preempt({a}, cycle.clone()).nominated_node, "a");
  EXPECT_FALSE(called);
  EXPECT_EQ(gate(*cycle.pod), "");
  EXPECT_TRUE(handle_.activated.empty());
  EXPECT_TRUE(wakes(*plugin_, scheduler::ClusterEvent::PodDeleted, *cycle.pod, leaving, {}));
}

TEST_F(DefaultPreemptionTest, WhenNoDeletionWillBeHeardOfItWakesThePreemptorItself) {
  auto a = cpu_node("a", "2");
  put(a, "humble", 1, "2");
  cluster_.erase(kPods, {"default", "humble"});
  preempt({a}, wanting(10, "1"));
  EXPECT_EQ(handle_.activated, std::vector<std::string>{"u-preemptor"});
}

TEST_F(DefaultPreemptionTest, AVictimThatCannotBeDeletedDoesNotHoldThePreemptorForEver) {
  auto a = cpu_node("a", "2");
  put(a, "humble", 1, "2");
  cluster_.fail_next("delete", kPods, Error(Reason::Forbidden, "no"));
  const auto cycle = wanting(10, "1");
  preempt({a}, cycle.clone());
  EXPECT_EQ(gate(*cycle.pod), "");
  EXPECT_EQ(handle_.activated, std::vector<std::string>{"u-preemptor"});
}

class Objector final : public scheduler::PreemptExtender {
 public:
  const std::string& name() const override { return name_; }
  bool ignorable() const override { return false; }
  bool interested_in(const scheduler::PodInfo&) const override { return true; }
  Result<std::vector<Victims>> preempt(const CallContext&, const scheduler::PodInfo&, std::vector<Victims> candidates,
                                       const scheduler::Snapshot&) override {
    std::erase_if(candidates, [](const Victims& candidate) { return candidate.node == "a"; });
    return candidates;
  }

 private:
  std::string name_ = "objector";
};

TEST_F(DefaultPreemptionTest, AnExtenderMayObject) {
  Objector objector;
  handle_.extenders = {&objector};
  auto a = cpu_node("a", "2"), b = cpu_node("b", "2");
  put(a, "humble", 1, "2");
  put(b, "important", 5, "2");
  EXPECT_EQ(preempt({a, b}, wanting(10, "1")).nominated_node, "b");
  EXPECT_EQ(joined(preempt({a}, wanting(10, "1")).verdict), "preemption: no candidate node for preemption");
}

TEST_F(DefaultPreemptionTest, ItsArgumentsMustLeaveSomethingToFind) {
  EXPECT_FALSE(make_default_preemption(context(R"({"minCandidateNodesPercentage":0,"minCandidateNodesAbsolute":0})")));
}

}  // namespace
}  // namespace kubernel::plugins
