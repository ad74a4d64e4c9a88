// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "namespace.h"

KUBERNEL_PLUGIN("namespace", "0.1.0", "Empties namespaces that are being deleted.", "controller/namespace") {
  kubernel::plugin::provide(registrar, "namespace",
                            kubernel::controller::Spec{.service_account = "namespace-controller",
                                                       .workers = 5,
                                                       .make = kubernel::plugins::namespaces::make_reconciler});
  return {};
}
