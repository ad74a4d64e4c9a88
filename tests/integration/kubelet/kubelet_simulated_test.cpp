// SPDX-License-Identifier: Apache-2.0
//
// The kubelet with the runtime and the network `simulated`, under a fake clock and in one thread: pods live, fail, back
// off and end without a process.
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/fake_clock.h>
#include <kubernel/testing/fake_cluster.h>
#include <kubernel/testing/fake_services.h>

#include "plugins/kubelet/kubelet.h"
#include "plugins/runtimes/simulated/simulated_network.h"
#include "plugins/runtimes/simulated/simulated_runtime.h"

namespace kubernel::kubelet {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

class Simulated final : public plugin::Extensions {
 public:
  explicit Simulated(const std::string& config)
      : runtime_{"runtime",
                 "simulated",
                 "simulated",
                 config,
                 &typeid(runtime::RuntimeSpec),
                 std::make_shared<const runtime::RuntimeSpec>(runtime::RuntimeSpec{&runtime::simulated::open_runtime})},
        network_{
            "network",
            "simulated",
            "simulated",
            config,
            &typeid(network::NetworkSpec),
            std::make_shared<const network::NetworkSpec>(network::NetworkSpec{&runtime::simulated::open_network})} {}
  std::vector<const plugin::Extension*> at(std::string_view point) const override {
    if (point == "runtime") return {&runtime_};
    if (point == "network") return {&network_};
    return {};
  }

 private:
  plugin::Extension runtime_, network_;
};

class KubeletSimulated : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "kubelet-simulated.XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    cluster_->put_text(api::resources::kNamespaces, R"({"metadata":{"name":"default"}})");
    cluster_->put_text(api::resources::kNamespaces, R"({"metadata":{"name":"kube-node-lease"}})");
    start();
  }
  void TearDown() override {
    stop();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  void start() {
    json config = json::object();
    config["nodeName"] = "n1";
    config["nodeIp"] = "127.0.0.1";
    config["podCidr"] = "10.1.0.0/24";
    config["listen"] = "";
    config["rootDirectory"] = directory_ + "/kubelet";
    config["logDirectory"] = directory_ + "/logs";
    extensions_ = std::make_unique<Simulated>(json::object({{"root", directory_ + "/simulated"}}).dump());
    plugin::offer<client::Connector>(services_, cluster_);
    auto made = make_kubelet({"kubelet", config.dump(), log_, metrics_, clock_, random_, executor_, executor_, poller_,
                              services_, *extensions_});
    ASSERT_TRUE(made) << made.error().message();
    component_ = *std::move(made);
    const auto started = component_->start({});
    ASSERT_TRUE(started) << started.error().message();
    executor_.run_all();
  }
  void stop() {
    if (!component_) return;
    executor_.run_all();
    component_->stop({});
    executor_.run_all();
    component_.reset();
  }

  void advance(std::chrono::seconds by) {
    for (; by.count() > 0; by -= 1s) {
      clock_.advance(1s);
      executor_.run_all();
    }
  }

  void put_pod(const std::string& name, const json& annotations, const std::string& restart_policy) {
    json pod =
        json::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default"},"spec":{"nodeName":"n1",
      "terminationGracePeriodSeconds":30,"containers":[{"name":"app","image":"busybox:1"}]}})");
    pod["metadata"]["name"] = name;
    pod["metadata"]["annotations"] = annotations;
    pod["spec"]["restartPolicy"] = restart_policy;
    cluster_->put(api::resources::kPods, pod);
    executor_.run_all();
  }
  json status(const std::string& name) {
    const auto pod = cluster_->find(api::resources::kPods, {"default", name});
    return pod ? pod->to_json().value("status", json::object()) : json::object();
  }
  // "Running 2 CrashLoopBackOff": the phase, how often the container was restarted, why it waits.
  std::string summary(const std::string& name) {
    const json all = status(name);
    std::string out = all.value("phase", "");
    const json containers = all.value("containerStatuses", json::array());
    if (containers.empty()) return out;
    const json& container = containers[0];
    out += " " + std::to_string(container.value("restartCount", 0));
    const json waiting = container["state"].value("waiting", json::object());
    if (!waiting.empty()) out += " " + waiting.value("reason", "");
    return out;
  }

  std::string directory_;
  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  testing::FakeClock clock_;
  testing::SeededRandom random_{1};
  testing::ManualExecutor executor_;
  testing::NoPoller poller_;
  std::shared_ptr<testing::FakeCluster> cluster_ = std::make_shared<testing::FakeCluster>(clock_);
  kubernel::testing::FakeServices services_;
  std::unique_ptr<Simulated> extensions_;
  std::unique_ptr<plugin::Component> component_;
};

TEST_F(KubeletSimulated, APodRunsAndSucceeds) {
  put_pod("job", {{"simulated.kubernel.io/run-for", "5s"}}, "Never");
  advance(1s);
  EXPECT_EQ(summary("job"), "Running 0");
  EXPECT_EQ(status("job").value("podIP", ""), "10.1.0.2");
  advance(6s);
  EXPECT_EQ(summary("job"), "Succeeded 0");
  EXPECT_EQ(status("job")["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
}

TEST_F(KubeletSimulated, APodThatStartsSlowlyIsPendingUntilItRuns) {
  put_pod("slow", {{"simulated.kubernel.io/start-after", "10s"}, {"simulated.kubernel.io/run-for", "5s"}}, "Never");
  advance(5s);
  EXPECT_EQ(summary("slow"), "Pending 0 ContainerCreating");
  advance(6s);
  EXPECT_EQ(summary("slow"), "Running 0");
  advance(6s);
  EXPECT_EQ(summary("slow"), "Succeeded 0");
}

TEST_F(KubeletSimulated, APodFailsWithItsExitCode) {
  put_pod("bad", {{"simulated.kubernel.io/run-for", "2s"}, {"simulated.kubernel.io/exit-code", "3"}}, "Never");
  advance(4s);
  EXPECT_EQ(summary("bad"), "Failed 0");
  EXPECT_EQ(status("bad")["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
}

TEST_F(KubeletSimulated, AFailingContainerIsRestartedWithBackOffUntilItSucceeds) {
  put_pod("flaky", {{"simulated.kubernel.io/run-for", "2s"}, {"simulated.kubernel.io/exit-code", "1,1,1,0"}},
          "OnFailure");
  advance(3s);
  EXPECT_EQ(summary("flaky"), "Running 1") << "the first restart is at once";
  advance(2s);
  EXPECT_EQ(summary("flaky"), "Running 1 CrashLoopBackOff") << "it failed again after 4 seconds";
  advance(8s);
  EXPECT_EQ(summary("flaky"), "Running 1 CrashLoopBackOff");
  advance(2s);
  EXPECT_EQ(summary("flaky"), "Running 2") << "10 seconds after it failed";
  advance(20s);
  EXPECT_EQ(summary("flaky"), "Running 2 CrashLoopBackOff") << "the second back-off is twice as long";
  advance(4s);
  EXPECT_EQ(summary("flaky"), "Succeeded 3");
}

TEST_F(KubeletSimulated, ADeletedPodGoesOnceItHasStopped) {
  put_pod("web", {{"simulated.kubernel.io/stop-after", "5s"}}, "Always");
  advance(2s);
  EXPECT_EQ(summary("web"), "Running 0");
  ASSERT_TRUE(cluster_->remove({}, api::resources::kPods, {"default", "web"}, {}));
  executor_.run_all();
  advance(3s);
  EXPECT_TRUE(cluster_->find(api::resources::kPods, {"default", "web"})) << "it takes five seconds to stop";
  advance(4s);
  EXPECT_FALSE(cluster_->find(api::resources::kPods, {"default", "web"}));
}

TEST_F(KubeletSimulated, TheNextKubeletTakesOverWhatRuns) {
  put_pod("long", {{"simulated.kubernel.io/run-for", "20s"}}, "Never");
  advance(2s);
  EXPECT_EQ(summary("long"), "Running 0");
  const json before = status("long")["containerStatuses"][0]["containerID"];
  stop();
  clock_.advance(5s);
  start();
  advance(1s);
  EXPECT_EQ(summary("long"), "Running 0");
  EXPECT_EQ(status("long")["containerStatuses"][0]["containerID"], before);
  stop();
  clock_.advance(60s);
  start();
  advance(1s);
  EXPECT_EQ(summary("long"), "Succeeded 0") << "it ended while no kubelet was there";
}

TEST_F(KubeletSimulated, AWrongAnnotationIsAnEventOfThePod) {
  put_pod("wrong", {{"simulated.kubernel.io/run-for", "soon"}}, "Never");
  advance(2s);
  EXPECT_EQ(summary("wrong").substr(0, 7), "Pending");
  bool told = false;
  for (const auto& event : cluster_->all(api::resources::kEvents)) {
    const auto body = event.to_json();
    told = told || body.dump().find("annotation simulated.kubernel.io/run-for") != std::string::npos;
  }
  EXPECT_TRUE(told);
}

}  // namespace
}  // namespace kubernel::kubelet
