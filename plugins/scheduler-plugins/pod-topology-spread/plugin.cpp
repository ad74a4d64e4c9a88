// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "pod_topology_spread.h"

KUBERNEL_PLUGIN("pod-topology-spread", "0.1.0", "Spreads pods over zones, hosts and other domains.",
                "scheduler/PodTopologySpread") {
  kubernel::plugin::provide(
      registrar, "PodTopologySpread",
      kubernel::scheduler::PluginSpec{.weight = 2, .make = kubernel::plugins::make_pod_topology_spread});
  return {};
}
