// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "node_unschedulable.h"

KUBERNEL_PLUGIN("node-unschedulable", "0.1.0", "Keeps pods away from cordoned nodes.", "scheduler/NodeUnschedulable") {
  kubernel::plugin::provide(registrar, "NodeUnschedulable",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_node_unschedulable});
  return {};
}
