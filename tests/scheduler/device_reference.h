// SPDX-License-Identifier: Apache-2.0
//
// The rules about devices, in the manner of reference.h: on plain JSON, trying everything.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "reference.h"

namespace kubernel::reference {

struct Devices {
  std::vector<json> slices;
  std::map<std::string, json> classes;  // By name.
  std::map<std::string, json> claims;   // By name, all in one namespace; those with a status.allocation have devices.
};

// The nodes on which the pod's claims have, or can all be given, their devices at once.
std::vector<std::string> feasible_devices(const Cluster& cluster, const Devices& world, const json& pod);

// What is wrong when the pod, on that node, gets these allocations (status.allocation by name of the claim) on top of
// what `world` knows; empty: nothing. Knows nothing of how they were found.
std::string wrong_with(const Devices& world, const json& node, const json& pod,
                       const std::map<std::string, json>& allocations);

}  // namespace kubernel::reference
