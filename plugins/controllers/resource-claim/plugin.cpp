// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "resource_claim.h"

KUBERNEL_PLUGIN("resource-claim", "0.1.0", "Makes ResourceClaims from templates and ends their use with their pods.",
                "controller/resource-claim") {
  kubernel::plugin::provide(registrar, "resource-claim",
                            kubernel::controller::Spec{.service_account = "resource-claim-controller",
                                                       .workers = 5,
                                                       .make = kubernel::plugins::resource_claim::make_reconciler});
  return {};
}
