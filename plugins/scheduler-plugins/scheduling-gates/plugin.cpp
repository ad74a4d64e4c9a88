// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "scheduling_gates.h"

KUBERNEL_PLUGIN("scheduling-gates", "0.1.0", "Leaves pods alone until their scheduling gates are removed.",
                "scheduler/SchedulingGates") {
  kubernel::plugin::provide(registrar, "SchedulingGates",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_scheduling_gates});
  return {};
}
