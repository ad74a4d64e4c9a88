// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "admission/builtin.h"
#include "registry/errors.h"
#include "registry/json_util.h"

namespace kubernel::apiserver {

namespace {

constexpr const char* kMountPath = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr const char* kMirror = "kubernetes.io/config.mirror";

bool mounted(const json& container) {
  const json& mounts = member(container, {"volumeMounts"});
  return mounts.is_array() && std::any_of(mounts.begin(), mounts.end(),
                                          [](const json& mount) { return text(mount, {"mountPath"}) == kMountPath; });
}

// The token, the cluster's CA and the namespace; 3607 seconds is what upstream's kubelet knows how to renew.
json token_volume(const std::string& name) {
  return {{"name", name},
          {"projected",
           {{"defaultMode", 420},
            {"sources",
             json::array({json{{"serviceAccountToken", {{"expirationSeconds", 3607}, {"path", "token"}}}},
                          json{{"configMap",
                                {{"name", "kube-root-ca.crt"},
                                 {"items", json::array({json{{"key", "ca.crt"}, {"path", "ca.crt"}}})}}}},
                          json{{"downwardAPI",
                                {{"items", json::array({json{{"path", "namespace"},
                                                             {"fieldRef",
                                                              {{"apiVersion", "v1"},
                                                               {"fieldPath", "metadata.namespace"}}}}})}}}}})}}}};
}

class ServiceAccountAdmission final : public admission::Admission {
 public:
  explicit ServiceAccountAdmission(const Api& api) : api_(api) {}

  bool handles(admission::Operation operation, const api::Resource& resource,
               std::string_view subresource) const override {
    return operation == admission::Operation::Create && resource == api::resources::kPods && subresource.empty();
  }

  Result<void> mutate(const CallContext& ctx, admission::Request& request) override {
    json& pod = *request.object;
    // A mirror pod shows what a node runs by itself; it has no account.
    if (!member(pod, {"metadata", "annotations", kMirror}).is_null()) return {};
    json& spec = make_member(pod, {"spec"});
    std::string name = text(spec, {"serviceAccountName"});
    if (name.empty()) name = text(spec, {"serviceAccount"});
    if (name.empty()) name = "default";
    spec["serviceAccountName"] = spec["serviceAccount"] = name;
    KUBERNEL_TRY(const api::Object account, find(ctx, request, name));
    const bool wants =
        flag(spec, {"automountServiceAccountToken"}, account["automountServiceAccountToken"].boolean(true));
    if (wants) mount_token(spec);
    if (member(spec, {"imagePullSecrets"}).empty() && account["imagePullSecrets"].size() > 0) {
      spec["imagePullSecrets"] = account["imagePullSecrets"].to_json();
    }
    return {};
  }

  Result<void> validate(const CallContext& ctx, const admission::Request& request) override {
    const json& pod = *request.object;
    if (!member(pod, {"metadata", "annotations", kMirror}).is_null()) {
      if (!text(pod, {"spec", "serviceAccountName"}).empty()) {
        return refuse(request, "a mirror pod may not reference service accounts");
      }
      return {};
    }
    KUBERNEL_CHECK_OK(find(ctx, request, text(pod, {"spec", "serviceAccountName"})));
    return {};
  }

 private:
  static Error refuse(const admission::Request& request, const std::string& why) {
    return forbidden(*schema::find_resource("", "v1", "pods"), request.key.name, why);
  }

  Result<api::Object> find(const CallContext& ctx, const admission::Request& request, const std::string& name) const {
    const Store* accounts = api_.store(*api_.find("", "v1", "serviceaccounts"));
    auto found = accounts->get(ctx, {request.key.ns, name}, kCached);
    if (!found && found.error().reason() == Reason::NotFound) {
      return refuse(request, "error looking up service account " + request.key.ns + "/" + name + ": serviceaccount " +
                                 quote(name) + " not found");
    }
    return found;
  }

  void mount_token(json& spec) const {
    bool needed = false;
    for (const char* list : {"initContainers", "containers"}) {
      for (const json& container : member(spec, {list})) needed = needed || !mounted(container);
    }
    if (!needed) return;
    const std::string volume = "kube-api-access-" + random_suffix(api_.context().random, 5);
    for (const char* list : {"initContainers", "containers"}) {
      if (!spec.contains(list)) continue;
      for (json& container : spec[list]) {
        if (mounted(container)) continue;
        make_member(container, {"volumeMounts"})
            .push_back({{"name", volume}, {"readOnly", true}, {"mountPath", kMountPath}});
      }
    }
    make_member(spec, {"volumes"}).push_back(token_volume(volume));
  }

  const Api& api_;
};

}  // namespace

std::unique_ptr<admission::Admission> make_service_account_admission(const Api& api) {
  return std::make_unique<ServiceAccountAdmission>(api);
}

}  // namespace kubernel::apiserver
