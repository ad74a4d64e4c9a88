// SPDX-License-Identifier: Apache-2.0
// A component that does nothing until it is stopped; with "stubborn", its stop() never returns.
#define KUBERNEL_PLUGIN_SCHEMA                                          \
  R"({"type": "object", "additionalProperties": false, "properties": )" \
  R"({"stubborn": {"type": "boolean", "default": false}, "fail": {"type": "string"}}})"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include <kubernel/plugin/component.h>
#include <kubernel/plugin/plugin.h>

namespace {

class Sleeper final : public kubernel::plugin::Component {
 public:
  explicit Sleeper(const kubernel::plugin::ComponentContext& context) : context_(context) {}

  kubernel::Result<void> start(const kubernel::CallContext&) override {
    if (context_.config_json.find("\"fail\"") != std::string::npos) {
      return kubernel::Error(kubernel::Reason::Invalid, "told to fail");
    }
    log_info(context_.log, "sleeping", {{"config", context_.config_json}});
    return {};
  }

  void stop(const kubernel::CallContext&) override {
    if (context_.config_json.find("\"stubborn\":true") == std::string::npos) return;
    std::unique_lock lock(mutex_);
    never_.wait(lock, [] { return false; });
  }

  std::string problem() const override { return ""; }

 private:
  const kubernel::plugin::ComponentContext& context_;
  std::mutex mutex_;
  std::condition_variable never_;
};

}  // namespace

KUBERNEL_PLUGIN("sleeper", "1.0.0", "Sleeps until it is stopped.", "component/sleeper") {
  kubernel::plugin::ComponentSpec spec;
  spec.make = [](const kubernel::plugin::ComponentContext& context)
      -> kubernel::Result<std::unique_ptr<kubernel::plugin::Component>> { return std::make_unique<Sleeper>(context); };
  kubernel::plugin::provide(registrar, "sleeper", spec);
  return {};
}
