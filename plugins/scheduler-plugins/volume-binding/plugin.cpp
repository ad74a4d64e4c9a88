// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "volume_binding.h"

KUBERNEL_PLUGIN("volume-binding", "0.1.0", "Finds or has made the volumes of a pod's claims, and waits for them.",
                "scheduler/VolumeBinding") {
  kubernel::plugin::provide(registrar, "VolumeBinding",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_volume_binding});
  return {};
}
