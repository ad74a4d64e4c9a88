// SPDX-License-Identifier: Apache-2.0
//
// An admission step in a shared object of its own, for admission_plugin_test.py: config maps get a label from its
// configuration, and none may be called "forbidden".
#include <memory>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/admission/admission.h>
#include <kubernel/plugin/plugin.h>

namespace {

using namespace kubernel;  // NOLINT(google-build-using-namespace): a plugin's own file.

class Labels final : public admission::Admission {
 public:
  Labels(client::ApiClient& client, std::string value) : client_(client), value_(std::move(value)) {}

  bool handles(admission::Operation operation, const api::Resource& resource,
               std::string_view subresource) const override {
    return operation == admission::Operation::Create && resource == api::resources::kConfigMaps && subresource.empty();
  }
  Result<void> mutate(const CallContext& ctx, admission::Request& request) override {
    KUBERNEL_TRY(const api::Object ns, client_.get(ctx, api::resources::kNamespaces, {"", request.key.ns}, ""));
    (*request.object)["metadata"]["labels"]["admitted-by"] = value_;
    (*request.object)["metadata"]["labels"]["namespace-uid"] = ns.uid();
    return {};
  }
  Result<void> validate(const CallContext&, const admission::Request& request) override {
    if (request.key.name != "forbidden") return {};
    return Error(Reason::Forbidden, "configmaps \"forbidden\" is forbidden: not by this name");
  }

 private:
  client::ApiClient& client_;
  const std::string value_;
};

Result<std::unique_ptr<admission::Admission>> make(const admission::AdmissionContext& context) {
  auto value = nlohmann::json::parse(context.config_json).at("value").get<std::string>();
  if (value.empty()) return Error(Reason::BadRequest, "value: must not be empty");
  return std::unique_ptr<admission::Admission>(std::make_unique<Labels>(context.client, std::move(value)));
}

}  // namespace

KUBERNEL_PLUGIN("test-admission", "0.1.0", "Labels config maps.", "admission/Labels") {
  plugin::provide(registrar, "Labels", admission::AdmissionSpec{.make = make});
  return {};
}
