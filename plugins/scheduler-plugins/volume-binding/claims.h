// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <kubernel/scheduler/csi_migration.h>
#include <kubernel/scheduler/matching.h>

#include "volume_cache.h"

namespace kubernel::plugins {

// A pod's claims by what is to be done about them.
struct PodClaims {
  struct Bound {
    api::Object claim;
    api::Object volume;  // Empty: there is none.
    // Of an in-tree volume: what it is on nodes that have given it to its CSI driver.
    const scheduler::InTreePlugin* in_tree = nullptr;
    Result<api::Object> as_csi = api::Object();

    Bound(api::Object claim, const VolumeCache& cache);
  };

  std::vector<Bound> bound;
  std::vector<api::Object> delayed;  // To be bound once a node is chosen.
  std::string problem;               // Why no node will do; empty: some may.

  bool empty() const { return bound.empty() && delayed.empty(); }
  static PodClaims read(const scheduler::PodInfo& pod, const VolumeCache& cache);
};

// The volume controller has finished binding the claim.
bool is_bound(const api::Object& claim);

}  // namespace kubernel::plugins
