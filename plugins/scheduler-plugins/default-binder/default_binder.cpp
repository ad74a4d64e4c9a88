// SPDX-License-Identifier: Apache-2.0

#include "default_binder.h"

#include <nlohmann/json.hpp>

namespace kubernel::plugins {
namespace {

using namespace scheduler;

class DefaultBinder final : public Plugin, public Bind {
 public:
  explicit DefaultBinder(client::ApiClient& api) : api_(api) {}

  Result<Verdict> bind(const CallContext& ctx, const Cycle& cycle, std::string_view node) override {
    const PodInfo& pod = *cycle.pod;
    const nlohmann::json binding = {
        {"apiVersion", "v1"},
        {"kind", "Binding"},
        {"metadata", {{"namespace", pod.key().ns}, {"name", pod.key().name}, {"uid", pod.uid()}}},
        {"target", {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node}}},
    };
    auto bound = api_.create(ctx, api::resources::kPods, pod.key(), binding, {.subresource = "binding"});
    if (!bound) return std::move(bound).error();
    return Verdict::fits();
  }

  std::vector<EventInterest> retry_on() const override { return {}; }

 private:
  client::ApiClient& api_;
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_default_binder(const PluginContext& context) {
  return std::make_unique<DefaultBinder>(context.api);
}

}  // namespace kubernel::plugins
