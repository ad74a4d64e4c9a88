// SPDX-License-Identifier: Apache-2.0

#include "claims.h"

namespace kubernel::plugins {

using api::Object;
using scheduler::PodClaim;

namespace {

std::string quoted(const std::string& text) {
  return '"' + text + '"';
}

// Why the claim keeps the pod from every node, or nothing.
std::string problem_of(const PodClaim& key, const std::optional<Object>& claim) {
  const std::string name = quoted(key.key.name);
  if (!claim) {
    return key.ephemeral ? "waiting for ephemeral volume controller to create the persistentvolumeclaim " + name
                         : "persistentvolumeclaim " + name + " not found";
  }
  if (claim->pointer("/status/phase").string() == "Lost") {
    return "persistentvolumeclaim " + name + " bound to non-existent persistentvolume " +
           quoted(std::string(claim->pointer("/spec/volumeName").string()));
  }
  if (claim->head().deleting) return "persistentvolumeclaim " + name + " is being deleted";
  return {};
}

}  // namespace

bool is_bound(const Object& claim) {
  return !claim.pointer("/spec/volumeName").string().empty() && claim.annotations()["pv.kubernetes.io/bind-completed"];
}

PodClaims::Bound::Bound(Object of, const VolumeCache& cache) : claim(std::move(of)) {
  if (const auto found = cache.volume(std::string(claim.pointer("/spec/volumeName").string()))) volume = *found;
  in_tree = scheduler::in_tree_plugin_of(volume["spec"]);
  if (in_tree != nullptr) as_csi = scheduler::as_csi_volume(*in_tree, volume);
}

PodClaims PodClaims::read(const scheduler::PodInfo& pod, const VolumeCache& cache) {
  PodClaims out;
  for (const PodClaim& key : claims_of(pod)) {
    const auto claim = cache.claim(key.key);
    out.problem = problem_of(key, claim);
    if (out.problem.empty() && key.ephemeral && claim->head().controller_uid != pod.uid()) {
      out.problem = "PVC " + api::to_string(key.key) + " was not created for pod " + api::to_string(pod.key()) +
                    " (pod is not owner)";
    }
    if (!out.problem.empty()) return out;
    if (is_bound(*claim)) {
      out.bound.emplace_back(*claim, cache);
    } else if (cache.binds_late(*claim) && claim->pointer("/spec/volumeName").string().empty()) {
      out.delayed.push_back(*claim);
    } else {
      out.problem = "pod has unbound immediate PersistentVolumeClaims";
      return out;
    }
  }
  return out;
}

}  // namespace kubernel::plugins
