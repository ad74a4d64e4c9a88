// SPDX-License-Identifier: Apache-2.0
//
// RuntimeCache: what the runtime last said about each pod, kept current by its exit events instead of by listing.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/context.h>
#include <kubernel/base/result.h>
#include <kubernel/runtime/container_runtime.h>

#include "tasks.h"

namespace kubernel::kubelet {

// The labels by which containers and sandboxes are known again after a restart (upstream's).
inline constexpr std::string_view kPodNameLabel = "io.kubernetes.pod.name";
inline constexpr std::string_view kPodNamespaceLabel = "io.kubernetes.pod.namespace";
inline constexpr std::string_view kPodUidLabel = "io.kubernetes.pod.uid";
inline constexpr std::string_view kContainerNameLabel = "io.kubernetes.container.name";
inline constexpr std::string_view kHashAnnotation = "io.kubernetes.container.hash";
inline constexpr std::string_view kRestartCountAnnotation = "io.kubernetes.container.restartCount";
inline constexpr std::string_view kMessagePathAnnotation = "io.kubernetes.container.terminationMessagePath";
inline constexpr std::string_view kGraceAnnotation = "io.kubernetes.pod.terminationGracePeriod";
// What a sandbox's network was attached as, and its addresses, comma-separated.
inline constexpr std::string_view kNetworkIdAnnotation = "kubernel.io/network-id";
inline constexpr std::string_view kPodIpsAnnotation = "kubernel.io/pod-ips";

std::string label_of(const std::map<std::string, std::string>& labels, std::string_view name);

// One pod's part of the runtime. A value: taken once per sync, so that a sync sees one state.
struct PodRuntime {
  std::vector<runtime::SandboxStatus> sandboxes;     // Newest first.
  std::vector<runtime::ContainerStatus> containers;  // By name, newest first.

  const runtime::SandboxStatus* ready_sandbox() const;
  // The newest container of that name; in `sandbox_id` only, when that is not empty.
  const runtime::ContainerStatus* newest(std::string_view name, std::string_view sandbox_id = {}) const;
  // The one before `status`.
  const runtime::ContainerStatus* previous(const runtime::ContainerStatus& status) const;
  const runtime::ContainerStatus* by_id(std::string_view id) const;
  bool any_running() const;
  bool empty() const { return sandboxes.empty() && containers.empty(); }
};

// Threads: all members may be called concurrently.
class RuntimeCache {
 public:
  // `changed` gets a pod's uid when one of its containers or sandboxes changed by itself; on a pool thread.
  RuntimeCache(runtime::ContainerRuntime& runtime, Tasks& tasks, Logger& log,
               std::function<void(std::string uid)> changed);

  // Lists everything; the first time before anything else is used.
  Result<void> refresh(const CallContext& ctx);
  // Begins to listen for exits.
  void start();
  void stop();

  PodRuntime pod(std::string_view uid) const;
  // The uids of all pods the runtime has something of.
  std::vector<std::string> uids() const;

  // After an operation of our own.
  Result<void> update_container(const CallContext& ctx, std::string_view id);
  void put_sandbox(runtime::SandboxStatus sandbox);
  void sandbox_stopped(std::string_view id);
  void sandbox_removed(std::string_view id);
  void container_removed(std::string_view id);

 private:
  void note_exit(const std::string& id);
  void merge(runtime::ContainerStatus status);
  std::string uid_of_locked(std::string_view sandbox_id) const;

  runtime::ContainerRuntime& runtime_;
  Tasks& tasks_;
  Logger& log_;
  std::function<void(std::string uid)> changed_;
  mutable std::mutex mutex_;
  std::map<std::string, runtime::SandboxStatus, std::less<>> sandboxes_;
  std::map<std::string, runtime::ContainerStatus, std::less<>> containers_;
  std::unique_ptr<Subscription> exits_;
};

}  // namespace kubernel::kubelet
