// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// PreEnqueue: spec.schedulingGates.
Result<std::unique_ptr<scheduler::Plugin>> make_scheduling_gates(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
