// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "node_affinity.h"

KUBERNEL_PLUGIN("node-affinity", "0.1.0", "Matches nodes by node selector and node affinity.",
                "scheduler/NodeAffinity") {
  kubernel::plugin::provide(
      registrar, "NodeAffinity",
      kubernel::scheduler::PluginSpec{.weight = 2, .make = kubernel::plugins::make_node_affinity});
  return {};
}
