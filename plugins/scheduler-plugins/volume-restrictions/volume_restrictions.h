// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// PreFilter, Filter: disks that only one pod of a node may mount, and claims that only one pod may use.
Result<std::unique_ptr<scheduler::Plugin>> make_volume_restrictions(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
