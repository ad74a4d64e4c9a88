// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include <kubernel/client/client.h>

#include "api_client.h"

KUBERNEL_PLUGIN("api-client", "0.1.0", "Reaches an API server over HTTPS.", "component/api-client") {
  kubernel::plugin::provide(
      registrar, "api-client",
      kubernel::plugin::ComponentSpec{.group = kubernel::plugin::Group::Server,
                                      .offers = {std::string(kubernel::client::Connector::kService)},
                                      .make = kubernel::plugins::api_client::make_component});
  return {};
}
