// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// Filter: NoSchedule and NoExecute taints. Score: the fewer untolerated PreferNoSchedule taints the better.
Result<std::unique_ptr<scheduler::Plugin>> make_taint_toleration(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
