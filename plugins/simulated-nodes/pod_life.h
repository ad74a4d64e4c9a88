// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/api/object.h>
#include <kubernel/base/clock.h>

namespace kubernel::plugins {

// What a kubelet would report of a pod it never ran.
enum class PodStage : std::uint8_t { Pending, Running, Completed };

PodStage stage_of(const api::Object& pod);
// A pod that ends by itself: Job pods and the like.
bool runs_to_completion(const api::Object& pod);

// The pod with the status of that stage. `ip` is used when it has none yet.
nlohmann::json with_stage(const api::Object& pod, PodStage stage, const std::string& ip, Clock::WallTime now);

}  // namespace kubernel::plugins
