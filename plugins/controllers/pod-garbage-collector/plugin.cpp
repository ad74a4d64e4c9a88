// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "pod_garbage_collector.h"

KUBERNEL_PLUGIN("pod-garbage-collector", "0.1.0", "Removes pods that nobody else will.",
                "controller/pod-garbage-collector") {
  kubernel::plugin::provide(
      registrar, "pod-garbage-collector",
      kubernel::controller::Spec{.service_account = "pod-garbage-collector",
                                 .workers = 2,
                                 .make = kubernel::plugins::pod_garbage_collector::make_reconciler});
  return {};
}
