// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include <kubernel/storage/store.h>

#include "component.h"

KUBERNEL_PLUGIN("etcd-server", "0.1.0", "Serves the loaded storage backend over etcd's v3 API.",
                "component/etcd-server") {
  kubernel::plugin::provide(registrar, "etcd-server",
                            kubernel::plugin::ComponentSpec{.group = kubernel::plugin::Group::Server,
                                                            .wants = {std::string(kubernel::storage::Store::kService)},
                                                            .make = kubernel::etcd_server::make_component});
  return {};
}
