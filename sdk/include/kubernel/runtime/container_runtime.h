// SPDX-License-Identifier: Apache-2.0
//
// ContainerRuntime and ImageStore: what a node agent asks of whatever runs containers.
//
// The shape is that of the Container Runtime Interface v1 (CRI: sandboxes, containers, images), so a runtime daemon can
// stand behind it, with two differences: exits are pushed, and streams are file descriptors.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>
#include <kubernel/base/random.h>
#include <kubernel/base/result.h>

namespace kubernel::runtime {

enum class NamespaceMode : std::uint8_t { Pod, Container, Node };

/// Zero or absent: no limit. memory in bytes.
struct Resources {
  std::int64_t cpu_shares = 0, cpu_quota_us = 0, cpu_period_us = 0;
  std::int64_t memory_limit = 0;
  std::int64_t pids_limit = 0;
  std::int64_t oom_score_adj = 0;
  std::string cpuset_cpus, cpuset_mems;
};

/// What a pod's containers share. Annotations and labels are kept and given back by list().
struct SandboxConfig {
  std::string pod_name, pod_namespace, pod_uid;
  std::uint32_t attempt = 0;
  std::string hostname;
  std::string log_directory;  ///< Container log paths are relative to it; it exists.
  std::string cgroup_parent;  ///< "/kubepods/burstable/pod<uid>"; the runtime makes it, with `resources` applied.
  std::string network_namespace_path;  ///< Made by the caller for NamespaceMode::Pod; empty for Node.
  NamespaceMode network = NamespaceMode::Pod, pid = NamespaceMode::Container, ipc = NamespaceMode::Pod;
  std::map<std::string, std::string> sysctls, labels, annotations;
  Resources resources;  ///< Of cgroup_parent: the pod as a whole.
};

struct Mount {
  std::string container_path, host_path;
  bool readonly = false;
  enum class Propagation : std::uint8_t { Private, HostToContainer, Bidirectional } propagation = Propagation::Private;
};

struct SecurityOptions {
  std::optional<std::int64_t> run_as_user, run_as_group;
  std::string run_as_username;
  std::vector<std::int64_t> supplemental_groups;
  std::vector<std::string> add_capabilities, drop_capabilities;  ///< Without "CAP_"; "ALL" is understood.
  bool privileged = false, readonly_rootfs = false, no_new_privileges = false;
  bool seccomp_unconfined = true;
  std::vector<std::string> masked_paths, readonly_paths;
};

struct ContainerConfig {
  std::string name;
  std::uint32_t attempt = 0;
  std::string image_id;                    ///< From ImageStore; never a tag.
  std::vector<std::string> command, args;  ///< Empty: the image's entrypoint / cmd, by the rules of the Kubernetes API.
  std::string working_dir;
  std::vector<std::pair<std::string, std::string>> env;  ///< On top of the image's.
  std::vector<Mount> mounts;
  std::string log_path;  ///< Relative to the sandbox's log_directory: "app/0.log".
  bool stdin_open = false, stdin_once = false, tty = false;
  std::string stop_signal;  ///< "SIGUSR1"; empty: the image's, else SIGTERM.
  Resources resources;
  SecurityOptions security;
  std::map<std::string, std::string> labels, annotations;
};

enum class State : std::uint8_t { Created, Running, Exited, Unknown };

struct ContainerStatus {
  std::string id, sandbox_id, name;
  std::uint32_t attempt = 0;
  State state = State::Unknown;
  std::optional<Clock::WallTime> created_at, started_at, finished_at;
  int exit_code = 0;
  int signal = 0;
  std::string reason;  ///< "Completed", "Error", "OOMKilled", "ContainerCannotRun", "StartError".
  std::string message;
  std::string image_id, image_ref;
  std::string log_path;  ///< Absolute.
  std::int64_t pid = 0;  ///< While running, in the caller's pid namespace.
  std::map<std::string, std::string> labels, annotations;
  /// While Created: start_container() has been accepted and the container will run by itself. on_exit() also tells when
  /// it does.
  bool starting = false;
};

struct SandboxStatus {
  std::string id;
  std::string pod_name, pod_namespace, pod_uid;
  std::uint32_t attempt = 0;
  bool ready = false;
  Clock::WallTime created_at;
  std::string network_namespace_path;
  std::map<std::string, std::string> labels, annotations;
};

struct Usage {
  std::int64_t cpu_nanoseconds = 0;  ///< Cumulative.
  std::int64_t memory_working_set_bytes = 0, memory_rss_bytes = 0;
};

/// A running exec or attach. Descriptors are non-blocking and owned by the session; -1 when not asked for. With a tty,
/// `output` carries both streams.
class Session {
 public:
  virtual ~Session() = default;  ///< Kills an exec that still runs; leaves an attached container alone.
  virtual int stdin_fd() const = 0;
  virtual int stdout_fd() const = 0;
  virtual int stderr_fd() const = 0;
  /// Ends the process's standard input.
  virtual void close_stdin() = 0;
  virtual Result<void> resize(int columns, int rows) = 0;
  /// Calls `exited` once with the exit code (128 + signal when killed), after all output has been written to the
  /// descriptors.
  virtual void on_exit(std::function<void(int exit_code)> exited) = 0;
};

struct ExecOptions {
  std::vector<std::string> command;
  bool stdin_open = false, tty = false;
};

struct ExecResult {
  int exit_code = 0;
  std::string output;  ///< stdout and stderr, at most 16 KiB.
};

/// Containers outlive the process that started them; a runtime opened again finds them (list_*), with exact exit codes
/// of those that ended meanwhile.
///
/// Threads: all members may be called concurrently; calls for one sandbox are serialized by the caller. Calls block.
/// Errors: NotFound (no such sandbox or container), Timeout, Invalid (a config that cannot run: bad user, missing
/// image), Internal (with the runtime's last line).
class ContainerRuntime {
 public:
  virtual ~ContainerRuntime() = default;

  /// Makes and starts a sandbox; returns its id.
  virtual Result<std::string> run_sandbox(const CallContext& ctx, const SandboxConfig& config) = 0;
  /// Kills what runs in it; idempotent, also for an unknown id. The network is the caller's.
  virtual Result<void> stop_sandbox(const CallContext& ctx, std::string_view id) = 0;
  /// Removes it and its containers; idempotent.
  virtual Result<void> remove_sandbox(const CallContext& ctx, std::string_view id) = 0;
  virtual Result<std::vector<SandboxStatus>> list_sandboxes(const CallContext& ctx) = 0;

  virtual Result<std::string> create_container(const CallContext& ctx, std::string_view sandbox_id,
                                               const ContainerConfig& config) = 0;
  virtual Result<void> start_container(const CallContext& ctx, std::string_view id) = 0;
  /// TERM (or the image's stop signal), then KILL after `grace`; returns when it has exited. Idempotent.
  virtual Result<void> stop_container(const CallContext& ctx, std::string_view id, std::chrono::seconds grace) = 0;
  /// Removes an exited container; its log stays. Idempotent.
  virtual Result<void> remove_container(const CallContext& ctx, std::string_view id) = 0;
  virtual Result<std::vector<ContainerStatus>> list_containers(const CallContext& ctx) = 0;

  /// The second interface: streams and figures. Lifetime: the runtime's.
  virtual class ContainerAccess& access() = 0;
};

/// Threads and errors: as ContainerRuntime.
class ContainerAccess {
 public:
  virtual ~ContainerAccess() = default;
  /// Calls `changed` with the id of a container, or of a sandbox, when it exits (also by itself), on any thread; must
  /// not block.
  [[nodiscard]] virtual std::unique_ptr<Subscription> on_exit(std::function<void(std::string id)> changed) = 0;
  virtual Result<ContainerStatus> status(const CallContext& ctx, std::string_view id) = 0;
  virtual Result<std::unique_ptr<Session>> exec(const CallContext& ctx, std::string_view id,
                                                const ExecOptions& options) = 0;
  /// Runs to completion or ctx.deadline (Timeout; the process is killed). For probes and hooks.
  virtual Result<ExecResult> exec_sync(const CallContext& ctx, std::string_view id,
                                       const std::vector<std::string>& command) = 0;
  virtual Result<std::unique_ptr<Session>> attach(const CallContext& ctx, std::string_view id) = 0;
  virtual Result<void> update_resources(const CallContext& ctx, std::string_view id, const Resources& resources) = 0;
  /// After log rotation: writes go to a new file at the same path.
  virtual Result<void> reopen_log(const CallContext& ctx, std::string_view id) = 0;
  virtual Result<Usage> usage(const CallContext& ctx, std::string_view id) = 0;
  /// Sends the container's stop signal to its first process and returns at once; on_exit() tells when it has ended. So
  /// a grace period occupies no thread; stop_container() with no grace ends it early. Fine when it has exited already.
  virtual Result<void> request_stop(const CallContext& ctx, std::string_view id) = 0;
};

struct Image {
  std::string id;                    ///< "sha256:<config digest>".
  std::vector<std::string> tags;     ///< "localhost/busybox:latest".
  std::vector<std::string> digests;  ///< "localhost/busybox@sha256:…".
  std::int64_t size_bytes = 0;
  std::optional<std::int64_t> user;  ///< Numeric USER of the image.
  std::string username;
};

struct Credentials {
  std::string username, password;
};

/// Threads: all members may be called concurrently. Concurrent pulls of one image share the work.
class ImageStore {
 public:
  virtual ~ImageStore() = default;
  /// By tag, digest or id; short names get "docker.io/library/" and ":latest" as upstream. Absent: not here.
  virtual Result<std::optional<Image>> find(const CallContext& ctx, std::string_view reference) = 0;
  virtual Result<std::vector<Image>> list(const CallContext& ctx) = 0;
  /// From the registry the reference names. Errors: NotFound, Unauthorized, ServiceUnavailable, Invalid (digest or
  /// format), each naming the reference.
  virtual Result<Image> pull(const CallContext& ctx, std::string_view reference,
                             const std::optional<Credentials>& credentials) = 0;
  /// An OCI layout or docker-archive: a .tar file (plain or compressed) or a directory. Gives the images it held.
  virtual Result<std::vector<Image>> load(const CallContext& ctx, const std::string& path) = 0;
  virtual Result<void> remove(const CallContext& ctx, std::string_view reference) = 0;
};

/// Offered as services by the component that opens a runtime (the node agent).
struct RuntimeContext {
  std::string config_json;
  Logger& log;
  Metrics& metrics;
  Clock& clock;
  Random& random;
  Executor& blocking;
  Poller& poller;
};

struct OpenedRuntime {
  std::unique_ptr<ImageStore> images;  // Destroyed after containers.
  std::unique_ptr<ContainerRuntime> containers;
  std::string name, version;  ///< Node status: containerRuntimeVersion "name://version".
};

/// Extension point "runtime".
struct RuntimeSpec {
  static constexpr std::string_view kPoint = "runtime";
  Result<OpenedRuntime> (*open)(const RuntimeContext& context) = nullptr;
};

}  // namespace kubernel::runtime
