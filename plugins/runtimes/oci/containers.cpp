// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <charconv>
#include <csignal>
#include <filesystem>

#include "runtime_state.h"
#include "seccomp.h"

namespace kubernel::runtime::oci {
namespace {

constexpr auto kKillWait = std::chrono::seconds(10);
constexpr int kStartErrorCode = 128;   // As containerd reports a command that could not be started.
constexpr int kUnknownExitCode = 255;  // And a process whose exit nobody saw.

void send_signal(const UniqueFd& process, int signal) {
  syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0);
}

}  // namespace

Result<void> OciRuntime::save(const ContainerRecord& record) const {
  return write_file_atomic(container_dir(record.id) + "/state.json", to_json(record));
}

// Layers are named by descriptors: the paths of many would not fit in mount(2)'s one page of options.
Result<void> OciRuntime::mount_rootfs(const ContainerRecord& record, const AcquiredImage& image) {
  const std::string directory = container_dir(record.id);
  for (const char* name : {"/rootfs", "/upper", "/work", "/empty"})
    KUBERNEL_CHECK_OK(make_directories(directory + name, 0755));
  std::vector<std::string> lowers = image.layer_paths;
  if (lowers.empty()) lowers.push_back(directory + "/empty");
  std::vector<UniqueFd> held;
  std::string options;
  for (const std::string& lower : lowers) {
    held.emplace_back(::open(lower.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!held.back()) return file_error("open", lower, errno);
    options += (options.empty() ? "lowerdir=/proc/self/fd/" : ":/proc/self/fd/") + std::to_string(held.back().get());
  }
  options += ",upperdir=" + directory + "/upper,workdir=" + directory + "/work";
  // The root's mode is the topmost layer's; the upper directory would hide it.
  struct stat info {};
  if (stat(lowers.front().c_str(), &info) != 0 || chmod((directory + "/upper").c_str(), info.st_mode & 07777U) != 0) {
    return file_error("set the mode of", directory + "/upper", errno);
  }
  const std::string target = directory + "/rootfs";
  if (mount("overlay", target.c_str(), "overlay", 0, options.c_str()) != 0)
    return file_error("mount an overlay at", target, errno);
  return {};
}

Result<void> OciRuntime::prepare_container(const CallContext& ctx, const SandboxRecord& sandbox,
                                           const ContainerConfig& config, ContainerRecord& record) {
  const std::string directory = container_dir(record.id);
  KUBERNEL_TRY(const AcquiredImage image, store_.acquire(ctx, config.image_id, record.id));
  record.image_id = image.id;
  record.image_ref = image.reference;
  record.chain_ids = image.chain_ids;
  const std::string& signal_name = config.stop_signal.empty() ? image.config.stop_signal : config.stop_signal;
  const auto signal = parse_signal(signal_name.empty() ? "TERM" : signal_name);
  if (!signal) return Error(Reason::Invalid, "stop signal \"" + signal_name + "\" is unknown");
  record.stop_signal = *signal;
  KUBERNEL_CHECK_OK(make_directories(directory, 0711));
  KUBERNEL_CHECK_OK(mount_rootfs(record, image));
  KUBERNEL_TRY(const ProcessUser user, resolve_user(directory + "/rootfs", image.config.user, config.security));
  for (const Mount& mount : config.mounts) {
    if (!exists(mount.host_path))
      KUBERNEL_CHECK_OK(make_directories(mount.host_path));  // As containerd: a directory is made.
  }
  if (!record.log_path.empty())
    KUBERNEL_CHECK_OK(make_directories(std::filesystem::path(record.log_path).parent_path().string()));

  const std::string sandbox_directory = sandbox_dir(sandbox.id);
  SandboxPlace place;
  place.pause_pid = sandbox.pause.pid;
  place.network_namespace_path = sandbox.config.network_namespace_path;
  place.network = sandbox.config.network;
  place.pid = sandbox.config.pid;
  place.ipc = sandbox.config.ipc;
  place.hostname = sandbox.config.hostname;
  place.hostname_file = sandbox_directory + "/hostname";
  place.shm_path = sandbox.config.ipc == NamespaceMode::Node ? "/dev/shm" : sandbox_directory + "/shm";
  std::string seccomp;
  if (!config.security.seccomp_unconfined && !config.security.privileged) {
    KUBERNEL_TRY(seccomp, load_seccomp(options_.seccomp_profile, machine_, config.security));
  }
  KUBERNEL_TRY(const std::string spec, make_container_spec({config, image.config, place, user, machine_,
                                                            directory + "/rootfs", record.cgroup_path, seccomp}));
  KUBERNEL_CHECK_OK(write_file_atomic(directory + "/config.json", spec));
  return save(record);
}

Result<std::string> OciRuntime::create_container(const CallContext& ctx, std::string_view sandbox_id,
                                                 const ContainerConfig& config) {
  const SandboxPtr sandbox = find_sandbox(sandbox_id);
  if (!sandbox) return Error(Reason::NotFound, "sandbox \"" + std::string(sandbox_id) + "\" not found");
  const SandboxRecord place = sandbox->snapshot();
  if (!open_process(place.pause)) return Error(Reason::Internal, "sandbox \"" + place.id + "\" is not running");
  const auto container = std::make_shared<Container>();
  ContainerRecord& record = container->record;
  record.id = new_id();
  record.sandbox_id = place.id;
  record.name = config.name;
  record.attempt = config.attempt;
  record.labels = config.labels;
  record.annotations = config.annotations;
  record.tty = config.tty;
  record.stdin_open = config.stdin_open;
  record.stdin_once = config.stdin_once;
  record.own_pid_namespace = place.config.pid == NamespaceMode::Container;
  record.cgroup_path = place.config.cgroup_parent + "/" + record.id;
  if (!config.log_path.empty()) record.log_path = place.config.log_directory + "/" + config.log_path;
  record.created_ns = now_ns();
  const auto prepared = prepare_container(ctx, place, config, record);
  if (!prepared) {
    if (const auto discarded = discard_container({}, record); !discarded) {
      log_warning(surroundings_.log, "cannot remove a container that was not made",
                  {{"container", record.id}, {"error", discarded.error()}});
    }
    return prepared.error();
  }
  const std::lock_guard lock(mutex_);
  containers_[record.id] = container;
  return record.id;
}

// On success the container runs and its record says so.
Result<void> OciRuntime::launch(const CallContext& ctx, Container& container) {
  ContainerRecord record = container.snapshot();
  const std::string directory = container_dir(record.id);
  std::error_code ignored;
  std::filesystem::remove(monitor_.exit_file(record.id), ignored);
  // A start that was interrupted may have gone on without us, and its container still be there.
  if (exists(monitor_.options().runtime_root + "/" + record.id))
    KUBERNEL_CHECK_OK(monitor_.runtime(ctx, {"delete", "--force", record.id}));
  CreateOptions options{record.id, directory, record.log_path.empty() ? "/dev/null" : record.log_path};
  options.terminal = record.tty;
  options.stdin_open = record.stdin_open;
  options.leave_stdin_open = !record.stdin_once;
  KUBERNEL_TRY(const Created created, monitor_.create(ctx, options));
  record.monitor = created.monitor;
  const auto process = identify(created.container_pid);
  if (!process) return Error(Reason::Internal, "the container's first process died before it was started");
  record.process = *process;
  KUBERNEL_CHECK_OK(save(record));
  KUBERNEL_CHECK_OK(monitor_.runtime(ctx, {"start", record.id}));
  record.state = State::Running;
  record.started_ns = now_ns();
  {
    const std::lock_guard lock(container.mutex);
    container.record = record;
  }
  return save(record);
}

Result<void> OciRuntime::start_container(const CallContext& ctx, std::string_view id) {
  KUBERNEL_TRY(const ContainerPtr container, get_container(id));
  if (container->snapshot().state != State::Created)
    return Error(Reason::Invalid, "container \"" + std::string(id) + "\" was started already");
  if (const auto launched = launch(ctx, *container); !launched) {
    const std::string name(id);
    if (const auto deleted = monitor_.runtime({}, {"delete", "--force", name}); !deleted) {
      log_debug(surroundings_.log, "nothing was left of a container that failed to start",
                {{"container", name}, {"error", deleted.error()}});
    }
    const std::lock_guard lock(container->mutex);
    ContainerRecord& record = container->record;
    record.state = State::Exited;
    record.exit_code = kStartErrorCode;
    record.reason = "StartError";
    record.message = launched.error().message();
    record.finished_ns = now_ns();
    KUBERNEL_CHECK_OK(save(record));
    return launched.error();
  }
  watch(container);
  return {};
}

// Watches the monitor; when that is gone, the container's own process.
void OciRuntime::watch(const ContainerPtr& container) {
  UniqueFd before_fd;  // Outlives the subscription to it; both go after the lock.
  std::unique_ptr<Subscription> before;
  std::unique_lock lock(container->mutex);
  before_fd = std::move(container->watched);
  before = std::move(container->watch);
  container->watched = open_process(container->record.monitor);
  const bool monitored = static_cast<bool>(container->watched);
  if (!monitored && !exists(monitor_.exit_file(container->record.id)))
    container->watched = open_process(container->record.process);
  if (!container->watched) {
    lock.unlock();
    settle(container);
    return;
  }
  if (!monitored) {
    log_warning(surroundings_.log,
                "a container runs without its monitor: its log has ended and its exit code will be unknown",
                {{"container", container->record.id}});
  }
  auto watch = surroundings_.poller.when_readable(container->watched.get(), [this, weak = std::weak_ptr(container)] {
    const ContainerPtr self = weak.lock();
    if (!self) return;
    OciRuntime* const runtime = this;
    std::unique_ptr<Subscription> dropped;
    {
      const std::lock_guard inner(self->mutex);
      dropped = std::move(self->watch);
    }
    if (dropped) runtime->run_later([runtime, self] { runtime->settle(self); });
  });
  if (watch) {
    container->watch = *std::move(watch);
  } else {
    log_error(surroundings_.log, "cannot watch a container",
              {{"container", container->record.id}, {"error", watch.error()}});
  }
}

// Records a container's end, once, and tells everybody.
void OciRuntime::settle(const ContainerPtr& container) {
  std::string id;
  std::string group;
  bool left_behind = false;
  int code = 0;
  std::vector<std::weak_ptr<Relay>> attached;
  {
    const std::lock_guard lock(container->mutex);
    ContainerRecord& record = container->record;
    if (record.state != State::Running) return;
    id = record.id;
    const std::string path = monitor_.exit_file(id);
    struct stat info {};
    if (const auto text = read_file(path); text && stat(path.c_str(), &info) == 0) {
      std::from_chars(text->data(), text->data() + text->size(), record.exit_code);
      record.finished_ns = info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec;
    } else if (open_process(record.monitor)) {
      return;  // Not yet.
    } else if (open_process(record.process)) {
      run_later([this, container] { watch(container); });
      return;
    } else {
      record.exit_code = kUnknownExitCode;
      record.finished_ns = now_ns();
      record.message = "the container's monitor ended before it: the exit code is unknown";
    }
    record.state = State::Exited;
    const bool out_of_memory = record.exit_code != 0 && cgroups_.oom_kills(record.cgroup_path) > 0;
    record.reason = out_of_memory ? "OOMKilled" : record.exit_code == 0 ? "Completed" : "Error";
    if (const auto saved = save(record); !saved) {
      // The exit file is still there: the next process comes to the same result.
      log_error(surroundings_.log, "cannot record a container's exit", {{"container", id}, {"error", saved.error()}});
    }
    code = record.exit_code;
    group = record.cgroup_path;
    left_behind = !record.own_pid_namespace;
    attached = std::move(container->attached);
  }
  // Without its own process namespace, the end of the first process does not end the others.
  if (left_behind) cgroups_.kill_all(group);
  for (const auto& weak : attached) {
    if (const auto relay = weak.lock()) relay->set_exit_code(code);
  }
  notify(id);
}

Result<void> OciRuntime::wait_ended(const CallContext& ctx, const ContainerPtr& container,
                                    CallContext::Clock::time_point until, bool* ended) {
  const ContainerRecord record = container->snapshot();
  *ended = true;
  // The process first: it is what is waited for. Then the monitor, which writes the exit code.
  for (const ProcessId& process : {record.process, record.monitor}) {
    const UniqueFd fd = open_process(process);
    if (fd && !wait_for_end(ctx, fd.get(), std::min(until, ctx.deadline))) {
      *ended = false;
      if (ctx.stopping()) return Error(Reason::Cancelled, "stopped while waiting for a container to end");
      if (CallContext::Clock::now() >= ctx.deadline) return Error(Reason::Timeout, "the container did not end in time");
      return {};
    }
  }
  settle(container);
  return {};
}

Result<void> OciRuntime::request_stop(const CallContext&, std::string_view id) {
  KUBERNEL_TRY(const ContainerPtr container, get_container(id));
  const ContainerRecord record = container->snapshot();
  if (record.state != State::Running) return {};
  if (const UniqueFd process = open_process(record.process)) send_signal(process, record.stop_signal);
  return {};
}

Result<void> OciRuntime::stop_container(const CallContext& ctx, std::string_view id, std::chrono::seconds grace) {
  const ContainerPtr container = find_container(id);
  if (!container || container->snapshot().state != State::Running) return {};
  bool ended = false;
  if (grace > std::chrono::seconds::zero()) {
    KUBERNEL_CHECK_OK(request_stop(ctx, id));
    KUBERNEL_CHECK_OK(wait_ended(ctx, container, CallContext::Clock::now() + grace, &ended));
    if (ended) return {};
  }
  const ContainerRecord record = container->snapshot();
  if (const UniqueFd process = open_process(record.process)) send_signal(process, SIGKILL);
  if (!record.own_pid_namespace) cgroups_.kill_all(record.cgroup_path);
  KUBERNEL_CHECK_OK(wait_ended(ctx, container, CallContext::Clock::now() + kKillWait, &ended));
  if (!ended) return Error(Reason::Timeout, "container \"" + record.id + "\" did not end after SIGKILL");
  return {};
}

Result<void> OciRuntime::remove_container(const CallContext& ctx, std::string_view id) {
  const ContainerPtr container = find_container(id);
  if (!container) return {};
  KUBERNEL_CHECK_OK(stop_container(ctx, id, std::chrono::seconds(0)));
  const ContainerRecord record = container->snapshot();
  KUBERNEL_CHECK_OK(discard_container(ctx, record));
  std::unique_ptr<Subscription> dropped;
  {
    const std::lock_guard inner(container->mutex);
    dropped = std::move(container->watch);
  }
  const std::lock_guard lock(mutex_);
  containers_.erase(record.id);
  return {};
}

// Removes all traces; also of a container that never got beyond a directory.
Result<void> OciRuntime::discard_container(const CallContext& ctx, const ContainerRecord& record) {
  const std::string directory = container_dir(record.id);
  if (exists(monitor_.options().runtime_root + "/" + record.id)) {
    KUBERNEL_CHECK_OK(monitor_.runtime(ctx, {"delete", "--force", record.id}));
  }
  unmount(directory + "/rootfs");
  if (!record.cgroup_path.empty()) KUBERNEL_CHECK_OK(cgroups_.remove(ctx, record.cgroup_path));
  KUBERNEL_CHECK_OK(remove_tree(directory));
  std::error_code ignored;
  std::filesystem::remove(monitor_.exit_file(record.id), ignored);
  store_.release(record.id);
  return {};
}

ContainerStatus OciRuntime::status_of(const ContainerRecord& record) {
  const auto time = [](std::int64_t ns) -> std::optional<Clock::WallTime> {
    if (ns == 0) return std::nullopt;
    return Clock::WallTime(std::chrono::nanoseconds(ns));
  };
  ContainerStatus out;
  out.id = record.id;
  out.sandbox_id = record.sandbox_id;
  out.name = record.name;
  out.attempt = record.attempt;
  out.state = record.state;
  out.created_at = time(record.created_ns);
  out.started_at = time(record.started_ns);
  out.finished_at = time(record.finished_ns);
  out.exit_code = record.exit_code;
  out.reason = record.reason;
  out.message = record.message;
  out.image_id = record.image_id;
  out.image_ref = record.image_ref;
  out.log_path = record.log_path;
  out.pid = record.state == State::Running ? record.process.pid : 0;
  out.labels = record.labels;
  out.annotations = record.annotations;
  return out;
}

Result<std::vector<ContainerStatus>> OciRuntime::list_containers(const CallContext&) {
  std::vector<ContainerPtr> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, container] : containers_) all.push_back(container);
  }
  std::vector<ContainerStatus> out;
  for (const ContainerPtr& container : all) out.push_back(status_of(container->snapshot()));
  return out;
}

Result<ContainerStatus> OciRuntime::status(const CallContext&, std::string_view id) {
  KUBERNEL_TRY(const ContainerPtr container, get_container(id));
  return status_of(container->snapshot());
}

}  // namespace kubernel::runtime::oci
