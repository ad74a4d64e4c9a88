// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// Filter: host ports that a pod of the node already has.
Result<std::unique_ptr<scheduler::Plugin>> make_node_ports(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
