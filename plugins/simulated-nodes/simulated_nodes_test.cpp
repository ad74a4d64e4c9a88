// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/controller/runner.h>
#include <kubernel/testing/fake_clock.h>
#include <kubernel/testing/fake_cluster.h>

#include "pod_life.h"
#include "simulation.h"

namespace kubernel::plugins {
namespace {

using api::resources::kLeases;
using api::resources::kNodes;
using api::resources::kPods;
using nlohmann::json;
using std::chrono::milliseconds;

class SimulatedNodesTest : public ::testing::Test {
 protected:
  void start(const char* node_template, milliseconds start_delay = milliseconds(0)) {
    SimulationSettings settings;
    settings.templates.push_back(NodeTemplate::read(json::parse(node_template)));
    settings.start_delay = start_delay;
    simulation_ = std::make_unique<Simulation>(std::move(settings), cluster_, clock_);
    ASSERT_TRUE(simulation_->watch(*informers_, *runner_));
    informers_->start();
    executor_.run_all();
    simulation_->make_nodes();
    runner_->start(*simulation_);
    executor_.run_all();
  }
  ~SimulatedNodesTest() override {
    executor_.run_all();
    EXPECT_TRUE(runner_->stop({}));
    informers_->stop();
  }
  void pass(milliseconds time) {
    clock_.advance(time);
    executor_.run_all();
  }
  void put_pod(const std::string& name, const std::string& node, const std::string& policy = "Always") {
    cluster_.put_text(
        kPods,
        R"({"metadata":{"namespace":"default","name":")" + name + R"("},"spec":{"nodeName":")" + node +
            R"(","restartPolicy":")" + policy +
            R"(","initContainers":[{"name":"i","image":"busybox"}],"containers":[{"name":"c","image":"busybox"}]}})");
    executor_.run_all();
  }
  std::string phase(const std::string& name) {
    const auto pod = cluster_.find(kPods, {"default", name});
    return pod ? std::string(pod->pointer("/status/phase").string()) : "gone";
  }

  testing::FakeClock clock_;
  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  testing::FakeCluster cluster_{clock_};
  testing::ManualExecutor executor_;
  testing::SeededRandom random_{1};
  std::unique_ptr<client::InformerFactory> informers_ =
      client::make_informer_factory({log_, clock_, random_, executor_}, cluster_);
  std::unique_ptr<controller::Runner> runner_ =
      controller::make_runner({log_, metrics_, clock_, executor_}, {"simulated-nodes", 2});
  std::unique_ptr<Simulation> simulation_;
};

TEST_F(SimulatedNodesTest, ATemplateBecomesNodesThatAreReadyAndHaveLeases) {
  start(R"({"count":3,"name":"s","labels":{"pool":"x"},"zones":["a","b"],"capacity":{"cpu":"4"},
            "taints":[{"key":"k","effect":"NoSchedule"}]})");
  EXPECT_EQ(simulation_->missing_nodes(), 0U);
  const auto nodes = cluster_.all(kNodes);
  ASSERT_EQ(nodes.size(), 3U);
  EXPECT_EQ(nodes[2].name(), "s-2");
  EXPECT_EQ(nodes[1].labels()["topology.kubernetes.io/zone"].string(), "b");
  EXPECT_EQ(nodes[2].labels()["topology.kubernetes.io/zone"].string(), "a");
  EXPECT_EQ(nodes[0].labels()["pool"].string(), "x");
  EXPECT_EQ(nodes[0].pointer("/spec/taints/0/key").string(), "k");
  EXPECT_EQ(nodes[0].pointer("/status/allocatable/cpu").string(), "4");
  EXPECT_EQ(nodes[0].pointer("/status/allocatable/pods").string(), "110");
  EXPECT_EQ(nodes[0].pointer("/status/conditions/3/type").string(), "Ready");
  EXPECT_EQ(cluster_.all(kLeases).size(), 3U);
}

TEST_F(SimulatedNodesTest, LeasesAreRenewedInTime) {
  start(R"({"count":2})");
  const auto renewed = [&] {
    std::vector<std::string> out;
    for (const auto& lease : cluster_.all(kLeases)) out.emplace_back(lease.pointer("/spec/renewTime").string());
    return out;
  };
  const auto before = renewed();
  pass(std::chrono::seconds(11));
  const auto after = renewed();
  ASSERT_EQ(after.size(), before.size());
  for (std::size_t i = 0; i < after.size(); ++i) EXPECT_GT(after[i], before[i]);
}

TEST_F(SimulatedNodesTest, ANodeThatIsDeletedStaysDeleted) {
  start(R"({"count":1})");
  cluster_.erase(kNodes, {"", "simulated-0"});
  pass(std::chrono::minutes(1));
  EXPECT_TRUE(cluster_.all(kNodes).empty());
}

TEST_F(SimulatedNodesTest, ANodeThatBecameUnreadyIsMadeReady) {
  start(R"({"count":1})");
  cluster_.edit(kNodes, {"", "simulated-0"}, [](json& node) { node["status"]["conditions"][3]["status"] = "Unknown"; });
  executor_.run_all();
  EXPECT_EQ(cluster_.all(kNodes)[0].pointer("/status/conditions/3/status").string(), "True");
}

TEST_F(SimulatedNodesTest, APodOnASimulatedNodeRuns) {
  start(R"({"count":1})");
  put_pod("p", "simulated-0");
  const auto pod = cluster_.find(kPods, {"default", "p"});
  EXPECT_EQ(phase("p"), "Running");
  EXPECT_FALSE(pod->pointer("/status/podIP").string().empty());
  EXPECT_TRUE(pod->pointer("/status/containerStatuses/0/ready").boolean());
  EXPECT_TRUE(pod->pointer("/status/initContainerStatuses/0/state/terminated"));
  pass(std::chrono::minutes(1));
  EXPECT_EQ(phase("p"), "Running");
}

TEST_F(SimulatedNodesTest, OtherNodesPodsAreLeftAlone) {
  start(R"({"count":1})");
  put_pod("p", "somebody");
  EXPECT_EQ(phase("p"), "");
}

TEST_F(SimulatedNodesTest, ANodeSomebodyElseLabeledIsSimulatedToo) {
  start(R"({"count":0})");
  put_pod("p", "mine");
  EXPECT_EQ(phase("p"), "");
  cluster_.put_text(
      kNodes,
      R"({"metadata":{"name":"mine","labels":{"kubernel.io/simulated":"true"}},"status":{"capacity":{"cpu":"7"}}})");
  executor_.run_all();
  EXPECT_EQ(phase("p"), "Running");
  EXPECT_EQ(cluster_.all(kNodes)[0].pointer("/status/capacity/cpu").string(), "7");
}

TEST_F(SimulatedNodesTest, APodTakesItsTimeToStart) {
  start(R"({"count":1})", milliseconds(500));
  put_pod("p", "simulated-0");
  EXPECT_EQ(phase("p"), "");
  pass(milliseconds(500));
  EXPECT_EQ(phase("p"), "Running");
}

TEST_F(SimulatedNodesTest, AJobsPodCompletes) {
  start(R"({"count":1})");
  put_pod("p", "simulated-0", "Never");
  EXPECT_EQ(phase("p"), "Running");
  pass(milliseconds(1000));
  EXPECT_EQ(phase("p"), "Succeeded");
  EXPECT_EQ(cluster_.find(kPods, {"default", "p"})
                ->pointer("/status/containerStatuses/0/state/terminated/exitCode")
                .integer(-1),
            0);
}

TEST_F(SimulatedNodesTest, ADeletedPodGoesAway) {
  start(R"({"count":1})");
  put_pod("p", "simulated-0");
  ASSERT_TRUE(cluster_.remove({}, kPods, {"default", "p"}, {.grace_period_seconds = 30}));
  executor_.run_all();
  EXPECT_EQ(phase("p"), "gone");
}

}  // namespace
}  // namespace kubernel::plugins
