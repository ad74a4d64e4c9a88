// SPDX-License-Identifier: Apache-2.0
// A component that offers a service and does nothing else.
#include <memory>
#include <string>
#include <string_view>

#include <kubernel/plugin/component.h>
#include <kubernel/plugin/plugin.h>

namespace {

struct Water {
  static constexpr std::string_view kService = "water";
};

class Well final : public kubernel::plugin::Component {
 public:
  explicit Well(const kubernel::plugin::ComponentContext& context) : context_(context) {}

  kubernel::Result<void> start(const kubernel::CallContext&) override {
    kubernel::plugin::offer(context_.services, std::make_shared<Water>());
    return {};
  }
  void stop(const kubernel::CallContext&) override {}
  std::string problem() const override { return ""; }

 private:
  const kubernel::plugin::ComponentContext& context_;
};

}  // namespace

KUBERNEL_PLUGIN("well", "1.0.0", "Offers water.", "component/well") {
  kubernel::plugin::ComponentSpec spec;
  spec.offers = {std::string(Water::kService)};
  spec.make = [](const kubernel::plugin::ComponentContext& context)
      -> kubernel::Result<std::unique_ptr<kubernel::plugin::Component>> { return std::make_unique<Well>(context); };
  kubernel::plugin::provide(registrar, "well", spec);
  return {};
}
