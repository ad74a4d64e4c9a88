// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// Bind: creates the pods/binding subresource.
Result<std::unique_ptr<scheduler::Plugin>> make_default_binder(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
