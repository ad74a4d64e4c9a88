// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "node_name.h"

KUBERNEL_PLUGIN("node-name", "0.1.0", "Keeps a pod that names its node to that node.", "scheduler/NodeName") {
  kubernel::plugin::provide(registrar, "NodeName",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_node_name});
  return {};
}
