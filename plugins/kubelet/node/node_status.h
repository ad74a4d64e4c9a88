// SPDX-License-Identifier: Apache-2.0
//
// node_document() and node_status(): the Node object as this kubelet sees it. Pure.

#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/api/object.h>
#include <kubernel/base/clock.h>
#include <kubernel/runtime/container_runtime.h>

#include "config.h"
#include "node/machine.h"

namespace kubernel::kubelet {

struct NodeInput {
  const Config& config;
  const Machine& machine;
  std::vector<std::string> addresses;  // Primary first.
  std::string hostname;
  int port = 10250;             // Where the kubelet's server listens; 0: there is none.
  std::string runtime_version;  // "oci://1.0".
  std::string kubelet_version;
  std::vector<runtime::Image> images;
  std::string network_problem;  // Not empty: pods on the pod network cannot run.
  Clock::WallTime now;
};

// What is registered: labels, taints, pod ranges and the first status.
nlohmann::json node_document(const NodeInput& input);
// The status: `old` gives the conditions' times and what others wrote.
nlohmann::json node_status(const NodeInput& input, api::Value old);
// Whether two statuses differ in more than heartbeat times.
bool status_changed(const nlohmann::json& before, const nlohmann::json& after);
// Puts labels that are the kubelet's own on a Node that lacks them. True when something changed.
bool fix_labels(const NodeInput& input, nlohmann::json& node);

}  // namespace kubernel::kubelet
