// SPDX-License-Identifier: Apache-2.0
//
// ResourceQuota: a write that would exceed a quota of its namespace is refused; what it uses is counted before it is
// stored.
#include <algorithm>
#include <set>
#include <utility>

#include <kubernel/api/quota.h>

#include "admission/builtin.h"
#include "registry/errors.h"
#include "registry/json_util.h"

namespace kubernel::apiserver {

namespace {

using api::Amounts;
using api::Quantity;

Amounts only(const Amounts& amounts, const Amounts& names) {
  Amounts out;
  for (const auto& [name, amount] : amounts) {
    if (names.contains(name)) out[name] = amount;
  }
  return out;
}

// Of a pod, the names in requests and limits that a quota of compute asks every container to say.
bool computes(const std::string& name) {
  return name == "cpu" || name == "memory" || name == "requests.cpu" || name == "requests.memory" ||
         name == "limits.cpu" || name == "limits.memory";
}

bool container_says(api::Value container, const std::string& name) {
  const bool limit = name.starts_with("limits.");
  const std::size_t dot = name.find('.');
  const std::string plain = dot == std::string::npos ? name : name.substr(dot + 1);
  return static_cast<bool>(container["resources"][limit ? "limits" : "requests"][plain]);
}

// "cpu for: a,b; memory for: b", or empty.
std::string missing_compute(const api::Object& pod, const Amounts& hard) {
  std::string out;
  for (const auto& [name, amount] : hard) {
    if (!computes(name)) continue;
    std::set<std::string> silent;
    const std::size_t dot = name.find('.');
    const std::string plain = dot == std::string::npos ? name : name.substr(dot + 1);
    // What the pod says as a whole stands for its containers.
    if (pod["spec"]["resources"][name.starts_with("limits.") ? "limits" : "requests"][plain]) continue;
    for (const char* list : {"containers", "initContainers"}) {
      for (const api::Value container : pod["spec"][list]) {
        if (!container_says(container, name)) silent.emplace(container["name"].string());
      }
    }
    if (silent.empty()) continue;
    std::string containers;
    for (const std::string& one : silent) containers += (containers.empty() ? "" : ",") + one;
    out += (out.empty() ? "" : "; ") + name + " for: " + containers;
  }
  return out;
}

class ResourceQuota final : public admission::Admission {
 public:
  explicit ResourceQuota(const Api& api) : api_(api), quotas_(*api.find("", "v1", "resourcequotas")) {}

  bool handles(admission::Operation operation, const api::Resource& resource,
               std::string_view subresource) const override {
    const bool resize = resource == api::resources::kPods && subresource == "resize";
    if (!subresource.empty() && !resize) return false;
    if (operation == admission::Operation::Create) return true;
    // Of these, an update can use more.
    return operation == admission::Operation::Update &&
           (resource == api::resources::kPods || resource == api::resources::kServices ||
            resource == api::resources::kPersistentVolumeClaims);
  }

  Result<void> mutate(const CallContext&, admission::Request&) override { return {}; }

  Result<void> validate(const CallContext& ctx, const admission::Request& request) override {
    if (request.key.ns.empty()) return {};
    ListQuery query;
    query.filter.ns = request.key.ns;
    if (request.operation == admission::Operation::Create) query.resource_version = kCached;
    KUBERNEL_TRY(const ListResult quotas, api_.store(quotas_)->list(ctx, query));
    if (quotas.items.empty()) return {};
    KUBERNEL_TRY(const api::Object object, api::Object::from_json(*request.object));
    const Amounts now = api::quota_usage(request.resource, object);
    for (const api::Object& quota : quotas.items) {
      if (!api::quota_includes(quota, request.resource, object)) continue;
      Amounts more = only(now, api::read_amounts(quota["spec"]["hard"]));
      // What an object that the quota counted before had used is not used again.
      if (request.old_object != nullptr && api::quota_includes(quota, request.resource, *request.old_object)) {
        for (const auto& [name, amount] : api::quota_usage(request.resource, *request.old_object)) {
          if (const auto place = more.find(name); place != more.end()) place->second -= amount;
        }
      }
      if (request.operation == admission::Operation::Create && request.resource == api::resources::kPods) {
        const std::string missing = missing_compute(object, api::read_amounts(quota["spec"]["hard"]));
        if (!missing.empty()) return refuse(request, "failed quota: " + quota.name() + ": must specify " + missing);
      }
      std::erase_if(more, [](const auto& entry) { return entry.second.sign() <= 0; });
      if (!more.empty()) KUBERNEL_CHECK_OK(charge(ctx, request, quota, more));
    }
    return {};
  }

 private:
  static Error refuse(const admission::Request& request, const std::string& why) {
    const schema::ResourceInfo* about =
        schema::find_resource(request.resource.group, request.resource.version, request.resource.plural);
    return forbidden(*about, request.key.name, why);
  }

  // Adds `more` to the quota's status, unless that is more than it allows.
  Result<void> charge(const CallContext& ctx, const admission::Request& request, const api::Object& quota,
                      const Amounts& more) const {
    UpdateRequest update;
    update.key = quota.key();
    update.part = Part::Status;
    update.dry_run = request.dry_run;
    update.desired = [&](const api::Object& current) -> Result<json> {
      const Amounts hard = api::read_amounts(current["status"]["hard"]);
      const Amounts used = api::read_amounts(current["status"]["used"]);
      std::string unknown;
      Amounts over;
      for (const auto& [name, amount] : more) {
        const auto bound = hard.find(name);
        const auto before = used.find(name);
        if (bound == hard.end() || before == used.end()) {
          unknown += (unknown.empty() ? "" : ",") + name;
          continue;
        }
        Quantity sum = before->second;
        sum += amount;
        if (sum > bound->second) over[name] = amount;
      }
      if (!unknown.empty())
        return refuse(request, "status unknown for quota: " + current.name() + ", resources: " + unknown);
      if (!over.empty()) {
        return refuse(request, "exceeded quota: " + current.name() + ", requested: " + api::print_amounts(over) +
                                   ", used: " + api::print_amounts(only(used, over)) +
                                   ", limited: " + api::print_amounts(only(hard, over)));
      }
      json out = current.to_json();
      for (const auto& [name, amount] : more) {
        Quantity sum = used.at(name);
        sum += amount;
        out["status"]["used"][name] = sum.to_string();
      }
      return out;
    };
    auto done = api_.store(quotas_)->update(ctx, update);
    // A quota that has just been deleted limits nothing.
    if (!done && done.error().reason() != Reason::NotFound) return std::move(done).error();
    return {};
  }

  const Api& api_;
  const schema::ResourceInfo& quotas_;
};

}  // namespace

std::unique_ptr<admission::Admission> make_resource_quota(const Api& api) {
  return std::make_unique<ResourceQuota>(api);
}

}  // namespace kubernel::apiserver
