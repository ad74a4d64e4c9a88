// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "garbage_collector.h"

KUBERNEL_PLUGIN("garbage-collector", "0.1.0", "Deletes what nobody owns any more.", "controller/garbage-collector") {
  kubernel::plugin::provide(registrar, "garbage-collector",
                            kubernel::controller::Spec{.service_account = "generic-garbage-collector",
                                                       .workers = 5,
                                                       .make = kubernel::plugins::garbage_collector::make_reconciler});
  return {};
}
