// SPDX-License-Identifier: Apache-2.0
// A component that needs a service nobody offers.
#include <memory>

#include <kubernel/plugin/component.h>
#include <kubernel/plugin/plugin.h>

KUBERNEL_PLUGIN("needy", "1.0.0", "Needs what nobody offers.", "component/needy") {
  kubernel::plugin::ComponentSpec spec;
  spec.needs = {"unobtainium"};
  spec.make =
      [](const kubernel::plugin::ComponentContext&) -> kubernel::Result<std::unique_ptr<kubernel::plugin::Component>> {
    return kubernel::Error(kubernel::Reason::Internal, "must not be made");
  };
  kubernel::plugin::provide(registrar, "needy", spec);
  return {};
}
