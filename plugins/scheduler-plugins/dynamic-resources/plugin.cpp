// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "dynamic_resources.h"

KUBERNEL_PLUGIN("dynamic-resources", "0.1.0", "Finds devices for a pod's ResourceClaims and reserves them.",
                "scheduler/DynamicResources") {
  kubernel::plugin::provide(
      registrar, "DynamicResources",
      kubernel::scheduler::PluginSpec{.weight = 2, .make = kubernel::plugins::make_dynamic_resources});
  return {};
}
