// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "simulated_nodes.h"

KUBERNEL_PLUGIN("simulated-nodes", "0.1.0",
                "Nodes without machines: they stay Ready and their pods run, without processes.",
                "component/simulated-nodes") {
  kubernel::plugin::provide(
      registrar, "simulated-nodes",
      kubernel::plugin::ComponentSpec{
          .group = kubernel::plugin::Group::Node, .needs = {"api"}, .make = kubernel::plugins::make_simulated_nodes});
  return {};
}
