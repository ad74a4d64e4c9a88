// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <charconv>
#include <csignal>

#include "runtime_state.h"

namespace kubernel::runtime::oci {
namespace {

constexpr const char* kShmOptions = "mode=1777,size=65536k";
constexpr auto kKillWait = std::chrono::seconds(10);

std::string shm_path_of(const std::string& directory) {
  return directory + "/shm";
}

}  // namespace

Result<void> OciRuntime::mount_shm(const SandboxRecord& record) {
  if (record.config.ipc == NamespaceMode::Node) return {};
  const std::string path = shm_path_of(sandbox_dir(record.id));
  KUBERNEL_CHECK_OK(make_directories(path, 0755));
  if (mount("shm", path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, kShmOptions) != 0)
    return file_error("mount", path, errno);
  return {};
}

Result<void> OciRuntime::start_pause(const CallContext& ctx, Sandbox& sandbox) {
  SandboxRecord& record = sandbox.record;
  const std::string directory = sandbox_dir(record.id);
  const std::string cgroup = record.config.cgroup_parent + "/" + record.id;
  KUBERNEL_CHECK_OK(
      write_file_atomic(directory + "/config.json", make_pause_spec({record.config, machine_, pause_rootfs_, cgroup})));
  const std::string errors = directory + "/runtime.log";
  const UniqueFd error_file(::open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!error_file) return file_error("create", errors, errno);
  // No monitor: of a pause process only its end matters, and a pidfd tells that.
  ChildOptions child;
  child.argv = {options_.runtime, "--root",     monitor_.options().runtime_root, "run",
                "--detach",       "--pid-file", directory + "/pidfile",          "--bundle",
                directory,        record.id};
  child.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  child.stderr_fd = error_file.get();
  KUBERNEL_TRY(const pid_t pid, spawn_child(child));
  KUBERNEL_TRY(const int code, wait_child(ctx, pid));
  if (code != 0) {
    const auto text = read_file(errors);
    return Error(Reason::Internal,
                 "cannot start the sandbox: " + (text ? runtime_message(*text) : "exit code " + std::to_string(code)));
  }
  KUBERNEL_TRY(const std::string text, read_file(directory + "/pidfile"));
  pid_t pause = 0;
  std::from_chars(text.data(), text.data() + text.size(), pause);
  const auto identity = identify(pause);
  if (!identity) return Error(Reason::Internal, "the sandbox's pause process died at once");
  record.pause = *identity;
  return write_file_atomic(directory + "/state.json", to_json(record));
}

Result<std::string> OciRuntime::run_sandbox(const CallContext& ctx, const SandboxConfig& config) {
  if (config.cgroup_parent.size() < 2 || config.cgroup_parent.front() != '/') {
    return Error(Reason::Invalid,
                 "sandbox: cgroup_parent \"" + config.cgroup_parent + "\" is not an absolute path below the root");
  }
  if (config.network != NamespaceMode::Node && config.network_namespace_path.empty()) {
    return Error(Reason::Invalid, "sandbox: a pod network needs a network namespace");
  }
  const auto sandbox = std::make_shared<Sandbox>();
  SandboxRecord& record = sandbox->record;
  record.id = new_id();
  record.config = config;
  record.created_ns = now_ns();
  const std::string directory = sandbox_dir(record.id);
  const auto made = [&]() -> Result<void> {
    KUBERNEL_CHECK_OK(make_directories(directory, 0711));
    KUBERNEL_CHECK_OK(write_file_atomic(directory + "/hostname", config.hostname + "\n"));
    if (chmod((directory + "/hostname").c_str(), 0644) != 0)
      return file_error("set the mode of", directory + "/hostname", errno);
    KUBERNEL_CHECK_OK(mount_shm(record));
    KUBERNEL_CHECK_OK(cgroups_.make(config.cgroup_parent, config.resources));
    return start_pause(ctx, *sandbox);
  }();
  if (!made) {
    if (const auto discarded = discard_sandbox({}, record); !discarded) {
      log_warning(surroundings_.log, "cannot remove a sandbox that failed to start",
                  {{"sandbox", record.id}, {"error", discarded.error()}});
    }
    return std::move(made).error();
  }
  {
    const std::lock_guard lock(mutex_);
    sandboxes_[record.id] = sandbox;
  }
  watch_pause(sandbox);
  return record.id;
}

void OciRuntime::watch_pause(const SandboxPtr& sandbox) {
  const std::lock_guard lock(sandbox->mutex);
  sandbox->watched = open_process(sandbox->record.pause);
  if (!sandbox->watched) return;
  auto watch = surroundings_.poller.when_readable(sandbox->watched.get(), [this, weak = std::weak_ptr(sandbox)] {
    const SandboxPtr self = weak.lock();
    if (!self) return;
    OciRuntime* const runtime = this;
    std::unique_ptr<Subscription> dropped;
    std::string id;
    {
      const std::lock_guard inner(self->mutex);
      dropped = std::move(self->watch);
      id = self->record.id;
    }
    if (dropped) runtime->run_later([runtime, id] { runtime->notify(id); });
  });
  if (watch) {
    sandbox->watch = *std::move(watch);
  } else {
    log_error(surroundings_.log, "cannot watch a sandbox", {{"sandbox", sandbox->record.id}, {"error", watch.error()}});
  }
}

Result<void> OciRuntime::stop_sandbox(const CallContext& ctx, std::string_view id) {
  const SandboxPtr sandbox = find_sandbox(id);
  if (!sandbox) return {};
  for (const ContainerPtr& container : containers_of(id)) {
    KUBERNEL_CHECK_OK(stop_container(ctx, container->snapshot().id, std::chrono::seconds(0)));
  }
  const UniqueFd pause = open_process(sandbox->snapshot().pause);
  if (!pause) return {};
  kill(sandbox->snapshot().pause.pid, SIGKILL);
  if (wait_for_end(ctx, pause.get(), std::min(ctx.deadline, CallContext::Clock::now() + kKillWait))) return {};
  return Error(Reason::Timeout, "the sandbox's pause process did not end after SIGKILL");
}

Result<void> OciRuntime::remove_sandbox(const CallContext& ctx, std::string_view id) {
  const SandboxPtr sandbox = find_sandbox(id);
  if (!sandbox) return {};
  KUBERNEL_CHECK_OK(stop_sandbox(ctx, id));
  for (const ContainerPtr& container : containers_of(id))
    KUBERNEL_CHECK_OK(remove_container(ctx, container->snapshot().id));
  const SandboxRecord record = sandbox->snapshot();
  KUBERNEL_CHECK_OK(discard_sandbox(ctx, record));
  std::unique_ptr<Subscription> dropped;
  {
    const std::lock_guard inner(sandbox->mutex);
    dropped = std::move(sandbox->watch);
  }
  const std::lock_guard lock(mutex_);
  sandboxes_.erase(record.id);
  return {};
}

// Removes all traces; also of a sandbox that never got beyond a directory.
Result<void> OciRuntime::discard_sandbox(const CallContext& ctx, const SandboxRecord& record) {
  const std::string directory = sandbox_dir(record.id);
  if (exists(monitor_.options().runtime_root + "/" + record.id)) {
    KUBERNEL_CHECK_OK(monitor_.runtime(ctx, {"delete", "--force", record.id}));
  }
  unmount(shm_path_of(directory));
  if (!record.config.cgroup_parent.empty()) KUBERNEL_CHECK_OK(cgroups_.remove(ctx, record.config.cgroup_parent));
  return remove_tree(directory);
}

Result<std::vector<SandboxStatus>> OciRuntime::list_sandboxes(const CallContext&) {
  std::vector<SandboxPtr> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, sandbox] : sandboxes_) all.push_back(sandbox);
  }
  std::vector<SandboxStatus> out;
  for (const SandboxPtr& sandbox : all) {
    const SandboxRecord record = sandbox->snapshot();
    const auto pause = identify(record.pause.pid);
    SandboxStatus status;
    status.id = record.id;
    status.pod_name = record.config.pod_name;
    status.pod_namespace = record.config.pod_namespace;
    status.pod_uid = record.config.pod_uid;
    status.attempt = record.config.attempt;
    status.ready = pause && pause->start_time == record.pause.start_time;
    status.created_at = Clock::WallTime(std::chrono::nanoseconds(record.created_ns));
    status.network_namespace_path = record.config.network_namespace_path;
    status.labels = record.config.labels;
    status.annotations = record.config.annotations;
    out.push_back(std::move(status));
  }
  return out;
}

}  // namespace kubernel::runtime::oci
