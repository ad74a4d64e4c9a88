// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "endpointslice.h"

KUBERNEL_PLUGIN("endpointslice", "0.1.0", "Keeps the endpoint slices of services with a selector.",
                "controller/endpointslice") {
  kubernel::plugin::provide(registrar, "endpointslice",
                            kubernel::controller::Spec{.service_account = "endpointslice-controller",
                                                       .workers = 5,
                                                       .make = kubernel::plugins::endpointslice::make_reconciler});
  return {};
}
