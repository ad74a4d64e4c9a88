// SPDX-License-Identifier: Apache-2.0
//
// From requests and limits to what the kernel is told.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <kubernel/api/object.h>
#include <kubernel/runtime/container_runtime.h>

#include "pods/spec.h"

namespace kubernel::kubelet {

// cpu.shares for a request in millicores: 1024 a core, at least 2.
std::int64_t cpu_shares(std::int64_t milli);
// cfs quota for a limit in millicores over a 100 ms period, at least 1 ms; 0 without a limit.
std::int64_t cpu_quota(std::int64_t milli);

// Upstream's: Guaranteed -997, BestEffort 1000, Burstable by the share of the node's memory it asks for.
// `lowest` is what this process may set at the least: without CAP_SYS_RESOURCE an adjustment can only be raised.
std::int64_t oom_score_adj(const api::Object& pod, const ContainerSpec& container, std::int64_t node_memory_bytes,
                           std::int64_t lowest);

runtime::Resources container_resources(const api::Object& pod, const ContainerSpec& container,
                                       std::int64_t node_memory_bytes, std::int64_t lowest_oom_score_adj);

// What bounds the pod as a whole: the sum of its containers, or the largest init container when that is more. A limit
// only when every container has one.
runtime::Resources pod_resources(const api::Object& pod);

// "/kubepods/pod<uid>", "/kubepods/burstable/pod<uid>", "/kubepods/besteffort/pod<uid>", below `root` ("" or "/x").
std::string pod_cgroup(const api::Object& pod, std::string_view root);

}  // namespace kubernel::kubelet
