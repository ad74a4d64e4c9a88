// SPDX-License-Identifier: Apache-2.0
//
// RuntimeFixture: the plugin's runtime over the real machine, inside in_sandbox.sh.
#pragma once

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <kubernel/base/child_process.h>
#include <kubernel/runtime/container_runtime.h>
#include <kubernel/testing/fake_clock.h>

#include "core/base/epoll_poller.h"
#include "core/base/system_clock.h"
#include "core/base/system_random.h"
#include "core/base/thread_pool.h"
#include "plugins/runtimes/oci/open.h"

namespace kubernel::runtime {

/// Keeps what was signalled from another thread until a test asks for it.
class Arrivals {
 public:
  void add(std::string what) {
    const std::lock_guard lock(mutex_);
    seen_.insert(std::move(what));
    changed_.notify_all();
  }
  bool wait_for(const std::string& what, std::chrono::seconds limit = std::chrono::seconds(20)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return seen_.contains(what); });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> seen_;
};

class RuntimeFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0 || std::getenv("KUBERNEL_TEST_DIRECTORY") == nullptr) {
      GTEST_SKIP() << "containers need root and namespaces: run it by tests/integration/runtime/in_sandbox.sh as root";
    }
    const char* shared = std::getenv("KUBERNEL_TEST_SHARED_NAME");  // Of a process that another test starts.
    directory_ = std::string(std::getenv("KUBERNEL_TEST_DIRECTORY")) + "/" +
                 (shared != nullptr ? shared : ::testing::UnitTest::GetInstance()->current_test_info()->name());
    cgroup_ = std::getenv("KUBERNEL_TEST_CGROUP");
    std::filesystem::create_directories(directory_ + "/logs");
    open();
    auto images = opened_.images->load({}, std::string(std::getenv("KUBERNEL_TEST_DIRECTORY")) + "/busybox.tar");
    ASSERT_TRUE(images) << images.error().message();
    image_ = images->front().id;
  }

  void TearDown() override {
    if (!opened_.containers) return;
    auto sandboxes = opened_.containers->list_sandboxes({});
    ASSERT_TRUE(sandboxes);
    for (const SandboxStatus& sandbox : *sandboxes) {
      const auto removed = opened_.containers->remove_sandbox(context(), sandbox.id);
      EXPECT_TRUE(removed) << removed.error().message();
    }
    // What ended sessions left is removed by tasks: they have run when the pool has stopped.
    pool_->stop();
    expect_nothing_left();
    close();
  }

  void open() {
    poller_ = std::make_unique<core::EpollPoller>();
    clock_ = std::make_unique<core::SystemClock>();
    pool_ = std::make_unique<core::ThreadPool>(core::ThreadPoolOptions{"test"}, log_, metrics_);
    const std::string config = R"({"root":")" + directory_ + R"(/root","stateDir":")" + directory_ +
                               R"(/state","durable":false,"pause":")" + std::getenv("KUBERNEL_TEST_PAUSE") + "\"" +
                               more_config_ + "}";
    auto opened = oci::open_runtime({config, log_, metrics_, *clock_, random_, *pool_, *poller_});
    ASSERT_TRUE(opened) << opened.error().message();
    opened_ = *std::move(opened);
    exits_ = opened_.containers->access().on_exit([this](const std::string& id) { ended_.add(id); });
  }
  void close() {
    exits_.reset();
    opened_.containers.reset();
    opened_.images.reset();
    poller_.reset();
    pool_.reset();
    clock_.reset();
  }
  /// As if the process had been killed and started again.
  void reopen() {
    close();
    open();
  }

  static CallContext context(std::chrono::seconds limit = std::chrono::seconds(20)) {
    CallContext ctx;
    ctx.deadline = CallContext::Clock::now() + limit;
    return ctx;
  }

  SandboxConfig sandbox_config() {
    SandboxConfig config;
    config.pod_name = "web-0";
    config.pod_namespace = "default";
    config.pod_uid = "u-1";
    config.hostname = "web-0";
    config.log_directory = directory_ + "/logs";
    config.cgroup_parent = cgroup_ + "/pod-" + std::to_string(++pods_);
    config.network = NamespaceMode::Node;
    return config;
  }
  std::string run_sandbox(const SandboxConfig& config) {
    auto id = opened_.containers->run_sandbox(context(), config);
    EXPECT_TRUE(id) << id.error().message();
    return id ? *id : "";
  }
  ContainerConfig shell(const std::string& script, const std::string& name = "main") {
    ContainerConfig config;
    config.name = name;
    config.image_id = image_;
    config.command = {"sh", "-c", script};
    config.log_path = name + "/0.log";
    return config;
  }
  std::string start(const std::string& sandbox, const ContainerConfig& config) {
    auto id = opened_.containers->create_container(context(), sandbox, config);
    EXPECT_TRUE(id) << id.error().message();
    if (!id) return "";
    const auto started = opened_.containers->start_container(context(), *id);
    EXPECT_TRUE(started) << started.error().message();
    return *id;
  }
  ContainerStatus status(const std::string& id) {
    auto status = opened_.containers->access().status(context(), id);
    EXPECT_TRUE(status) << status.error().message();
    return status ? *status : ContainerStatus{};
  }
  ContainerStatus run_to_end(const std::string& sandbox, const ContainerConfig& config) {
    const std::string id = start(sandbox, config);
    EXPECT_TRUE(ended_.wait_for(id)) << "no exit was reported";
    return status(id);
  }
  std::string exec(const std::string& id, const std::string& script) {
    auto result = opened_.containers->access().exec_sync(context(), id, {"sh", "-c", script});
    EXPECT_TRUE(result) << result.error().message();
    return result ? result->output : "";
  }

  /// The log without its timestamps: "stdout F hello".
  std::vector<std::string> log_lines(const std::string& name = "main") {
    std::vector<std::string> out;
    std::ifstream file(directory_ + "/logs/" + name + "/0.log");
    for (std::string line; std::getline(file, line);) out.push_back(line.substr(line.find(' ') + 1));
    return out;
  }

  void expect_nothing_left() {
    for (const char* name : {"/root/sandboxes", "/root/containers", "/state/exits", "/state/exec", "/state/runtime"}) {
      EXPECT_TRUE(std::filesystem::is_empty(directory_ + name)) << name;
    }
    std::ifstream mounts("/proc/self/mountinfo");
    for (std::string line; std::getline(mounts, line);) EXPECT_EQ(line.find(directory_), std::string::npos) << line;
    for (const auto& tree : std::filesystem::directory_iterator("/sys/fs/cgroup")) {
      const std::string group = tree.path().string() + cgroup_;
      if (!std::filesystem::exists(group)) continue;
      for (const auto& child : std::filesystem::directory_iterator(group))
        EXPECT_FALSE(child.is_directory()) << child.path();
    }
  }

  std::string directory_, cgroup_, image_;
  std::string more_config_;  ///< R"(,"key":value)"; for the next open().
  int pods_ = 0;
  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  core::SystemRandom random_;
  std::unique_ptr<core::SystemClock> clock_;
  std::unique_ptr<core::ThreadPool> pool_;
  std::unique_ptr<core::EpollPoller> poller_;
  OpenedRuntime opened_;
  Arrivals ended_;
  std::unique_ptr<Subscription> exits_;
};

}  // namespace kubernel::runtime
