// SPDX-License-Identifier: Apache-2.0
#include "pods/pod_workers.h"

#include <filesystem>
#include <set>

namespace kubernel::kubelet {

PodWorkers::PodWorkers(Kit& kit) : kit_(kit) {}
PodWorkers::~PodWorkers() = default;

std::shared_ptr<PodWorker> PodWorkers::worker(const std::string& uid) {
  const std::lock_guard lock(mutex_);
  auto& slot = workers_[uid];
  if (!slot) slot = std::make_shared<PodWorker>(kit_, uid, [this, uid] { forget(uid); });
  return slot;
}

void PodWorkers::forget(const std::string& uid) {
  std::shared_ptr<PodWorker> last;  // Destroyed outside the lock.
  const std::lock_guard lock(mutex_);
  if (const auto at = workers_.find(uid); at != workers_.end()) {
    last = std::move(at->second);
    workers_.erase(at);
  }
}

void PodWorkers::update(const api::Object& pod) {
  worker(pod.uid())->update(pod);
}

void PodWorkers::gone(const api::Object& last_known) {
  const auto one = worker(last_known.uid());
  one->update(last_known);
  one->gone();
}

void PodWorkers::end_orphans(const std::vector<api::Object>& listed) {
  std::set<std::string> expected;
  for (const api::Object& pod : listed) expected.insert(pod.uid());
  const auto known = [&](const std::string& uid) {
    const std::lock_guard lock(mutex_);
    return expected.contains(uid) || workers_.contains(uid);
  };
  for (const auto& uid : kit_.cache.uids()) {
    if (known(uid)) continue;
    log_info(kit_.log, "ending a pod the API no longer has", {{"uid", uid}});
    worker(uid)->gone();
  }
  remove_lost_files(known);
}

// Directories and logs of pods that neither the API nor the runtime knows: left by a crash or a reboot.
void PodWorkers::remove_lost_files(const std::function<bool(const std::string& uid)>& known) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kit_.config.root_directory + "/pods", error)) {
    const std::string uid = entry.path().filename().string();
    if (known(uid)) continue;
    if (auto removed = kit_.volumes.unmount(uid); !removed) {
      log_warning(kit_.log, "cannot remove what a pod left behind", {{"uid", uid}, {"error", removed.error()}});
    }
  }
  for (const auto& entry : std::filesystem::directory_iterator(kit_.config.log_directory, error)) {
    // "<namespace>_<name>_<uid>"; neither part has an underscore.
    const std::string name = entry.path().filename().string();
    const auto first = name.find('_'), last = name.rfind('_');
    if (first == std::string::npos || first == last || known(name.substr(last + 1))) continue;
    std::filesystem::remove_all(entry.path(), error);
  }
}

void PodWorkers::wake(const std::string& uid) {
  std::shared_ptr<PodWorker> one;
  {
    const std::lock_guard lock(mutex_);
    if (const auto at = workers_.find(uid); at != workers_.end()) one = at->second;
  }
  if (one) one->wake();
}

void PodWorkers::wake_all() {
  std::vector<std::shared_ptr<PodWorker>> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [uid, worker] : workers_) all.push_back(worker);
  }
  for (const auto& one : all) one->wake();
}

std::optional<api::Object> PodWorkers::find(const api::ObjectKey& key) const {
  std::optional<api::Object> newest;
  for (const auto& pod : all()) {
    if (pod.key() == key && (!newest || newest->head().resource_version < pod.head().resource_version)) newest = pod;
  }
  return newest;
}

std::vector<api::Object> PodWorkers::all() const {
  std::vector<api::Object> out;
  const std::lock_guard lock(mutex_);
  for (const auto& [uid, worker] : workers_) {
    if (auto pod = worker->pod()) out.push_back(*std::move(pod));
  }
  return out;
}

}  // namespace kubernel::kubelet
