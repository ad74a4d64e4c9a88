// SPDX-License-Identifier: Apache-2.0
//
// What every new pod or node gets: tolerations, priority, a taint.
#include <algorithm>
#include <optional>

#include "admission/builtin.h"
#include "registry/errors.h"
#include "registry/json_util.h"

namespace kubernel::apiserver {

namespace {

class ForNew : public admission::Admission {
 public:
  explicit ForNew(const api::Resource& resource) : resource_(resource) {}
  bool handles(admission::Operation operation, const api::Resource& resource,
               std::string_view subresource) const override {
    return operation == admission::Operation::Create && resource == resource_ && subresource.empty();
  }
  Result<void> validate(const CallContext&, const admission::Request&) override { return {}; }

 private:
  const api::Resource& resource_;
};

class NodeTaint final : public ForNew {
 public:
  NodeTaint() : ForNew(api::resources::kNodes) {}
  Result<void> mutate(const CallContext&, admission::Request& request) override {
    constexpr const char* kNotReady = "node.kubernetes.io/not-ready";
    json& taints = make_member(*request.object, {"spec", "taints"});
    if (!taints.is_array()) taints = json::array();
    const bool there = std::any_of(taints.begin(), taints.end(), [](const json& taint) {
      return text(taint, {"key"}) == kNotReady && text(taint, {"effect"}) == "NoSchedule";
    });
    if (!there) taints.push_back({{"key", kNotReady}, {"effect", "NoSchedule"}});
    return {};
  }
};

class DefaultTolerations final : public ForNew {
 public:
  DefaultTolerations() : ForNew(api::resources::kPods) {}
  Result<void> mutate(const CallContext&, admission::Request& request) override {
    constexpr int kSeconds = 300;
    json& tolerations = make_member(*request.object, {"spec", "tolerations"});
    if (!tolerations.is_array()) tolerations = json::array();
    for (const char* key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
      const bool there = std::any_of(tolerations.begin(), tolerations.end(), [&](const json& one) {
        const std::string own = text(one, {"key"});
        const std::string effect = text(one, {"effect"});
        return (own == key || own.empty()) && (effect == "NoExecute" || effect.empty());
      });
      if (!there) {
        tolerations.push_back(
            {{"key", key}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", kSeconds}});
      }
    }
    return {};
  }
};

class Priority final : public admission::Admission {
 public:
  explicit Priority(const Api& api) : api_(api), classes_(*api.find("scheduling.k8s.io", "v1", "priorityclasses")) {}

  bool handles(admission::Operation operation, const api::Resource& resource,
               std::string_view subresource) const override {
    if (!subresource.empty()) return false;
    if (resource == api::resources::kPods) return operation == admission::Operation::Create;
    return resource == api::resources::kPriorityClasses &&
           (operation == admission::Operation::Create || operation == admission::Operation::Update);
  }

  Result<void> mutate(const CallContext& ctx, admission::Request& request) override {
    if (request.resource != api::resources::kPods) return {};
    json& spec = make_member(*request.object, {"spec"});
    std::string name = text(spec, {"priorityClassName"});
    std::optional<api::Object> found;
    if (name.empty()) {
      KUBERNEL_TRY(found, find_default(ctx, "", kCached));
      if (found) spec["priorityClassName"] = name = found->name();
    } else {
      auto got = api_.store(classes_)->get(ctx, {"", name}, kCached);
      if (!got && got.error().reason() != Reason::NotFound) return std::move(got).error();
      if (!got) return refuse(request, "no PriorityClass with name " + name + " was found");
      found = *std::move(got);
    }
    const std::int64_t value = found ? (*found)["value"].integer() : 0;
    const json& given = member(spec, {"priority"});
    if (given.is_number_integer() && given.get<std::int64_t>() != value) {
      return refuse(request, "the integer value of priority (" + given.dump() +
                                 ") must not be provided in pod spec; priority admission controller computed " +
                                 std::to_string(value) + " from the given PriorityClass name");
    }
    spec["priority"] = value;
    const std::string policy(found ? (*found)["preemptionPolicy"].string("PreemptLowerPriority")
                                   : "PreemptLowerPriority");
    if (text(spec, {"preemptionPolicy"}).empty()) spec["preemptionPolicy"] = policy;
    return {};
  }

  Result<void> validate(const CallContext& ctx, const admission::Request& request) override {
    if (request.resource != api::resources::kPriorityClasses || !flag(*request.object, {"globalDefault"})) return {};
    KUBERNEL_TRY(const auto other, find_default(ctx, request.key.name, ""));
    if (!other) return {};
    return forbidden(
        classes_, request.key.name,
        "PriorityClass " + quote(other->name()) + " is already marked as default. Only one default can exist");
  }

 private:
  static Error refuse(const admission::Request& request, const std::string& why) {
    const schema::ResourceInfo* pods = schema::find_resource("", "v1", "pods");
    return forbidden(*pods, request.key.name, why);
  }

  // Of several (written behind our back), the smallest, as upstream.
  Result<std::optional<api::Object>> find_default(const CallContext& ctx, std::string_view except,
                                                  std::string_view resource_version) const {
    ListQuery query;
    query.resource_version = resource_version;
    KUBERNEL_TRY(const ListResult all, api_.store(classes_)->list(ctx, query));
    std::optional<api::Object> out;
    for (const api::Object& one : all.items) {
      if (!one["globalDefault"].boolean() || one.name() == except) continue;
      if (!out || one["value"].integer() < (*out)["value"].integer()) out = one;
    }
    return out;
  }

  const Api& api_;
  const schema::ResourceInfo& classes_;
};

}  // namespace

std::unique_ptr<admission::Admission> make_node_taint() {
  return std::make_unique<NodeTaint>();
}
std::unique_ptr<admission::Admission> make_default_tolerations() {
  return std::make_unique<DefaultTolerations>();
}
std::unique_ptr<admission::Admission> make_priority(const Api& api) {
  return std::make_unique<Priority>(api);
}

}  // namespace kubernel::apiserver
