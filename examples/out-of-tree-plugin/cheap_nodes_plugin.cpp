// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "cheap_nodes.h"

KUBERNEL_PLUGIN("cheap-nodes", "1.0.0", "Prefers nodes that cost little, and refuses those that cost too much.",
                "scheduler/CheapNodes") {
  kubernel::plugin::provide(registrar, "CheapNodes",
                            kubernel::scheduler::PluginSpec{.weight = 2, .make = make_cheap_nodes});
  return {};
}
