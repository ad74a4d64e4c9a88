// SPDX-License-Identifier: Apache-2.0
#include "resource_quota.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/api/quota.h>
#include <kubernel/controller/pods.h>
#include <kubernel/schema/schema.h>

namespace kubernel::plugins::resource_quota {
namespace {

using api::Amounts;
using api::Object;
using api::ObjectKey;
using controller::Next;
using nlohmann::json;

const api::Resource kQuotas{"", "v1", "resourcequotas"};
constexpr auto kRecount = std::chrono::minutes(5);  // For what no watch tells, as upstream.

// The resource that a name in a quota counts; nullptr: none that this server has.
const schema::ResourceInfo* counted_by(std::string_view name) {
  if (name.starts_with("count/")) {
    name.remove_prefix(std::string_view("count/").size());
    const auto dot = name.find('.');
    const std::string_view plural = name.substr(0, dot);
    const std::string_view group = dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
    for (const schema::ResourceInfo& info : schema::resources()) {
      if (info.ga && info.group == group && info.plural == plural && info.namespaced && info.stored) return &info;
    }
    return nullptr;
  }
  if (name == "services" || name.starts_with("services.")) return schema::find_resource("", "v1", "services");
  if (name == "persistentvolumeclaims" || name == "requests.storage" ||
      name.find(".storageclass.storage.k8s.io/") != std::string_view::npos) {
    return schema::find_resource("", "v1", "persistentvolumeclaims");
  }
  for (const char* plural : {"configmaps", "secrets", "replicationcontrollers", "resourcequotas"}) {
    if (name == plural) return schema::find_resource("", "v1", plural);
  }
  return schema::find_resource("", "v1", "pods");
}

json print(const Amounts& amounts) {
  json out = json::object();
  for (const auto& [name, amount] : amounts) out[name] = amount.to_string();
  return out;
}

class ResourceQuota final : public controller::Reconciler {
 public:
  explicit ResourceQuota(const controller::ControllerContext& context) : context_(context) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    quotas_ = informers.informer(kQuotas, {});
    subscriptions_.push_back(
        quotas_->add_handler({.added = [&queue](const Object& quota) { queue.add(quota.key()); },
                              .updated = [&queue](const Object&, const Object& quota) { queue.add(quota.key()); }}));
    const auto freed = [this, &queue](const Object& object) {
      for (const Object& quota : quotas_->list(object.ns(), {})) queue.add(quota.key());
    };
    pods_ = informers.informer(api::resources::kPods, {});
    subscriptions_.push_back(pods_->add_handler({.updated =
                                                     [freed](const Object& before, const Object& after) {
                                                       if (!controller::pod_terminal(before) &&
                                                           controller::pod_terminal(after))
                                                         freed(after);
                                                     },
                                                 .deleted = freed}));
    services_ = informers.informer(api::resources::kServices, {});
    subscriptions_.push_back(services_->add_handler({.updated =
                                                         [freed](const Object& before, const Object& after) {
                                                           if (before["spec"]["type"].string() !=
                                                               after["spec"]["type"].string())
                                                             freed(after);
                                                         },
                                                     .deleted = freed}));
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    const auto quota = quotas_->find(key);
    if (!quota) return Next::done();
    const Amounts hard = api::read_amounts((*quota)["spec"]["hard"]);
    KUBERNEL_TRY(const Amounts used, count(ctx, *quota, hard));
    const bool same = hard == api::read_amounts((*quota)["status"]["hard"]) &&
                      used == api::read_amounts((*quota)["status"]["used"]) &&
                      static_cast<bool>((*quota)["status"]["hard"]);
    if (!same) {
      json document = quota->to_json();
      document["status"] = {{"hard", print(hard)}, {"used", print(used)}};
      auto written = context_.api.update(ctx, kQuotas, key, document, {.subresource = "status"});
      // Somebody was charged meanwhile: the cache shows that soon, and it is counted again.
      if (!written && written.error().reason() != Reason::NotFound) return std::move(written).error();
    }
    return Next::after(kRecount);
  }

 private:
  // What is there, of the names in `hard`; what nothing uses is zero.
  Result<Amounts> count(const CallContext& ctx, const Object& quota, const Amounts& hard) {
    Amounts used;
    std::set<const schema::ResourceInfo*> resources;
    for (const auto& [name, amount] : hard) {
      used[name] = api::Quantity::of(0, amount.format());
      if (const schema::ResourceInfo* info = counted_by(name)) resources.insert(info);
    }
    for (const schema::ResourceInfo* info : resources) {
      const api::Resource resource = info->resource();
      // Not from a cache, which may not have what admission has just counted.
      KUBERNEL_TRY(const client::ObjectList found, context_.api.list(ctx, resource, {.ns = quota.ns()}));
      for (const Object& object : found.items) {
        if (!api::quota_includes(quota, resource, object)) continue;
        for (const auto& [name, amount] : api::quota_usage(resource, object)) {
          if (const auto place = used.find(name); place != used.end()) place->second += amount;
        }
      }
    }
    return used;
  }

  const controller::ControllerContext context_;
  std::shared_ptr<client::Informer> quotas_;
  std::shared_ptr<client::Informer> pods_;
  std::shared_ptr<client::Informer> services_;
  std::vector<std::unique_ptr<Subscription>> subscriptions_;
};

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  return std::make_unique<ResourceQuota>(context);
}

}  // namespace kubernel::plugins::resource_quota
