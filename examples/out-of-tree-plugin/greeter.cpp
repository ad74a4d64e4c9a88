// SPDX-License-Identifier: Apache-2.0
//
// A plugin of one's own: a component that greets when it starts, and counts its greetings.

#include <memory>
#include <string>

#include <kubernel/plugin/component.h>
#include <kubernel/plugin/plugin.h>
#include <nlohmann/json.hpp>

namespace {

using kubernel::CallContext;
using kubernel::Result;
using kubernel::plugin::Component;
using kubernel::plugin::ComponentContext;

class Greeter final : public Component {
 public:
  Greeter(const ComponentContext& context, std::string greeting)
      : context_(context),
        greeting_(std::move(greeting)),
        greetings_(context.metrics.counter("greeter_greetings_total", "Greetings said.", {})) {}

  Result<void> start(const CallContext&) override {
    log_info(context_.log, greeting_);
    greetings_.add(1);
    return {};
  }

  void stop(const CallContext&) override { log_info(context_.log, "goodbye"); }

  std::string problem() const override { return ""; }

 private:
  const ComponentContext& context_;
  const std::string greeting_;
  kubernel::Counter& greetings_;
};

Result<std::unique_ptr<Component>> make_greeter(const ComponentContext& context) {
  // Checked against the schema before any code of this plugin ran, so nothing can be missing here.
  const auto config = nlohmann::json::parse(context.config_json);
  return std::make_unique<Greeter>(context, config.at("greeting").get<std::string>());
}

}  // namespace

KUBERNEL_PLUGIN("greeter", "1.0.0", "Says hello when the process starts.", "component/greeter") {
  kubernel::plugin::ComponentSpec spec;
  spec.group = kubernel::plugin::Group::Node;  // Started last.
  spec.make = make_greeter;
  kubernel::plugin::provide(registrar, "greeter", spec);
  return {};
}
