// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "node_lifecycle.h"

KUBERNEL_PLUGIN("node-lifecycle", "0.1.0", "Notices nodes that fail, taints them and evicts their pods.",
                "controller/node-lifecycle") {
  kubernel::plugin::provide(registrar, "node-lifecycle",
                            kubernel::controller::Spec{.service_account = "node-controller",
                                                       .workers = 4,
                                                       .make = kubernel::plugins::node_lifecycle::make_reconciler});
  return {};
}
