// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "taint_toleration.h"

KUBERNEL_PLUGIN("taint-toleration", "0.1.0", "Keeps pods away from nodes whose taints they do not tolerate.",
                "scheduler/TaintToleration") {
  kubernel::plugin::provide(
      registrar, "TaintToleration",
      kubernel::scheduler::PluginSpec{.weight = 3, .make = kubernel::plugins::make_taint_toleration});
  return {};
}
