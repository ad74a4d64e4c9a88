// SPDX-License-Identifier: Apache-2.0
//
// The steps that follow from classes: DefaultStorageClass, DefaultIngressClass, PersistentVolumeClaimResize,
// RuntimeClass.
#include <algorithm>
#include <optional>
#include <utility>

#include <kubernel/api/quantity.h>

#include "admission/builtin.h"
#include "registry/errors.h"
#include "registry/json_util.h"

namespace kubernel::apiserver {

namespace {

const api::Resource kIngresses{"networking.k8s.io", "v1", "ingresses"};

// A class that its annotation makes the default; of several the newest, as upstream.
Result<std::optional<api::Object>> find_default(const CallContext& ctx, const Store& classes,
                                                std::string_view annotation) {
  KUBERNEL_TRY(const ListResult all, classes.list(ctx, {}));
  std::optional<api::Object> out;
  for (const api::Object& one : all.items) {
    if (one.annotations()[annotation].string() != "true") continue;
    const auto made = [](const api::Object& object) { return object["metadata"]["creationTimestamp"].string(); };
    if (!out || made(one) > made(*out) || (made(one) == made(*out) && one.name() < out->name())) out = one;
  }
  return out;
}

class DefaultStorageClass final : public admission::Admission {
 public:
  explicit DefaultStorageClass(const Api& api) : api_(api) {}
  bool handles(admission::Operation operation, const api::Resource& resource,
               std::string_view subresource) const override {
    return operation == admission::Operation::Create && resource == api::resources::kPersistentVolumeClaims &&
           subresource.empty();
  }
  Result<void> mutate(const CallContext& ctx, admission::Request& request) override {
    const json& claim = *request.object;
    // An empty name means: no class.
    if (!member(claim, {"spec", "storageClassName"}).is_null()) return {};
    if (!member(claim, {"metadata", "annotations", "volume.beta.kubernetes.io/storage-class"}).is_null()) return {};
    KUBERNEL_TRY(const auto found, find_default(ctx, *api_.store(*api_.find("storage.k8s.io", "v1", "storageclasses")),
                                                "storageclass.kubernetes.io/is-default-class"));
    if (found) make_member(*request.object, {"spec", "storageClassName"}) = found->name();
    return {};
  }
  Result<void> validate(const CallContext&, const admission::Request&) override { return {}; }

 private:
  const Api& api_;
};

class DefaultIngressClass final : public admission::Admission {
 public:
  explicit DefaultIngressClass(const Api& api) : api_(api) {}
  bool handles(admission::Operation operation, const api::Resource& resource,
               std::string_view subresource) const override {
    return operation == admission::Operation::Create && resource == kIngresses && subresource.empty();
  }
  Result<void> mutate(const CallContext& ctx, admission::Request& request) override {
    const json& ingress = *request.object;
    if (!member(ingress, {"spec", "ingressClassName"}).is_null()) return {};
    if (!member(ingress, {"metadata", "annotations", "kubernetes.io/ingress.class"}).is_null()) return {};
    KUBERNEL_TRY(const auto found,
                 find_default(ctx, *api_.store(*api_.find("networking.k8s.io", "v1", "ingressclasses")),
                              "ingressclass.kubernetes.io/is-default-class"));
    if (found) make_member(*request.object, {"spec", "ingressClassName"}) = found->name();
    return {};
  }
  Result<void> validate(const CallContext&, const admission::Request&) override { return {}; }

 private:
  const Api& api_;
};

class ClaimResize final : public admission::Admission {
 public:
  explicit ClaimResize(const Api& api) : api_(api) {}
  bool handles(admission::Operation operation, const api::Resource& resource,
               std::string_view subresource) const override {
    return operation == admission::Operation::Update && resource == api::resources::kPersistentVolumeClaims &&
           subresource.empty();
  }
  Result<void> mutate(const CallContext&, admission::Request&) override { return {}; }
  Result<void> validate(const CallContext& ctx, const admission::Request& request) override {
    KUBERNEL_TRY(const api::Object now, api::Object::from_json(*request.object));
    const api::Object& old = *request.old_object;
    const auto size = [](const api::Object& claim) {
      return api::Quantity::read(claim["spec"]["resources"]["requests"]["storage"]);
    };
    if (size(now) <= size(old)) return {};
    const schema::ResourceInfo& about = *api_.find("", "v1", "persistentvolumeclaims");
    if (old["status"]["phase"].string() != "Bound") {
      return forbidden(about, request.key.name, "Only bound persistent volume claims can be expanded");
    }
    const std::string storage_class(now["spec"]["storageClassName"].string());
    const Error refused = forbidden(about, request.key.name,
                                    "only dynamically provisioned pvc can be resized and the storageclass that "
                                    "provisions the pvc must support resize");
    if (storage_class.empty()) return refused;
    auto found = api_.store(*api_.find("storage.k8s.io", "v1", "storageclasses"))->get(ctx, {"", storage_class}, "");
    if (!found && found.error().reason() != Reason::NotFound) return std::move(found).error();
    if (!found || !(*found)["allowVolumeExpansion"].boolean()) return refused;
    return {};
  }

 private:
  const Api& api_;
};

class RuntimeClass final : public admission::Admission {
 public:
  explicit RuntimeClass(const Api& api) : api_(api) {}
  bool handles(admission::Operation operation, const api::Resource& resource,
               std::string_view subresource) const override {
    return operation == admission::Operation::Create && resource == api::resources::kPods && subresource.empty();
  }

  Result<void> mutate(const CallContext& ctx, admission::Request& request) override {
    KUBERNEL_TRY(const auto found, find_class(ctx, request));
    if (!found) return {};
    json& spec = make_member(*request.object, {"spec"});
    const json runtime = found->to_json();
    if (const json& fixed = member(runtime, {"overhead", "podFixed"}); !fixed.empty()) {
      const json& own = member(spec, {"overhead"});
      if (own.empty()) {
        spec["overhead"] = fixed;
      } else if (own != fixed) {
        return refuse(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
      }
    }
    const json& selector = member(runtime, {"scheduling", "nodeSelector"});
    if (selector.is_object()) {
      for (const auto& [key, value] : selector.items()) {
        json& own = make_member(spec, {"nodeSelector"})[key];
        if (!own.is_null() && own != value) {
          return refuse(request, "conflict: runtimeClass.scheduling.nodeSelector[" + key +
                                     "] = " + value.get<std::string>() + "; pod.spec.nodeSelector[" + key +
                                     "] = " + own.get<std::string>());
        }
        own = value;
      }
    }
    const json& tolerations = member(runtime, {"scheduling", "tolerations"});
    if (tolerations.is_array()) {
      json& own = make_member(spec, {"tolerations"});
      if (!own.is_array()) own = json::array();
      for (const json& one : tolerations) {
        if (std::find(own.begin(), own.end(), one) == own.end()) own.push_back(one);
      }
    }
    return {};
  }

  Result<void> validate(const CallContext& ctx, const admission::Request& request) override {
    KUBERNEL_TRY(const auto found, find_class(ctx, request));
    const json& own = member(*request.object, {"spec", "overhead"});
    const bool defined = found && (*found)["overhead"]["podFixed"].size() > 0;
    if (!own.empty() && !defined) {
      return refuse(request, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
    }
    return {};
  }

 private:
  static Error refuse(const admission::Request& request, const std::string& why) {
    return forbidden(*schema::find_resource("", "v1", "pods"), request.key.name, why);
  }

  Result<std::optional<api::Object>> find_class(const CallContext& ctx, const admission::Request& request) const {
    const std::string name = text(*request.object, {"spec", "runtimeClassName"});
    if (name.empty()) return std::optional<api::Object>();
    auto found = api_.store(*api_.find("node.k8s.io", "v1", "runtimeclasses"))->get(ctx, {"", name}, "");
    if (!found && found.error().reason() == Reason::NotFound)
      return refuse(request, "pod rejected: RuntimeClass " + quote(name) + " not found");
    if (!found) return std::move(found).error();
    return std::optional<api::Object>(*std::move(found));
  }

  const Api& api_;
};

}  // namespace

std::unique_ptr<admission::Admission> make_default_storage_class(const Api& api) {
  return std::make_unique<DefaultStorageClass>(api);
}
std::unique_ptr<admission::Admission> make_default_ingress_class(const Api& api) {
  return std::make_unique<DefaultIngressClass>(api);
}
std::unique_ptr<admission::Admission> make_claim_resize(const Api& api) {
  return std::make_unique<ClaimResize>(api);
}
std::unique_ptr<admission::Admission> make_runtime_class(const Api& api) {
  return std::make_unique<RuntimeClass>(api);
}

}  // namespace kubernel::apiserver
