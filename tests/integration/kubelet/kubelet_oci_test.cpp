// SPDX-License-Identifier: Apache-2.0
//
// The kubelet with real containers: a fake cluster above it, the oci runtime below, in namespaces of its own
// (in_sandbox.sh).
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/fake_clock.h>
#include <kubernel/testing/fake_cluster.h>
#include <kubernel/testing/fake_services.h>

#include "core/base/epoll_poller.h"
#include "core/base/system_clock.h"
#include "core/base/system_random.h"
#include "core/base/thread_pool.h"
#include "plugins/kubelet/kubelet.h"
#include "plugins/runtimes/oci/open.h"

namespace kubernel::kubelet {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

class OneRuntime final : public plugin::Extensions {
 public:
  explicit OneRuntime(std::string config) {
    runtime::RuntimeSpec spec;
    spec.open = runtime::oci::open_runtime;
    extension_ = {"runtime",
                  "oci",
                  "oci",
                  std::move(config),
                  &typeid(runtime::RuntimeSpec),
                  std::make_shared<const runtime::RuntimeSpec>(spec)};
  }
  std::vector<const plugin::Extension*> at(std::string_view point) const override {
    if (point == "runtime") return {&extension_};
    return {};
  }

 private:
  plugin::Extension extension_;
};

class KubeletOci : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0 || std::getenv("KUBERNEL_TEST_DIRECTORY") == nullptr) {
      GTEST_SKIP() << "containers need root and namespaces: run it by tests/integration/runtime/in_sandbox.sh as root";
    }
    const std::string shared = std::getenv("KUBERNEL_TEST_DIRECTORY");
    directory_ = shared + "/" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(directory_);
    cluster_->put_text(api::resources::kNamespaces, R"({"metadata":{"name":"default"}})");
    cluster_->put_text(api::resources::kNamespaces, R"({"metadata":{"name":"kube-node-lease"}})");
    load_image(shared + "/busybox.tar");
    start();
  }

  void TearDown() override {
    if (!component_) return;
    for (const auto& pod : cluster_->all(api::resources::kPods)) remove(pod.name());
    stop();
  }

  std::string runtime_config() const {
    json config = json::object();
    config["root"] = directory_ + "/root";
    config["stateDir"] = directory_ + "/state";
    config["durable"] = false;
    config["pause"] = std::getenv("KUBERNEL_TEST_PAUSE");
    return config.dump();
  }

  void open_surroundings() {
    poller_ = std::make_unique<core::EpollPoller>();
    clock_ = std::make_unique<core::SystemClock>();
    pool_ = std::make_unique<core::ThreadPool>(core::ThreadPoolOptions{"test"}, log_, metrics_);
  }

  void load_image(const std::string& tar) {
    open_surroundings();
    auto opened = runtime::oci::open_runtime({runtime_config(), log_, metrics_, *clock_, random_, *pool_, *poller_});
    ASSERT_TRUE(opened) << opened.error().message();
    auto images = opened->images->load({}, tar);
    ASSERT_TRUE(images) << images.error().message();
    image_ = images->front().tags.front();
    opened->containers.reset();
    opened->images.reset();
    poller_.reset();
    pool_.reset();
  }

  void start() {
    open_surroundings();
    json config = json::object();
    config["nodeName"] = "n1";
    config["nodeIp"] = "127.0.0.1";
    config["listen"] = "";
    config["rootDirectory"] = directory_ + "/kubelet";
    config["logDirectory"] = directory_ + "/logs";
    config["cgroupRoot"] = std::getenv("KUBERNEL_TEST_CGROUP");
    extensions_ = std::make_unique<OneRuntime>(runtime_config());
    plugin::offer<client::Connector>(services_, cluster_);
    auto made = make_kubelet({"kubelet", config.dump(), log_, metrics_, *clock_, random_, *pool_, *pool_, *poller_,
                              services_, *extensions_});
    ASSERT_TRUE(made) << made.error().message();
    component_ = *std::move(made);
    const auto started = component_->start(context());
    ASSERT_TRUE(started) << started.error().message();
  }
  void stop() {
    component_->stop(context());
    component_.reset();
    poller_.reset();
    pool_->stop();
    pool_.reset();
    clock_.reset();
  }

  static CallContext context(std::chrono::seconds limit = 20s) {
    CallContext ctx;
    ctx.deadline = CallContext::Clock::now() + limit;
    return ctx;
  }

  void put_pod(const std::string& name, json spec) {
    spec["nodeName"] = "n1";
    spec["hostNetwork"] = true;
    for (json& container : spec["containers"]) {
      container["image"] = image_;
      container["imagePullPolicy"] = "IfNotPresent";
    }
    json pod = json::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default"}})");
    pod["metadata"]["name"] = name;
    pod["spec"] = std::move(spec);
    cluster_->put(api::resources::kPods, pod);
  }
  static json shell(const std::string& script, const std::string& policy = "Always") {
    json spec =
        json::parse(R"({"terminationGracePeriodSeconds":2,"containers":[{"name":"app","command":["sh","-c"]}]})");
    spec["restartPolicy"] = policy;
    spec["containers"][0]["command"].push_back(script);
    return spec;
  }

  // Waits, by a watch, until `holds` says yes of the pod's status (an empty object when it is gone).
  bool eventually(const std::string& name, const std::function<bool(const json& pod)>& holds,
                  std::chrono::seconds limit = 20s) {
    std::mutex mutex;
    std::condition_variable changed;
    bool woken = true;
    client::WatchOptions options;
    options.ns = "default";
    auto watch = cluster_->watch({}, api::resources::kPods, options);
    if (!watch) return false;
    (*watch)->notify([&] {
      const std::lock_guard lock(mutex);
      woken = true;
      changed.notify_all();
    });
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (;;) {
      if (!(*watch)->take(1000)) return false;
      const auto pod = cluster_->find(api::resources::kPods, {"default", name});
      if (holds(pod ? pod->to_json() : json::object())) return true;
      std::unique_lock lock(mutex);
      if (!changed.wait_until(lock, deadline, [&] { return woken; })) break;
      woken = false;
    }
    for (const auto& line : log_.lines()) std::cerr << line << "\n";
    const auto pod = cluster_->find(api::resources::kPods, {"default", name});
    std::cerr << (pod ? pod->json() : "gone") << "\n";
    return false;
  }
  bool reaches(const std::string& name, const std::string& phase) {
    return eventually(
        name, [&](const json& pod) { return pod.contains("status") && pod["status"].value("phase", "") == phase; });
  }
  void remove(const std::string& name) {
    client::DeleteOptions options;
    options.grace_period_seconds = 1;
    const auto removed = cluster_->remove({}, api::resources::kPods, {"default", name}, options);
    ASSERT_TRUE(removed) << removed.error().message();
    EXPECT_TRUE(eventually(name, [](const json& pod) { return pod.empty(); }));
  }
  json pod(const std::string& name) { return cluster_->find(api::resources::kPods, {"default", name})->to_json(); }
  std::string log_of(const std::string& name, int attempt = 0) {
    const auto uid = pod(name)["metadata"]["uid"].get<std::string>();
    std::ifstream file(directory_ + "/logs/default_" + name + "_" + uid + "/app/" + std::to_string(attempt) + ".log");
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  core::SystemClock cluster_clock_;
  std::shared_ptr<testing::FakeCluster> cluster_ = std::make_shared<testing::FakeCluster>(cluster_clock_);
  kubernel::testing::FakeServices services_;
  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  core::SystemRandom random_;
  std::string directory_, image_;
  std::unique_ptr<core::SystemClock> clock_;
  std::unique_ptr<core::ThreadPool> pool_;
  std::unique_ptr<core::EpollPoller> poller_;
  std::unique_ptr<OneRuntime> extensions_;
  std::unique_ptr<plugin::Component> component_;
};

TEST_F(KubeletOci, RunsAPodToItsEndAndReportsItsExitCode) {
  put_pod("job", shell("echo hello; exit 3", "Never"));
  ASSERT_TRUE(reaches("job", "Failed"));
  const json state = pod("job")["status"]["containerStatuses"][0]["state"]["terminated"];
  EXPECT_EQ(state["exitCode"], 3);
  EXPECT_EQ(state["reason"], "Error");
  EXPECT_NE(log_of("job").find(" stdout F hello\n"), std::string::npos);
}

TEST_F(KubeletOci, RegistersTheNodeWithItsImagesAndRenewsALease) {
  put_pod("web", shell("sleep 1000"));
  ASSERT_TRUE(reaches("web", "Running"));
  const auto node = cluster_->find(api::resources::kNodes, {{}, "n1"});
  ASSERT_TRUE(node);
  EXPECT_EQ((*node)["status"]["addresses"].at(0)["address"].string(), "127.0.0.1");
  EXPECT_NE((*node)["status"]["capacity"]["memory"].string(), "0Ki");
}

TEST_F(KubeletOci, GivesAContainerItsEnvironmentFilesAndHostsFile) {
  cluster_->put_text(
      api::resources::kConfigMaps,
      R"({"metadata":{"name":"conf","namespace":"default"},"data":{"key":"from-config","file.txt":"in-a-file"}})");
  json spec = shell(
      "echo $A $B; cat /conf/file.txt; echo; cat /secret/s; echo; head -1 /etc/hosts; hostname; touch /scratch/x && ls "
      "/scratch",
      "Never");
  spec["volumes"] = json::parse(
      R"([{"name":"conf","configMap":{"name":"conf"}},{"name":"scratch","emptyDir":{}},{"name":"secret","secret":{"secretName":"sec"}}])");
  cluster_->put_text(api::resources::kSecrets,
                     R"({"metadata":{"name":"sec","namespace":"default"},"data":{"s":"aGlkZGVu"}})");
  spec["containers"][0]["volumeMounts"] = json::parse(
      R"([{"name":"conf","mountPath":"/conf"},{"name":"scratch","mountPath":"/scratch"},{"name":"secret","mountPath":"/secret"}])");
  spec["containers"][0]["env"] = json::parse(
      R"([{"name":"A","valueFrom":{"configMapKeyRef":{"name":"conf","key":"key"}}},{"name":"B","value":"$(A)-b"}])");
  put_pod("job", spec);
  ASSERT_TRUE(reaches("job", "Succeeded"));
  const std::string log = log_of("job");
  for (const char* wanted : {"from-config from-config-b", "in-a-file", "hidden",
                             "# Kubernetes-managed hosts file (host network).", "F x\n"}) {
    EXPECT_NE(log.find(wanted), std::string::npos) << wanted << "\n" << log;
  }
}

TEST_F(KubeletOci, RestartsAContainerThatFails) {
  put_pod("web", shell("test -e /tmp/never; echo attempt; sleep 0.1; exit 1"));
  EXPECT_TRUE(eventually("web", [](const json& pod) {
    if (!pod.contains("status") || !pod["status"].contains("containerStatuses")) return false;
    const json& app = pod["status"]["containerStatuses"][0];
    return app["restartCount"] == 1 && app["state"].contains("waiting") &&
           app["state"]["waiting"]["reason"] == "CrashLoopBackOff";
  }));
}

TEST_F(KubeletOci, ARestartedKubeletAdoptsWhatRuns) {
  put_pod("web", shell("sleep 1000"));
  ASSERT_TRUE(reaches("web", "Running"));
  const json before = pod("web")["status"]["containerStatuses"][0];
  stop();
  start();
  put_pod("other", shell("true", "Never"));
  ASSERT_TRUE(reaches("other", "Succeeded"));
  const json after = pod("web")["status"]["containerStatuses"][0];
  EXPECT_EQ(after["containerID"], before["containerID"]);
  EXPECT_EQ(after["restartCount"], 0);
  EXPECT_EQ(after["state"], before["state"]);
}

TEST_F(KubeletOci, DeletingAPodEndsItsProcessesAndRemovesEverything) {
  put_pod("web", shell("trap 'exit 0' TERM; while true; do sleep 0.05; done"));
  ASSERT_TRUE(reaches("web", "Running"));
  const auto uid = pod("web")["metadata"]["uid"].get<std::string>();
  remove("web");
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/kubelet/pods/" + uid));
}

TEST_F(KubeletOci, AnExecProbeDecidesReadiness) {
  json spec = shell("sleep 0.3; touch /tmp/ready; sleep 1000");
  spec["containers"][0]["readinessProbe"] =
      json::parse(R"({"exec":{"command":["cat","/tmp/ready"]},"periodSeconds":1})");
  put_pod("web", spec);
  EXPECT_TRUE(eventually("web", [](const json& pod) {
    return pod.contains("status") && pod["status"].contains("containerStatuses") &&
           pod["status"]["containerStatuses"][0]["ready"] == true;
  }));
}

}  // namespace
}  // namespace kubernel::kubelet
