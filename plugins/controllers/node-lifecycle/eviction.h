// SPDX-License-Identifier: Apache-2.0
//
// When a pod has to leave because of its node's NoExecute taints.

#pragma once

#include <functional>
#include <optional>

#include <kubernel/api/object.h>
#include <kubernel/base/clock.h>

namespace kubernel::plugins::node_lifecycle {

// True when the toleration covers the taint.
bool tolerates(api::Value toleration, api::Value taint);

// Absent: the pod may stay for ever. A time in the past: at once. `since` says when a taint was first seen that tells
// no time itself.
std::optional<Clock::WallTime> leaves_at(const api::Object& pod, const api::Object& node,
                                         const std::function<Clock::WallTime(api::Value taint)>& since);

}  // namespace kubernel::plugins::node_lifecycle
