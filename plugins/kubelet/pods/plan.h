// SPDX-License-Identifier: Apache-2.0
//
// plan_pod(): from what a pod asks for and what runs, what to do next. Pure: it changes nothing and reads no clock.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <kubernel/api/object.h>

#include "pods/runtime_cache.h"
#include "pods/spec.h"

namespace kubernel::kubelet {

// What probes and hooks say about one running container.
struct ContainerHealth {
  bool started = true;  // Its startup probe (when it has one) and its postStart hook are through.
  bool liveness_failed = false;
  bool startup_failed = false;
};

struct PlanInput {
  const api::Object& pod;
  const PodRuntime& runtime;
  std::function<ContainerHealth(const runtime::ContainerStatus& container)> health;
};

struct Plan {
  struct Start {
    ContainerSpec container;
    std::uint32_t attempt = 0;                       // The restart count it will have.
    const runtime::ContainerStatus* last = nullptr;  // The one it replaces, exited; for the back-off.
  };
  struct Kill {
    const runtime::ContainerStatus* container = nullptr;
    std::string message;  // For the event: "Container app failed liveness probe, will be restarted".
  };

  bool new_sandbox = false;  // Stop the old one, if any, and make one with `sandbox_attempt`.
  std::uint32_t sandbox_attempt = 0;
  std::vector<Start> start;  // In order.
  std::vector<Kill> kill;
  bool initialized = false;  // All init containers are through.
  bool finished = false;     // Nothing of this pod will ever run again: every container ended for good, or an init
                             // container failed for good.
};

Plan plan_pod(const PlanInput& input);

// The restart count a new container of that name gets.
std::uint32_t next_attempt(const api::Object& pod, const PodRuntime& runtime, std::string_view name);

// Whether a container that ended so is started again.
bool restarts(RestartPolicy policy, const runtime::ContainerStatus& exited);

}  // namespace kubernel::kubelet
