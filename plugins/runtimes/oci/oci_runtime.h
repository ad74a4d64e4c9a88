// SPDX-License-Identifier: Apache-2.0
//
// OciRuntime: sandboxes and containers without a daemon. State is on disk (a directory per container, its OCI bundle),
// conmon stands beside each container, the OCI runtime (runc or crun) is run for each step. What is in memory is a copy
// that open() makes again.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/runtime/container_runtime.h>

#include "cgroups.h"
#include "image_store.h"
#include "monitor.h"
#include "records.h"
#include "session.h"
#include "spec.h"

namespace kubernel::runtime::oci {

struct OciRuntimeOptions {
  std::string root, state_dir;
  std::string pause;            ///< Absolute path of the pause program.
  std::string conmon, runtime;  ///< Absolute paths.
  std::string seccomp_profile;  ///< Path; empty: none.
};

struct Surroundings {
  Logger& log;
  Clock& clock;
  Random& random;
  Executor& blocking;
  Poller& poller;
};

class OciRuntime final : public ContainerRuntime, public ContainerAccess {
 public:
  /// Takes over what is on disk. `store` outlives the result.
  /// Errors: Internal; Invalid.
  static Result<std::unique_ptr<OciRuntime>> open(const CallContext& ctx, OciRuntimeOptions options, Cgroups cgroups,
                                                  const Surroundings& surroundings, Store& store);
  ~OciRuntime() override;

  Result<std::string> run_sandbox(const CallContext& ctx, const SandboxConfig& config) override;
  Result<void> stop_sandbox(const CallContext& ctx, std::string_view id) override;
  Result<void> remove_sandbox(const CallContext& ctx, std::string_view id) override;
  Result<std::vector<SandboxStatus>> list_sandboxes(const CallContext& ctx) override;
  Result<std::string> create_container(const CallContext& ctx, std::string_view sandbox_id,
                                       const ContainerConfig& config) override;
  Result<void> start_container(const CallContext& ctx, std::string_view id) override;
  Result<void> stop_container(const CallContext& ctx, std::string_view id, std::chrono::seconds grace) override;
  Result<void> remove_container(const CallContext& ctx, std::string_view id) override;
  Result<std::vector<ContainerStatus>> list_containers(const CallContext& ctx) override;
  ContainerAccess& access() override { return *this; }

  std::unique_ptr<Subscription> on_exit(std::function<void(std::string id)> changed) override;
  Result<ContainerStatus> status(const CallContext& ctx, std::string_view id) override;
  Result<std::unique_ptr<Session>> exec(const CallContext& ctx, std::string_view id,
                                        const ExecOptions& options) override;
  Result<ExecResult> exec_sync(const CallContext& ctx, std::string_view id,
                               const std::vector<std::string>& command) override;
  Result<std::unique_ptr<Session>> attach(const CallContext& ctx, std::string_view id) override;
  Result<void> update_resources(const CallContext& ctx, std::string_view id, const Resources& resources) override;
  Result<void> reopen_log(const CallContext& ctx, std::string_view id) override;
  Result<Usage> usage(const CallContext& ctx, std::string_view id) override;
  Result<void> request_stop(const CallContext& ctx, std::string_view id) override;

 private:
  struct Container;
  struct Sandbox;
  struct Listeners;
  class ExecSession;
  class AttachSession;
  class Gate;
  using ContainerPtr = std::shared_ptr<Container>;
  using SandboxPtr = std::shared_ptr<Sandbox>;

  OciRuntime(OciRuntimeOptions options, Cgroups cgroups, const Surroundings& surroundings, Store& store,
             Machine machine);

  // oci_runtime.cpp: opening, what is shared.
  Result<void> prepare_directories();
  Result<void> install_pause();
  std::string new_id();
  std::int64_t now_ns() const;
  std::string sandbox_dir(const std::string& id) const { return options_.root + "/sandboxes/" + id; }
  std::string container_dir(const std::string& id) const { return options_.root + "/containers/" + id; }
  Result<ContainerPtr> get_container(std::string_view id) const;
  ContainerPtr find_container(std::string_view id) const;
  SandboxPtr find_sandbox(std::string_view id) const;
  std::vector<ContainerPtr> containers_of(std::string_view sandbox_id) const;
  void run_later(std::function<void()> task);
  void notify(const std::string& id);
  static void unmount(const std::string& path);

  // adoption.cpp: what another process left.
  void adopt(const CallContext& ctx);
  void adopt_sandbox(const std::string& id);
  void adopt_container(const CallContext& ctx, const std::string& id);

  // sandboxes.cpp
  Result<void> start_pause(const CallContext& ctx, Sandbox& sandbox);
  Result<void> mount_shm(const SandboxRecord& record);
  void watch_pause(const SandboxPtr& sandbox);
  Result<void> discard_sandbox(const CallContext& ctx, const SandboxRecord& record);

  // containers.cpp
  Result<void> prepare_container(const CallContext& ctx, const SandboxRecord& sandbox, const ContainerConfig& config,
                                 ContainerRecord& record);
  Result<void> mount_rootfs(const ContainerRecord& record, const AcquiredImage& image);
  Result<void> launch(const CallContext& ctx, Container& container);
  Result<void> discard_container(const CallContext& ctx, const ContainerRecord& record);
  Result<void> save(const ContainerRecord& record) const;
  void watch(const ContainerPtr& container);
  void settle(const ContainerPtr& container);
  Result<void> wait_ended(const CallContext& ctx, const ContainerPtr& container, CallContext::Clock::time_point until,
                          bool* ended);
  static ContainerStatus status_of(const ContainerRecord& record);

  // access.cpp
  struct PreparedExec;
  Result<PreparedExec> start_exec(const CallContext& ctx, std::string_view id, const ExecOptions& options);
  void discard_exec(const PreparedExec& exec);

  OciRuntimeOptions options_;
  Cgroups cgroups_;
  Surroundings surroundings_;
  Store& store_;
  Machine machine_;
  Monitor monitor_;
  std::string pause_rootfs_;
  std::shared_ptr<Gate> gate_;
  std::shared_ptr<Listeners> listeners_;
  mutable std::mutex mutex_;  // Guards the two maps, not what is in them.
  std::map<std::string, ContainerPtr, std::less<>> containers_;
  std::map<std::string, SandboxPtr, std::less<>> sandboxes_;
};

}  // namespace kubernel::runtime::oci
