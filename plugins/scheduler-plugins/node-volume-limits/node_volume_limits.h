// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// Filter: how many volumes of each CSI driver a node can attach (CSINode).
Result<std::unique_ptr<scheduler::Plugin>> make_node_volume_limits(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
