// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// PostFilter: evicts pods of lower priority.
Result<std::unique_ptr<scheduler::Plugin>> make_default_preemption(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
