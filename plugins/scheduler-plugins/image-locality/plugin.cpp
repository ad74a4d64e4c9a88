// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "image_locality.h"

KUBERNEL_PLUGIN("image-locality", "0.1.0", "Prefers nodes that already have the pod's images.",
                "scheduler/ImageLocality") {
  kubernel::plugin::provide(registrar, "ImageLocality",
                            kubernel::scheduler::PluginSpec{.make = kubernel::plugins::make_image_locality});
  return {};
}
