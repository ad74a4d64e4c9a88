// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// PreEnqueue, PreFilter, Permit, Reserve: all pods of a group or none.
Result<std::unique_ptr<scheduler::Plugin>> make_gang_scheduling(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
