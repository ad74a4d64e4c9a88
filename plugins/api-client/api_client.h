// SPDX-License-Identifier: Apache-2.0
//
// The component that offers client::Connector over HTTPS.

#pragma once

#include <memory>

#include <kubernel/plugin/component.h>

namespace kubernel::plugins::api_client {

Result<std::unique_ptr<plugin::Component>> make_component(const plugin::ComponentContext& context);

}  // namespace kubernel::plugins::api_client
