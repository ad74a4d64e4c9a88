// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "inter_pod_affinity.h"

KUBERNEL_PLUGIN("inter-pod-affinity", "0.1.0", "Brings pods together and keeps them apart by their affinity terms.",
                "scheduler/InterPodAffinity") {
  kubernel::plugin::provide(
      registrar, "InterPodAffinity",
      kubernel::scheduler::PluginSpec{.weight = 2, .make = kubernel::plugins::make_inter_pod_affinity});
  return {};
}
