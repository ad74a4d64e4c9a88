// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "candidates.h"

namespace kubernel::plugins {

// Deletes the victims with the condition that says why, and takes back nominations of less important pods for the node.
// `before_last` is called when only one victim is left. Returns whether that one existed, so that its going will be
// heard of. Errors: of the first victim that could not be deleted; the others are then left alone.
Result<bool> evict(const CallContext& ctx, const scheduler::PluginContext& context, const scheduler::PodInfo& preemptor,
                   const Candidate& chosen, const std::function<void()>& before_last);

}  // namespace kubernel::plugins
