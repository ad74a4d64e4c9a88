// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "simulated_network.h"
#include "simulated_runtime.h"

KUBERNEL_PLUGIN("simulated", "0.1.0", "Plays the life of containers without processes, and gives pods addresses.",
                "runtime/simulated network/simulated") {
  namespace simulated = kubernel::runtime::simulated;
  kubernel::plugin::provide(registrar, "simulated", kubernel::runtime::RuntimeSpec{&simulated::open_runtime});
  kubernel::plugin::provide(registrar, "simulated", kubernel::network::NetworkSpec{&simulated::open_network});
  return {};
}
