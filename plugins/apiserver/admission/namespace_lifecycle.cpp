// SPDX-License-Identifier: Apache-2.0
#include "admission/builtin.h"
#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

class NamespaceLifecycle final : public admission::Admission {
 public:
  explicit NamespaceLifecycle(const Api& api) : api_(api), info_(*api.find("", "v1", "namespaces")) {}

  bool handles(admission::Operation operation, const api::Resource& resource,
               std::string_view subresource) const override {
    if (operation == admission::Operation::Create) return subresource.empty();
    return operation == admission::Operation::Delete && resource == api::resources::kNamespaces && subresource.empty();
  }

  // The first step of all looks at everything that was written before the request came; the later ones need not wait
  // for that again.
  Result<void> mutate(const CallContext& ctx, admission::Request& request) override { return check(ctx, request, ""); }
  Result<void> validate(const CallContext& ctx, const admission::Request& request) override {
    return check(ctx, request, kCached);
  }

 private:
  Result<void> check(const CallContext& ctx, const admission::Request& request,
                     std::string_view resource_version) const {
    if (request.operation == admission::Operation::Delete) {
      const std::string& name = request.key.name;
      if (name == "default" || name == "kube-system" || name == "kube-public") {
        return forbidden(info_, name, "this namespace may not be deleted");
      }
      return {};
    }
    if (request.key.ns.empty() || request.resource == api::resources::kNamespaces) return {};
    KUBERNEL_TRY(const api::Object ns, api_.store(info_)->get(ctx, {"", request.key.ns}, resource_version));
    if (!ns.head().deleting) return {};
    const schema::ResourceInfo* about =
        schema::find_resource(request.resource.group, request.resource.version, request.resource.plural);
    Error refused =
        forbidden(*about, request.key.name,
                  "unable to create new content in namespace " + request.key.ns + " because it is being terminated");
    ErrorDetails details = *refused.details();
    details.causes.push_back(
        {"NamespaceTerminating", "namespace " + request.key.ns + " is being terminated", "metadata.namespace"});
    return Error(Reason::Forbidden, refused.message(), std::move(details));
  }

  const Api& api_;
  const schema::ResourceInfo& info_;
};

}  // namespace

std::unique_ptr<admission::Admission> make_namespace_lifecycle(const Api& api) {
  return std::make_unique<NamespaceLifecycle>(api);
}

void add_admission(Api& api, std::vector<std::unique_ptr<admission::Admission>> plugins) {
  api.add_admission(make_namespace_lifecycle(api));
  api.add_admission(make_limit_ranger(api));
  api.add_admission(make_service_account_admission(api));
  api.add_admission(make_node_taint());
  api.add_admission(make_priority(api));
  api.add_admission(make_default_tolerations());
  api.add_admission(make_runtime_class(api));
  api.add_admission(make_signing_requests(api));
  api.add_admission(make_default_ingress_class(api));
  api.add_admission(make_default_storage_class(api));
  api.add_admission(make_claim_resize(api));
  for (auto& plugin : plugins) api.add_admission(std::move(plugin));
  api.add_admission(make_resource_quota(api));
}

}  // namespace kubernel::apiserver
