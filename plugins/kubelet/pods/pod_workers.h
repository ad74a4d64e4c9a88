// SPDX-License-Identifier: Apache-2.0
//
// PodWorkers: one worker for each pod of this node, found by uid.

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <kubernel/api/object.h>

#include "pods/kit.h"
#include "pods/pod_worker.h"

namespace kubernel::kubelet {

// Threads: all members may be called concurrently.
class PodWorkers {
 public:
  explicit PodWorkers(Kit& kit);
  ~PodWorkers();

  // From the informer.
  void update(const api::Object& pod);
  void gone(const api::Object& last_known);
  // After the first list: what the runtime has and the API has not is ended.
  void end_orphans();

  void wake(const std::string& uid);
  void wake_all();

  // The newest version of a pod with its status as this node sees it.
  std::optional<api::Object> find(const api::ObjectKey& key) const;
  std::vector<api::Object> all() const;

 private:
  std::shared_ptr<PodWorker> worker(const std::string& uid);
  void forget(const std::string& uid);
  void remove_lost_files();

  Kit& kit_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<PodWorker>> workers_;
};

}  // namespace kubernel::kubelet
