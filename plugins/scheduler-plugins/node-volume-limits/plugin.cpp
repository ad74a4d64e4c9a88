// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "node_volume_limits.h"

KUBERNEL_PLUGIN("node-volume-limits", "0.1.0", "Keeps the volumes of a node within what its CSI drivers can attach.",
                "scheduler/NodeVolumeLimits") {
  kubernel::plugin::provide(registrar, "NodeVolumeLimits",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_node_volume_limits});
  return {};
}
