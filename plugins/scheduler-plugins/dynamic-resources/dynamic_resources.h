// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// PreEnqueue, PreFilter, Filter, PostFilter, Reserve, PreBind: the devices of a pod's ResourceClaims.
Result<std::unique_ptr<scheduler::Plugin>> make_dynamic_resources(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
