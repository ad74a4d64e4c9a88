// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "priority_sort.h"

KUBERNEL_PLUGIN("priority-sort", "0.1.0", "Schedules pods of higher priority first.", "scheduler/PrioritySort") {
  kubernel::plugin::provide(registrar, "PrioritySort",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_priority_sort});
  return {};
}
