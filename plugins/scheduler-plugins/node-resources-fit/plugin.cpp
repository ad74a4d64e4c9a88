// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "node_resources_fit.h"

KUBERNEL_PLUGIN("node-resources-fit", "0.1.0",
                "Fits pods into what nodes have left, and scores nodes by how full they are.",
                "scheduler/NodeResourcesFit") {
  kubernel::plugin::provide(registrar, "NodeResourcesFit",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_node_resources_fit});
  return {};
}
