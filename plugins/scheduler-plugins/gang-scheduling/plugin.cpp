// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "gang_scheduling.h"

KUBERNEL_PLUGIN("gang-scheduling", "0.1.0", "Binds all pods of a group, or none.", "scheduler/GangScheduling") {
  kubernel::plugin::provide(registrar, "GangScheduling",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_gang_scheduling});
  return {};
}
