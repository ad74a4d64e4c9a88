// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "default_binder.h"

KUBERNEL_PLUGIN("default-binder", "0.1.0", "Binds pods through the API.", "scheduler/DefaultBinder") {
  kubernel::plugin::provide(registrar, "DefaultBinder",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_default_binder});
  return {};
}
