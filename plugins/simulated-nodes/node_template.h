// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <kubernel/base/clock.h>

namespace kubernel::plugins {

inline constexpr const char* kSimulatedLabel = "kubernel.io/simulated";

// So many nodes that look alike.
struct NodeTemplate {
  std::string name = "simulated";
  std::size_t count = 0;
  nlohmann::json labels = nlohmann::json::object();
  nlohmann::json taints = nlohmann::json::array();
  nlohmann::json capacity;
  std::vector<std::string> zones;

  // One of the configuration's templates; the schema has checked it.
  static NodeTemplate read(const nlohmann::json& config);

  std::string name_of(std::size_t index) const;
  // The Node with that index, Ready.
  nlohmann::json node(std::size_t index, Clock::WallTime now) const;
};

// status.conditions and what else a kubelet reports, for a node that is well.
nlohmann::json healthy_status(const nlohmann::json& capacity, const std::string& name, Clock::WallTime now);

}  // namespace kubernel::plugins
