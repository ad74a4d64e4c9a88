// SPDX-License-Identifier: Apache-2.0
//
// The reference scheduler: upstream's rules of 1.36 written down as slowly and obviously as possible, on plain JSON,
// for comparison with the plugins. It shares no code with them and keeps nothing: every question looks at every node
// and every pod.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace kubernel::reference {

using nlohmann::json;

struct Node {
  json object;
  std::vector<json> pods;

  const std::string& name() const { return object["metadata"]["name"].get_ref<const std::string&>(); }
};

struct Cluster {
  std::vector<Node> nodes;                 // In order of name.
  std::map<std::string, json> namespaces;  // Labels by name.
};

// By plugin name: the names of the nodes on which its filter lets the pod run. Only plugins that filter.
std::map<std::string, std::vector<std::string>> feasible(const Cluster& cluster, const json& pod);

// By plugin name: the normalized scores of those nodes, in their order. Only plugins that score; all zero when one has
// nothing to say.
std::map<std::string, std::vector<std::int64_t>> scores(const Cluster& cluster, const json& pod,
                                                        const std::vector<std::string>& nodes);

}  // namespace kubernel::reference
