// SPDX-License-Identifier: Apache-2.0
#include "pods/runtime_cache.h"

#include <algorithm>
#include <set>

namespace kubernel::kubelet {

std::string label_of(const std::map<std::string, std::string>& labels, std::string_view name) {
  const auto at = labels.find(std::string(name));
  return at == labels.end() ? std::string() : at->second;
}

const runtime::SandboxStatus* PodRuntime::ready_sandbox() const {
  return !sandboxes.empty() && sandboxes.front().ready ? &sandboxes.front() : nullptr;
}

const runtime::ContainerStatus* PodRuntime::newest(std::string_view name, std::string_view sandbox_id) const {
  for (const auto& container : containers) {
    if (container.name == name && (sandbox_id.empty() || container.sandbox_id == sandbox_id)) return &container;
  }
  return nullptr;
}

const runtime::ContainerStatus* PodRuntime::previous(const runtime::ContainerStatus& status) const {
  bool passed = false;
  for (const auto& container : containers) {
    if (passed && container.name == status.name) return &container;
    passed = passed || container.id == status.id;
  }
  return nullptr;
}

const runtime::ContainerStatus* PodRuntime::by_id(std::string_view id) const {
  for (const auto& container : containers) {
    if (container.id == id) return &container;
  }
  return nullptr;
}

bool PodRuntime::any_running() const {
  return std::any_of(containers.begin(), containers.end(),
                     [](const auto& c) { return c.state == runtime::State::Running; });
}

RuntimeCache::RuntimeCache(runtime::ContainerRuntime& runtime, Tasks& tasks, Logger& log,
                           std::function<void(std::string uid)> changed)
    : runtime_(runtime), tasks_(tasks), log_(log), changed_(std::move(changed)) {}

void RuntimeCache::start() {
  exits_ =
      runtime_.access().on_exit([this](std::string id) { tasks_.run([this, id = std::move(id)] { note_exit(id); }); });
}

void RuntimeCache::stop() {
  exits_.reset();
}

Result<void> RuntimeCache::refresh(const CallContext& ctx) {
  std::set<std::string, std::less<>> before;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, sandbox] : sandboxes_) before.insert(id);
    for (const auto& [id, container] : containers_) before.insert(id);
  }
  KUBERNEL_TRY(auto sandboxes, runtime_.list_sandboxes(ctx));
  KUBERNEL_TRY(auto containers, runtime_.list_containers(ctx));
  const std::lock_guard lock(mutex_);
  // What was made while the lists ran is not in them and stays; what was there before and is not in them has gone.
  for (const auto& sandbox : sandboxes) before.erase(sandbox.id);
  for (const auto& container : containers) before.erase(container.id);
  for (const auto& id : before) {
    sandboxes_.erase(id);
    containers_.erase(id);
  }
  for (auto& sandbox : sandboxes) sandboxes_.insert_or_assign(sandbox.id, std::move(sandbox));
  for (auto& container : containers) merge(std::move(container));
  return {};
}

PodRuntime RuntimeCache::pod(std::string_view uid) const {
  PodRuntime out;
  const std::lock_guard lock(mutex_);
  std::set<std::string_view> ids;
  for (const auto& [id, sandbox] : sandboxes_) {
    if (sandbox.pod_uid != uid) continue;
    out.sandboxes.push_back(sandbox);
    ids.insert(id);
  }
  for (const auto& [id, container] : containers_) {
    if (ids.contains(container.sandbox_id)) out.containers.push_back(container);
  }
  std::sort(out.sandboxes.begin(), out.sandboxes.end(), [](const auto& a, const auto& b) {
    return std::pair(a.attempt, a.created_at) > std::pair(b.attempt, b.created_at);
  });
  std::sort(out.containers.begin(), out.containers.end(), [](const auto& a, const auto& b) {
    if (a.name != b.name) return a.name < b.name;
    return std::pair(a.attempt, a.created_at) > std::pair(b.attempt, b.created_at);
  });
  return out;
}

std::vector<std::string> RuntimeCache::uids() const {
  std::set<std::string> uids;
  const std::lock_guard lock(mutex_);
  for (const auto& [id, sandbox] : sandboxes_) uids.insert(sandbox.pod_uid);
  return {uids.begin(), uids.end()};
}

// Two readers may finish in another order than they began: a container never goes back from exited.
void RuntimeCache::merge(runtime::ContainerStatus status) {
  auto& known = containers_[status.id];
  if (known.state == runtime::State::Exited && status.state != runtime::State::Exited) return;
  if (known.state == runtime::State::Running && status.state == runtime::State::Created) return;
  known = std::move(status);
}

Result<void> RuntimeCache::update_container(const CallContext& ctx, std::string_view id) {
  auto status = runtime_.access().status(ctx, id);
  const std::lock_guard lock(mutex_);
  if (status) {
    merge(*std::move(status));
    return {};
  }
  if (status.error().reason() != Reason::NotFound) return std::move(status).error();
  if (const auto at = containers_.find(id); at != containers_.end()) containers_.erase(at);
  return {};
}

std::string RuntimeCache::uid_of_locked(std::string_view sandbox_id) const {
  const auto at = sandboxes_.find(sandbox_id);
  return at == sandboxes_.end() ? std::string() : at->second.pod_uid;
}

void RuntimeCache::note_exit(const std::string& id) {
  bool is_container = false;
  {
    const std::lock_guard lock(mutex_);
    is_container = containers_.contains(id);
  }
  // A sandbox's own death, or something made so recently that it is not known here: ask for everything.
  const auto result = is_container ? update_container(tasks_.context(), id) : refresh(tasks_.context());
  if (!result) {
    log_warning(log_, "cannot read the state of a container that exited", {{"id", id}, {"error", result.error()}});
  }
  std::string uid;
  {
    const std::lock_guard lock(mutex_);
    const auto at = containers_.find(id);
    uid = uid_of_locked(at == containers_.end() ? std::string_view(id) : std::string_view(at->second.sandbox_id));
  }
  if (!uid.empty()) changed_(uid);
}

void RuntimeCache::put_sandbox(runtime::SandboxStatus sandbox) {
  const std::lock_guard lock(mutex_);
  sandboxes_.insert_or_assign(sandbox.id, std::move(sandbox));
}

void RuntimeCache::sandbox_stopped(std::string_view id) {
  const std::lock_guard lock(mutex_);
  if (const auto at = sandboxes_.find(id); at != sandboxes_.end()) at->second.ready = false;
}

void RuntimeCache::sandbox_removed(std::string_view id) {
  const std::lock_guard lock(mutex_);
  if (const auto at = sandboxes_.find(id); at != sandboxes_.end()) sandboxes_.erase(at);
  std::erase_if(containers_, [id](const auto& entry) { return entry.second.sandbox_id == id; });
}

void RuntimeCache::container_removed(std::string_view id) {
  const std::lock_guard lock(mutex_);
  if (const auto at = containers_.find(id); at != containers_.end()) containers_.erase(at);
}

}  // namespace kubernel::kubelet
