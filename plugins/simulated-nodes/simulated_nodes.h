// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/plugin/component.h>

namespace kubernel::plugins {

Result<std::unique_ptr<plugin::Component>> make_simulated_nodes(const plugin::ComponentContext& context);

}  // namespace kubernel::plugins
