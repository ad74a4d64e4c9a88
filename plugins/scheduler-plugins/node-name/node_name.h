// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// Filter: spec.nodeName, when set, must be the node.
Result<std::unique_ptr<scheduler::Plugin>> make_node_name(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
