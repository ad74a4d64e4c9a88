// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include <kubernel/client/client.h>

#include "controller_manager.h"

KUBERNEL_PLUGIN("controller-manager", "0.1.0", "Runs the loaded controllers.", "component/controller-manager") {
  kubernel::plugin::provide(
      registrar, "controller-manager",
      kubernel::plugin::ComponentSpec{.group = kubernel::plugin::Group::Control,
                                      .needs = {std::string(kubernel::client::Connector::kService)},
                                      .make = kubernel::plugins::controller_manager::make_component});
  return {};
}
