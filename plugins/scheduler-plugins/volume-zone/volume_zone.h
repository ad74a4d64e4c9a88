// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// PreFilter, Filter: zone and region labels of the pod's bound volumes.
Result<std::unique_ptr<scheduler::Plugin>> make_volume_zone(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
