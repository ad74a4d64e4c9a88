// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "clusterrole_aggregation.h"

KUBERNEL_PLUGIN("clusterrole-aggregation", "0.1.0", "Gathers the rules of aggregated cluster roles.",
                "controller/clusterrole-aggregation") {
  kubernel::plugin::provide(
      registrar, "clusterrole-aggregation",
      kubernel::controller::Spec{.service_account = "clusterrole-aggregation-controller",
                                 .workers = 1,
                                 .make = kubernel::plugins::clusterrole_aggregation::make_reconciler});
  return {};
}
