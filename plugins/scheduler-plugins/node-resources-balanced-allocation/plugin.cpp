// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "node_resources_balanced_allocation.h"

KUBERNEL_PLUGIN("node-resources-balanced-allocation", "0.1.0", "Prefers nodes whose resources would be used evenly.",
                "scheduler/NodeResourcesBalancedAllocation") {
  kubernel::plugin::provide(
      registrar, "NodeResourcesBalancedAllocation",
      kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_node_resources_balanced_allocation});
  return {};
}
