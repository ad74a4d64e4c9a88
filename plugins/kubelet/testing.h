// SPDX-License-Identifier: Apache-2.0
//
// Bench: a kubelet's pod workers on a fake cluster, a fake runtime, a fake network and a fake clock, in one thread.

#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <nlohmann/json.hpp>

#include <kubernel/testing/fake_clock.h>
#include <kubernel/testing/fake_cluster.h>
#include <kubernel/testing/fake_runtime.h>

#include "pods/pod_workers.h"

namespace kubernel::kubelet::testing {

using kubernel::testing::FakeClock;
using kubernel::testing::FakeCluster;
using kubernel::testing::FakeRuntime;
using kubernel::testing::ManualExecutor;
using kubernel::testing::RecordingLogger;

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kubelet.XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Keeps events as "type reason: message".
class RecordingEvents final : public client::EventRecorder {
 public:
  void record(const api::Object& about, std::string_view type, std::string_view reason,
              std::string_view message) override {
    (void)about;
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::string(type) + " " + std::string(reason) + ": " + std::string(message));
  }
  bool has(std::string_view part) const { return count(part) > 0; }
  int count(std::string_view part) const {
    const std::lock_guard lock(mutex_);
    int n = 0;
    for (const auto& line : lines_) n += line.find(part) != std::string::npos ? 1 : 0;
    return n;
  }
  std::string all() const {
    const std::lock_guard lock(mutex_);
    std::string out;
    for (const auto& line : lines_) out += line + "\n";
    return out;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

// Gives each attachment the next address of 10.1.0.0/16; no packet moves.
class FakeNetwork final : public network::PodNetwork {
 public:
  Result<void> configure(const CallContext&, const network::NodeNetwork& node) override {
    configured.push_back(node);
    return {};
  }
  Result<network::PodAddresses> attach(const CallContext&, const network::PodAttachment& pod) override {
    if (failure) return *failure;
    auto& address = attached[pod.sandbox_id];
    if (address.empty()) address = "10.1.0." + std::to_string(++last_);
    ports = pod.ports;
    return network::PodAddresses{"/run/netns/" + pod.sandbox_id, {address}};
  }
  Result<void> detach(const CallContext&, const network::PodAttachment& pod) override {
    attached.erase(pod.sandbox_id);
    return {};
  }
  std::string problem() const override { return {}; }

  std::map<std::string, std::string> attached;
  std::vector<network::PortMapping> ports;
  std::vector<network::NodeNetwork> configured;
  std::optional<Error> failure;

 private:
  int last_ = 0;
};

// Answers probes as the test says; Success without.
class FakeHandlers final : public ProbeHandlers {
 public:
  ProbeOutcome run(const ProbeTarget& target, api::Value handler, std::chrono::seconds) override {
    ++runs;
    if (answer) return answer(target, handler);
    return {ProbeOutcome::Verdict::Success, {}};
  }
  std::function<ProbeOutcome(const ProbeTarget&, api::Value)> answer;
  int runs = 0;
};

// Nothing is mounted: files are on disk.
inline MountOperations no_mounts() {
  MountOperations out;
  out.mount_tmpfs = [](const std::string&, std::int64_t) -> Result<void> { return {}; };
  out.unmount = [](const std::string&) -> Result<void> { return {}; };
  out.is_mount_point = [](const std::string&) { return false; };
  return out;
}

class Bench {
 public:
  Bench() {
    config.node_name = "n1";
    config.root_directory = directory.path() + "/kubelet";
    config.log_directory = directory.path() + "/logs";
    config.resolv_conf = directory.path() + "/resolv.conf";
    config.cluster_dns = {"10.96.0.10"};
    node.host_ips = {"192.168.0.7"};
    node.memory_bytes = 8LL << 30;
    node.allocatable_cpu = api::Quantity::of(4);
    node.allocatable_memory = api::Quantity::of(4LL << 30);
    runtime.add_image("busybox:1");
    make_kubelet();
    nlohmann::json ns = nlohmann::json::parse(R"({"metadata":{"name":"default"}})");
    cluster.put(api::resources::kNamespaces, ns);
  }

  // As a kubelet process that starts: everything but the cluster, the runtime and the network begins anew.
  void restart_kubelet() {
    restart_before_events();
    settle();
    workers->end_orphans(cluster.all(api::resources::kPods));
    settle();
  }
  // The same, up to where no event of the first list has reached the workers.
  void restart_before_events() {
    workers.reset();
    kit.reset();
    prober.reset();
    volumes.reset();
    objects.reset();
    cache.reset();
    puller.reset();
    tasks.reset();
    make_kubelet();
  }

  // Puts a pod into the cluster; `spec` is the pod's spec as JSON text.
  std::string put_pod(const std::string& name, const std::string& spec, const std::string& ns = "default") {
    nlohmann::json pod = nlohmann::json::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{}})");
    pod["metadata"]["name"] = name;
    pod["metadata"]["namespace"] = ns;
    pod["spec"] = nlohmann::json::parse(spec);
    pod["spec"]["nodeName"] = "n1";
    return cluster.put(api::resources::kPods, pod).uid();
  }

  // Tells the workers what the cluster has and lets everything run that is due.
  void settle() {
    for (int i = 0; i < 50; ++i) {
      deliver();
      if (executor.run_all() == 0) return;
    }
  }
  void advance(std::chrono::seconds by) {
    for (; by.count() > 0; by -= std::chrono::seconds(1)) {
      clock.advance(std::chrono::seconds(1));
      settle();
    }
  }

  api::Object pod(const std::string& name, const std::string& ns = "default") {
    return cluster.find(api::resources::kPods, {ns, name}).value_or(api::Object());
  }
  nlohmann::json status(const std::string& name, const std::string& ns = "default") {
    const auto one = pod(name, ns);
    return one ? one.to_json().value("status", nlohmann::json::object()) : nlohmann::json();
  }
  std::string phase(const std::string& name, const std::string& ns = "default") {
    return status(name, ns).value("phase", "");
  }
  nlohmann::json condition(const std::string& name, const std::string& type) {
    const nlohmann::json all = status(name).value("conditions", nlohmann::json::array());
    for (const auto& one : all) {
      if (one["type"] == type) return one;
    }
    return nullptr;
  }
  nlohmann::json container(const std::string& name, std::size_t index = 0) {
    return status(name)["containerStatuses"][index];
  }
  void remove_pod(const std::string& name, std::optional<std::int64_t> grace = std::nullopt) {
    client::DeleteOptions options;
    options.grace_period_seconds = grace;
    if (auto removed = cluster.remove({}, api::resources::kPods, {"default", name}, options); !removed) std::abort();
    settle();
  }

  TemporaryDirectory directory;
  FakeClock clock;
  FakeCluster cluster{clock};
  FakeRuntime runtime{clock};
  FakeNetwork network;
  FakeHandlers handlers;
  ManualExecutor executor;
  RecordingLogger log;
  RecordingEvents events;
  Config config;
  NodeFacts node;
  std::unique_ptr<Tasks> tasks;
  std::unique_ptr<RuntimeCache> cache;
  std::unique_ptr<ImagePuller> puller;
  std::unique_ptr<ObjectSource> objects;
  std::unique_ptr<PodVolumes> volumes;
  std::unique_ptr<Prober> prober;
  std::unique_ptr<Kit> kit;
  std::unique_ptr<PodWorkers> workers;

 private:
  void make_kubelet() {
    const auto wake = [this](const std::string& uid) {
      if (workers) workers->wake(uid);
    };
    tasks = std::make_unique<Tasks>(executor, clock, log);
    cache = std::make_unique<RuntimeCache>(runtime, *tasks, log, wake);
    if (!cache->refresh({})) std::abort();
    cache->start();
    puller = std::make_unique<ImagePuller>(runtime, *tasks, 2);
    objects = std::make_unique<ObjectSource>(cluster, *tasks, log, wake);
    volumes = std::make_unique<PodVolumes>(config.root_directory, cluster, *objects, clock, log, no_mounts());
    prober = std::make_unique<Prober>(handlers, *tasks, events, wake);
    kit.reset(new Kit{config, node, *tasks, log, cluster, events, runtime, "fake", *cache, *puller, *prober, *volumes,
                      *objects, &network, [this] { return cluster.all(api::resources::kServices); }});
    workers = std::make_unique<PodWorkers>(*kit);
    seen_.clear();
  }

  // What the informer does.
  void deliver() {
    std::map<std::string, api::Object> now;
    for (const auto& pod : cluster.all(api::resources::kPods)) {
      now[pod.uid()] = pod;
      const auto at = seen_.find(pod.uid());
      if (at == seen_.end() || at->second.head().resource_version != pod.head().resource_version) workers->update(pod);
    }
    for (const auto& [uid, pod] : seen_) {
      if (!now.contains(uid)) workers->gone(pod);
    }
    seen_ = std::move(now);
  }

  std::map<std::string, api::Object> seen_;
};

}  // namespace kubernel::kubelet::testing
