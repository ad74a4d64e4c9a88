// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "replicaset.h"

KUBERNEL_PLUGIN("replicaset", "0.1.0", "Keeps the asked-for number of pods alive.", "controller/replicaset") {
  kubernel::plugin::provide(registrar, "replicaset",
                            kubernel::controller::Spec{.service_account = "replicaset-controller",
                                                       .workers = 5,
                                                       .make = kubernel::plugins::replicaset::make_reconciler});
  return {};
}
