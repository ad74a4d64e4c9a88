// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// Filter: allocatable minus requested. Score: scoringStrategy LeastAllocated, MostAllocated or
// RequestedToCapacityRatio.
Result<std::unique_ptr<scheduler::Plugin>> make_node_resources_fit(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
