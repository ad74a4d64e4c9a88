// SPDX-License-Identifier: Apache-2.0
//
// fieldRef and resourceFieldRef: what a pod may be told about itself, in variables and in downward API files.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/api/quantity.h>
#include <kubernel/base/result.h>

namespace kubernel::kubelet {

// What the pod object does not say (yet) but the kubelet knows.
struct PodFacts {
  std::string node_name;
  std::vector<std::string> host_ips;
  std::vector<std::string> pod_ips;                                        // Empty until the sandbox has its network.
  api::Quantity allocatable_cpu, allocatable_memory, allocatable_storage;  // What "no limit" means.
};

// "metadata.name", "metadata.labels['x']", "metadata.annotations" (all, as files have them), "status.podIP", ….
// Errors: Invalid for a path that is not supported.
Result<std::string> field_value(const api::Object& pod, std::string_view path, const PodFacts& facts);

// "limits.cpu" and the like, divided by `divisor` and rounded up. `container` empty: `default_container`.
// Errors: Invalid for an unknown resource or container.
Result<std::string> resource_field_value(const api::Object& pod, std::string_view container, std::string_view resource,
                                         api::Value divisor, const PodFacts& facts);

}  // namespace kubernel::kubelet
