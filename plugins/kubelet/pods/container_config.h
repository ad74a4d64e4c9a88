// SPDX-License-Identifier: Apache-2.0
//
// From a pod's specification to what the runtime is asked for.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/base/result.h>
#include <kubernel/runtime/container_runtime.h>

#include "pods/environment.h"
#include "pods/spec.h"

namespace kubernel::kubelet {

struct SandboxInput {
  const api::Object& pod;
  std::uint32_t attempt = 0;
  std::string log_directory, cgroup_root, cluster_domain;
  std::string network_namespace_path;  // Empty on the host's network.
  std::string network_id;
  std::vector<std::string> pod_ips;
};
runtime::SandboxConfig sandbox_config(const SandboxInput& input);

struct ContainerInput {
  const api::Object& pod;
  const ContainerSpec& container;
  std::uint32_t attempt = 0;
  const runtime::Image& image;
  Environment environment;
  std::vector<runtime::Mount> mounts;
  std::int64_t node_memory_bytes = 0, lowest_oom_score_adj = 0;
  std::vector<std::int64_t> volume_groups;  // Supplemental groups: spec.securityContext.fsGroup.
};
// Errors: Invalid with upstream's message for what can never run: runAsNonRoot with root.
Result<runtime::ContainerConfig> container_config(ContainerInput input);

// Checks runAsNonRoot against the user the container will have.
Result<void> check_non_root(const api::Object& pod, const ContainerSpec& container, const runtime::Image& image);

// "<log directory>/<namespace>_<name>_<uid>".
std::string pod_log_directory(const std::string& root, const api::Object& pod);

}  // namespace kubernel::kubelet
