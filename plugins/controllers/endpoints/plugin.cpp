// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "endpoints.h"

KUBERNEL_PLUGIN("endpoints", "0.1.0", "Keeps the Endpoints of services with a selector.", "controller/endpoints") {
  kubernel::plugin::provide(registrar, "endpoints",
                            kubernel::controller::Spec{.service_account = "endpoint-controller",
                                                       .workers = 5,
                                                       .make = kubernel::plugins::endpoints::make_reconciler});
  return {};
}
