// SPDX-License-Identifier: Apache-2.0
//
// compute_status(): a pod's status from what is observed. Pure.

#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/api/object.h>
#include <kubernel/base/clock.h>

#include "pods/runtime_cache.h"
#include "pods/spec.h"

namespace kubernel::kubelet {

// What is known about a container beside what the runtime says.
struct ContainerFacts {
  std::string waiting_reason;  // "ErrImagePull", "CrashLoopBackOff", …; empty: the usual one for its place.
  std::string waiting_message;
  bool ready = true;        // Its readiness probe's verdict while it runs.
  bool started = true;      // Its startup probe's and postStart hook's.
  bool restarting = false;  // It ended, and will be started again: shown as waiting.
};

struct StatusInput {
  const api::Object& pod;  // With the status as it was last seen.
  const PodRuntime& runtime;
  const std::map<std::string, ContainerFacts>& containers;
  std::string runtime_name;  // "oci": the scheme of container ids.
  std::vector<std::string> pod_ips, host_ips;
  bool terminated = false;   // Everything has ended and nothing will be started again.
  bool initialized = false;  // Plan::initialized of a pod that is being run.
  bool deleting = false;
  std::string forced_phase;     // "Failed" for a pod the kubelet ended or refused.
  std::string reason, message;  // "DeadlineExceeded", ….
  Clock::WallTime now;
};

// The whole status. Fields and conditions that are others' (nominatedNodeName, PodScheduled, readiness gates) are kept
// as they are.
nlohmann::json compute_status(const StatusInput& input);

}  // namespace kubernel::kubelet
