// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>
#include <kubernel/runtime/container_runtime.h>

#include "open.h"

KUBERNEL_PLUGIN("oci", "0.1.0", "Runs containers with runc or crun and keeps images, without a daemon.",
                "runtime/oci") {
  kubernel::plugin::provide(registrar, "oci", kubernel::runtime::RuntimeSpec{&kubernel::runtime::oci::open_runtime});
  return {};
}
