// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "default_preemption.h"

KUBERNEL_PLUGIN("default-preemption", "0.1.0", "Makes room for a pod by evicting pods of lower priority.",
                "scheduler/DefaultPreemption") {
  kubernel::plugin::provide(registrar, "DefaultPreemption",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_default_preemption});
  return {};
}
