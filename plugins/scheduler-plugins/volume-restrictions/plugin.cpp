// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "volume_restrictions.h"

KUBERNEL_PLUGIN("volume-restrictions", "0.1.0", "Keeps pods apart that want the same disk or the same exclusive claim.",
                "scheduler/VolumeRestrictions") {
  kubernel::plugin::provide(registrar, "VolumeRestrictions",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_volume_restrictions});
  return {};
}
