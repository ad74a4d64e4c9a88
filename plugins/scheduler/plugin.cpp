// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "component.h"

KUBERNEL_PLUGIN("scheduler", "0.1.0", "Gives pending pods a node, as the loaded scheduler plugins decide.",
                "component/scheduler") {
  kubernel::plugin::provide(registrar, "scheduler",
                            kubernel::plugin::ComponentSpec{.group = kubernel::plugin::Group::Control,
                                                            .needs = {"api"},
                                                            .wants = {"paths"},
                                                            .make = kubernel::plugins::make_scheduler_component});
  return {};
}
