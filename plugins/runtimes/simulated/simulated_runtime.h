// SPDX-License-Identifier: Apache-2.0
//
// SimulatedRuntime: sandboxes and containers without processes. What a container does next follows from its Behaviour
// and the clock alone, so a process that starts later finds it where it would have been.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/runtime/container_runtime.h>

#include "records.h"
#include "simulated_images.h"
#include "state_file.h"

namespace kubernel::runtime::simulated {

class SimulatedRuntime final : public ContainerRuntime, public ContainerAccess {
 public:
  struct Surroundings {
    Logger& log;
    Clock& clock;
    Random& random;
    Executor& blocking;
  };
  /// Takes over what is in `files`. `images` outlives the result.
  /// Errors: Internal. A damaged file is one warning.
  static Result<std::unique_ptr<SimulatedRuntime>> open(const Behaviour& defaults, StateFiles files,
                                                        const Surroundings& surroundings,
                                                        const SimulatedImages& images);
  ~SimulatedRuntime() override;

  Result<std::string> run_sandbox(const CallContext& ctx, const SandboxConfig& config) override;
  Result<void> stop_sandbox(const CallContext& ctx, std::string_view id) override;
  Result<void> remove_sandbox(const CallContext& ctx, std::string_view id) override;
  Result<std::vector<SandboxStatus>> list_sandboxes(const CallContext& ctx) override;
  Result<std::string> create_container(const CallContext& ctx, std::string_view sandbox_id,
                                       const ContainerConfig& config) override;
  Result<void> start_container(const CallContext& ctx, std::string_view id) override;
  /// Does not wait: the container exits at once, as killed when it would take longer than `grace` to stop.
  Result<void> stop_container(const CallContext& ctx, std::string_view id, std::chrono::seconds grace) override;
  Result<void> remove_container(const CallContext& ctx, std::string_view id) override;
  Result<std::vector<ContainerStatus>> list_containers(const CallContext& ctx) override;
  ContainerAccess& access() override { return *this; }

  std::unique_ptr<Subscription> on_exit(std::function<void(std::string id)> changed) override;
  Result<ContainerStatus> status(const CallContext& ctx, std::string_view id) override;
  /// Errors: BadRequest, as of exec_sync() and attach(): there is no process.
  Result<std::unique_ptr<Session>> exec(const CallContext& ctx, std::string_view id,
                                        const ExecOptions& options) override;
  Result<ExecResult> exec_sync(const CallContext& ctx, std::string_view id,
                               const std::vector<std::string>& command) override;
  Result<std::unique_ptr<Session>> attach(const CallContext& ctx, std::string_view id) override;
  Result<void> update_resources(const CallContext& ctx, std::string_view id, const Resources& resources) override;
  Result<void> reopen_log(const CallContext& ctx, std::string_view id) override;
  /// Nothing is used.
  Result<Usage> usage(const CallContext& ctx, std::string_view id) override;
  Result<void> request_stop(const CallContext& ctx, std::string_view id) override;

 private:
  struct Shared;
  explicit SimulatedRuntime(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

  std::shared_ptr<Shared> shared_;
};

Result<OpenedRuntime> open_runtime(const RuntimeContext& context);

}  // namespace kubernel::runtime::simulated
