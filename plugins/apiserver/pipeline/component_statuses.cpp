// SPDX-License-Identifier: Apache-2.0
#include "pipeline/component_statuses.h"

#include <memory>
#include <utility>

namespace kubernel::apiserver {

namespace {

class ComponentStatuses final : public VirtualResource {
 public:
  explicit ComponentStatuses(std::function<std::vector<plugin::Process::Check>()> readiness)
      : readiness_(std::move(readiness)) {}

  Result<std::vector<api::Object>> list(const Caller& caller, const Target&) override {
    if (caller.warnings != nullptr) caller.warnings->push_back("v1 ComponentStatus is deprecated in v1.19+");
    std::vector<api::Object> out;
    for (const plugin::Process::Check& check : readiness_()) {
      const bool good = check.problem.empty();
      json condition = {{"type", "Healthy"}, {"status", good ? "True" : "False"}};
      condition[good ? "message" : "error"] = good ? "ok" : check.problem;
      KUBERNEL_TRY(api::Object one, api::Object::from_json({{"kind", "ComponentStatus"},
                                                            {"apiVersion", "v1"},
                                                            {"metadata", {{"name", check.name}}},
                                                            {"conditions", json::array({std::move(condition)})}}));
      out.push_back(std::move(one));
    }
    return out;
  }

 private:
  std::function<std::vector<plugin::Process::Check>()> readiness_;
};

}  // namespace

void serve_component_statuses(Api& api, std::function<std::vector<plugin::Process::Check>()> readiness) {
  api.serve_virtual("", "componentstatuses", "", std::make_shared<ComponentStatuses>(std::move(readiness)));
}

}  // namespace kubernel::apiserver
