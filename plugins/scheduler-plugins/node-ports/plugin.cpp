// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "node_ports.h"

KUBERNEL_PLUGIN("node-ports", "0.1.0", "Keeps pods apart that want the same host port.", "scheduler/NodePorts") {
  kubernel::plugin::provide(registrar, "NodePorts",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_node_ports});
  return {};
}
