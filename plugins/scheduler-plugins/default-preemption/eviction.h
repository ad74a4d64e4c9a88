// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "candidates.h"
#include "preempting.h"

namespace kubernel::plugins {

// Deletes the victims that are not being deleted already, with the condition that says why, and takes back nominations
// of less important pods for the node. `preempting` learns what has been done. Errors: of the first victim that could
// not be deleted; the others are then left alone.
Result<void> evict(const CallContext& ctx, const scheduler::PluginContext& context, const scheduler::PodInfo& preemptor,
                   const Candidate& chosen, Preempting& preempting);

}  // namespace kubernel::plugins
