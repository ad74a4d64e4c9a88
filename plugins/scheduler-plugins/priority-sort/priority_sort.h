// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// QueueSort: higher spec.priority first, then who has waited longer.
Result<std::unique_ptr<scheduler::Plugin>> make_priority_sort(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
