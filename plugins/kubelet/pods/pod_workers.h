// SPDX-License-Identifier: Apache-2.0
//
// PodWorkers: one worker for each pod of this node, found by uid.

#pragma once

#include <functional>
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
  // After the first list: what the runtime has and the API has not is ended, and files of such pods are removed.
  // `listed` are all pods of this node that the API has. Their events may still be on their way here: such a pod is no
  // orphan.
  void end_orphans(const std::vector<api::Object>& listed);

  void wake(const std::string& uid);
  void wake_all();

  // The newest version of a pod with its status as this node sees it.
  std::optional<api::Object> find(const api::ObjectKey& key) const;
  std::vector<api::Object> all() const;

 private:
  std::shared_ptr<PodWorker> worker(const std::string& uid);
  void forget(const std::string& uid);
  void remove_lost_files(const std::function<bool(const std::string& uid)>& known);

  Kit& kit_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<PodWorker>> workers_;
};

}  // namespace kubernel::kubelet
