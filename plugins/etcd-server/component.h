// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/plugin/component.h>

namespace kubernel::etcd_server {

/// Errors: Invalid for unusable settings.
Result<std::unique_ptr<plugin::Component>> make_component(const plugin::ComponentContext& context);

}  // namespace kubernel::etcd_server
