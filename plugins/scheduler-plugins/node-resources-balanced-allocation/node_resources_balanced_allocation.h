// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// Score: the smaller the spread between the used fractions of the resources, the better.
Result<std::unique_ptr<scheduler::Plugin>> make_node_resources_balanced_allocation(
    const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
