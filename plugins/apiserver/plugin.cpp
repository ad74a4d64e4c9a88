// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include <kubernel/client/client.h>
#include <kubernel/net/paths.h>
#include <kubernel/storage/store.h>

#include "component.h"

KUBERNEL_PLUGIN("apiserver", "0.1.0", "Serves the Kubernetes API from the loaded storage backend.",
                "component/apiserver") {
  kubernel::plugin::provide(
      registrar, "apiserver",
      kubernel::plugin::ComponentSpec{
          .group = kubernel::plugin::Group::Server,
          .offers = {std::string(kubernel::client::Connector::kService), std::string(kubernel::net::Paths::kService),
                     std::string(kubernel::storage::Store::kService)},
          .make = kubernel::apiserver::make_component});
  return {};
}
