// SPDX-License-Identifier: Apache-2.0
//
// The rules about volumes, in the manner of reference.h: on plain JSON, looking at everything for every question.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "reference.h"

namespace kubernel::reference {

struct Volumes {
  std::map<std::string, json> claims;   // By name; all in one namespace.
  std::map<std::string, json> volumes;  // By name.
  std::map<std::string, json> limits;   // By node: volumes a driver may attach, by driver.
};

// As feasible(), of the plugins that look at volumes; every claim that exists is bound.
std::map<std::string, std::vector<std::string>> feasible_volumes(const Cluster& cluster, const Volumes& volumes,
                                                                 const json& pod);

}  // namespace kubernel::reference
