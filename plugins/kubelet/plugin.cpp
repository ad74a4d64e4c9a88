// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/component.h>
#include <kubernel/plugin/plugin.h>

#include "kubelet.h"

KUBERNEL_PLUGIN("kubelet", "0.1.0", "Runs the pods that are bound to this node.", "component/kubelet") {
  kubernel::plugin::ComponentSpec spec;
  spec.group = kubernel::plugin::Group::Node;
  spec.needs = {"api"};
  spec.make = kubernel::kubelet::make_kubelet;
  kubernel::plugin::provide(registrar, "kubelet", std::move(spec));
  return {};
}
