// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "volume_zone.h"

KUBERNEL_PLUGIN("volume-zone", "0.1.0", "Keeps pods in the zones of their bound volumes.", "scheduler/VolumeZone") {
  kubernel::plugin::provide(registrar, "VolumeZone",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_volume_zone});
  return {};
}
