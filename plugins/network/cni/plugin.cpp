// SPDX-License-Identifier: Apache-2.0
#include <kubernel/network/pod_network.h>
#include <kubernel/plugin/plugin.h>

#include "cni_network.h"

KUBERNEL_PLUGIN("cni", "0.1.0", "Gives pods their network by CNI plugins: a bridge on each node, routes between nodes.",
                "network/cni") {
  kubernel::plugin::provide(registrar, "cni", kubernel::network::NetworkSpec{&kubernel::network::cni::open_network});
  return {};
}
