// SPDX-License-Identifier: Apache-2.0
//
// FakeRuntime: a container runtime and image store in memory, for tests of whoever uses one.
//
// Nothing runs: a started container is Running until a test ends it or it is asked to stop. Every call is recorded.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/runtime/container_runtime.h>

namespace kubernel::testing {

/// An exec or attach whose far ends the test holds: what it writes to `stdout_peer` the session's reader gets.
class FakeSession final : public runtime::Session {
 public:
  FakeSession(bool with_stdin, bool tty);
  ~FakeSession() override;
  int stdin_fd() const override { return stdin_[1]; }
  int stdout_fd() const override { return stdout_[0]; }
  int stderr_fd() const override { return stderr_[0]; }
  void close_stdin() override;
  Result<void> resize(int columns, int rows) override;
  void on_exit(std::function<void(int exit_code)> exited) override;

  /// The process's side: its standard input, and its outputs.
  struct Process {
    std::mutex mutex;
    int in = -1, out = -1, err = -1;
    std::function<void(int)> exited;
    std::optional<int> exit_code;
    std::vector<std::pair<int, int>> sizes;
    void write_out(std::string_view text);
    void write_err(std::string_view text);
    /// Everything up to the end of input or until nothing is there.
    std::string read_in();
    /// Closes the outputs and tells the session's reader.
    void exit(int code);
    ~Process();
  };
  std::shared_ptr<Process> process() const { return process_; }

 private:
  int stdin_[2] = {-1, -1}, stdout_[2] = {-1, -1}, stderr_[2] = {-1, -1};
  std::shared_ptr<Process> process_;
};

/// Threads: all members may be called concurrently.
class FakeRuntime final : public runtime::ContainerRuntime,
                          public runtime::ContainerAccess,
                          public runtime::ImageStore {
 public:
  explicit FakeRuntime(Clock& clock);
  ~FakeRuntime() override;

  // What a test does to it.

  /// Makes `reference` ("busybox:1") found without a pull; returns its id.
  std::string add_image(std::string_view reference, std::optional<std::int64_t> user = std::nullopt,
                        std::string_view username = {});
  /// Makes `reference` pullable.
  void add_remote_image(std::string_view reference);
  /// Ends the running container of that name (the newest) and tells the listeners.
  void exit_container(std::string_view name, int exit_code, std::string_view reason = {});
  /// The sandbox's own process dies, and all containers in it with code 137.
  void kill_sandbox(std::string_view id);
  /// Containers of that name do not react to the stop signal.
  void ignore_stop(std::string_view name);
  /// The next call of `operation` ("run_sandbox", "create_container", "start_container", "pull", …) fails with `error`.
  void fail_next(std::string_view operation, Error error);
  void set_exec(std::function<Result<runtime::ExecResult>(const std::string& container_name,
                                                          const std::vector<std::string>& command)>
                    exec);
  /// Called with each new exec or attach session's process side.
  void set_session(
      std::function<void(std::shared_ptr<FakeSession::Process>, const std::vector<std::string>& command)> made);
  /// "run_sandbox default/web", "start_container app", …, in order.
  std::vector<std::string> calls() const;
  /// How often `call` is in calls().
  std::size_t count(std::string_view call) const;
  std::vector<runtime::SandboxConfig> sandbox_configs() const;
  /// The configuration the newest container of that name was made with.
  std::optional<runtime::ContainerConfig> config_of(std::string_view name) const;
  std::vector<std::optional<runtime::Credentials>> pull_credentials() const;

  // runtime::ContainerRuntime
  Result<std::string> run_sandbox(const CallContext& ctx, const runtime::SandboxConfig& config) override;
  Result<void> stop_sandbox(const CallContext& ctx, std::string_view id) override;
  Result<void> remove_sandbox(const CallContext& ctx, std::string_view id) override;
  Result<std::vector<runtime::SandboxStatus>> list_sandboxes(const CallContext& ctx) override;
  Result<std::string> create_container(const CallContext& ctx, std::string_view sandbox_id,
                                       const runtime::ContainerConfig& config) override;
  Result<void> start_container(const CallContext& ctx, std::string_view id) override;
  Result<void> stop_container(const CallContext& ctx, std::string_view id, std::chrono::seconds grace) override;
  Result<void> remove_container(const CallContext& ctx, std::string_view id) override;
  Result<std::vector<runtime::ContainerStatus>> list_containers(const CallContext& ctx) override;
  runtime::ContainerAccess& access() override { return *this; }

  // runtime::ContainerAccess
  std::unique_ptr<Subscription> on_exit(std::function<void(std::string id)> changed) override;
  Result<runtime::ContainerStatus> status(const CallContext& ctx, std::string_view id) override;
  Result<std::unique_ptr<runtime::Session>> exec(const CallContext& ctx, std::string_view id,
                                                 const runtime::ExecOptions& options) override;
  Result<runtime::ExecResult> exec_sync(const CallContext& ctx, std::string_view id,
                                        const std::vector<std::string>& command) override;
  Result<std::unique_ptr<runtime::Session>> attach(const CallContext& ctx, std::string_view id) override;
  Result<void> update_resources(const CallContext& ctx, std::string_view id,
                                const runtime::Resources& resources) override;
  Result<void> reopen_log(const CallContext& ctx, std::string_view id) override;
  Result<runtime::Usage> usage(const CallContext& ctx, std::string_view id) override;
  Result<void> request_stop(const CallContext& ctx, std::string_view id) override;

  // runtime::ImageStore
  Result<std::optional<runtime::Image>> find(const CallContext& ctx, std::string_view reference) override;
  Result<std::vector<runtime::Image>> list(const CallContext& ctx) override;
  Result<runtime::Image> pull(const CallContext& ctx, std::string_view reference,
                              const std::optional<runtime::Credentials>& credentials) override;
  Result<std::vector<runtime::Image>> load(const CallContext& ctx, const std::string& path) override;
  Result<void> remove(const CallContext& ctx, std::string_view reference) override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace kubernel::testing
