// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// PreFilter, Filter: required pod affinity and anti-affinity, of the pod and of those that run. PreScore, Score: the
// preferred ones.
Result<std::unique_ptr<scheduler::Plugin>> make_inter_pod_affinity(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
