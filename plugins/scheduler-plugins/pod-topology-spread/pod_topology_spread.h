// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// PreFilter, Filter: topologySpreadConstraints that forbid. PreScore, Score: those that prefer, and the defaults.
Result<std::unique_ptr<scheduler::Plugin>> make_pod_topology_spread(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
