// SPDX-License-Identifier: Apache-2.0
//
// The controller manager: gives every loaded controller an identity, informers, a queue and a runner.

#pragma once

#include <memory>

#include <kubernel/plugin/component.h>

namespace kubernel::plugins::controller_manager {

Result<std::unique_ptr<plugin::Component>> make_component(const plugin::ComponentContext& context);

}  // namespace kubernel::plugins::controller_manager
