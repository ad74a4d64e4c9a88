// SPDX-License-Identifier: Apache-2.0
//
// Which slices to create, update and delete so that they hold the wanted endpoints, moving as few as possible.

#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <kubernel/api/object.h>

namespace kubernel::plugins::endpointslice {

inline constexpr std::size_t kMaxEndpoints = 100;

// Endpoints that share one set of ports. The key in Wanted is the ports' canonical text.
struct PortGroup {
  nlohmann::json ports = nlohmann::json::array();
  std::vector<nlohmann::json> endpoints;
};
using Wanted = std::map<std::string, PortGroup>;

// The text by which equal sets of ports are equal, whatever their order.
std::string ports_key(nlohmann::json ports);

struct Plan {
  struct Update {
    api::Object slice;
    nlohmann::json ports;
    nlohmann::json endpoints;
  };
  struct Create {
    nlohmann::json ports;
    nlohmann::json endpoints;
  };
  std::vector<Create> create;
  std::vector<Update> update;
  std::vector<api::Object> remove;
  std::vector<api::Object> keep;  // Endpoints and ports are right as they are.
};

// `existing`: this service's slices of one address type.
Plan make_plan(const Wanted& wanted, const std::vector<api::Object>& existing);

}  // namespace kubernel::plugins::endpointslice
