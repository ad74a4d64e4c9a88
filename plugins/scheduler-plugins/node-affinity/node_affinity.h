// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// PreFilter, Filter: spec.nodeSelector and required node affinity. Score: preferred node affinity.
Result<std::unique_ptr<scheduler::Plugin>> make_node_affinity(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
