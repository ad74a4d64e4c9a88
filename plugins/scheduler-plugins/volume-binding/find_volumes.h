// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <kubernel/scheduler/node_info.h>

#include "claims.h"

namespace kubernel::plugins {

inline constexpr const char* kSelectedNode = "volume.kubernetes.io/selected-node";

// What a pod's claims would be bound to on one node.
struct NodeVolumes {
  struct Match {
    api::Object claim, volume;
  };
  std::vector<Match> matches;
  std::vector<api::Object> to_provision;  // Claims.
  std::vector<std::string> refusals;      // Why the node will not do; empty: it will.
  bool hopeless = false;                  // Evicting pods would not help.

  // Errors: Invalid, when a volume cannot be translated to what it is on this node.
  static Result<NodeVolumes> find(const PodClaims& claims, const scheduler::NodeInfo& node, const VolumeCache& cache);
};

// Bytes of a PersistentVolume, and those a claim asks for.
std::int64_t capacity_of(const api::Object& volume);
std::int64_t wanted_by(const api::Object& claim);
// The largest volume that a CSIStorageCapacity promises; -1 when it promises none.
std::int64_t largest_volume_of(const api::Object& capacity);
// The storage that the claim's class can give on the node, as far as its driver tells; -1 when it does not.
std::int64_t storage_for(const api::Object& claim, const scheduler::NodeInfo& node, const VolumeCache& cache);

}  // namespace kubernel::plugins
