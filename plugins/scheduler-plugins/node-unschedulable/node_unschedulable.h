// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// Filter: spec.unschedulable, unless the pod tolerates node.kubernetes.io/unschedulable.
Result<std::unique_ptr<scheduler::Plugin>> make_node_unschedulable(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
