// SPDX-License-Identifier: Apache-2.0
// A component that needs a service of another plugin.
#include <memory>

#include <kubernel/plugin/component.h>
#include <kubernel/plugin/plugin.h>

KUBERNEL_PLUGIN("thirsty", "1.0.0", "Needs what the plugin well offers.", "component/thirsty") {
  kubernel::plugin::ComponentSpec spec;
  spec.needs = {"water"};
  spec.make =
      [](const kubernel::plugin::ComponentContext&) -> kubernel::Result<std::unique_ptr<kubernel::plugin::Component>> {
    return kubernel::Error(kubernel::Reason::Internal, "must not be made");
  };
  kubernel::plugin::provide(registrar, "thirsty", spec);
  return {};
}
