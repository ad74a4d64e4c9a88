// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "deployment.h"

KUBERNEL_PLUGIN("deployment", "0.1.0", "Rolls out new versions by way of replica sets.", "controller/deployment") {
  kubernel::plugin::provide(registrar, "deployment",
                            kubernel::controller::Spec{.service_account = "deployment-controller",
                                                       .workers = 5,
                                                       .make = kubernel::plugins::deployment::make_reconciler});
  return {};
}
