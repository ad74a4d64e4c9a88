// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "root_ca_publisher.h"

KUBERNEL_PLUGIN("root-ca-publisher", "0.1.0", "Publishes the cluster's CA in every namespace.",
                "controller/root-ca-publisher") {
  kubernel::plugin::provide(registrar, "root-ca-publisher",
                            kubernel::controller::Spec{.service_account = "root-ca-cert-publisher",
                                                       .workers = 1,
                                                       .make = kubernel::plugins::root_ca_publisher::make_reconciler});
  return {};
}
