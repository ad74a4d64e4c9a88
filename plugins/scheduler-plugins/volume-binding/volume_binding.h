// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// PreFilter, Filter, PreScore, Score, Reserve, PreBind: the pod's claims and the volumes they are or will be bound to.
Result<std::unique_ptr<scheduler::Plugin>> make_volume_binding(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
