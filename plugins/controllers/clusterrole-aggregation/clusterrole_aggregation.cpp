// SPDX-License-Identifier: Apache-2.0
#include "clusterrole_aggregation.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/api/selector.h>

namespace kubernel::plugins::clusterrole_aggregation {
namespace {

using api::Object;
using api::ObjectKey;
using controller::Next;
using nlohmann::json;

const api::Resource kClusterRoles{"rbac.authorization.k8s.io", "v1", "clusterroles"};

bool aggregates(const Object& role) {
  return static_cast<bool>(role["aggregationRule"]);
}

class ClusterRoleAggregation final : public controller::Reconciler {
 public:
  explicit ClusterRoleAggregation(const controller::ControllerContext& context) : context_(context) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    roles_ = informers.informer(kClusterRoles, {});
    // Any change may be to a role that another gathers from; few roles gather.
    const auto changed = [this, &queue](const Object&) {
      for (const Object& role : roles_->list("", {})) {
        if (aggregates(role)) queue.add(role.key());
      }
    };
    on_roles_ = roles_->add_handler({.added = changed,
                                     .updated = [changed](const Object&, const Object& after) { changed(after); },
                                     .deleted = changed});
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    const auto role = roles_->find(key);
    if (!role || !aggregates(*role)) return Next::done();
    KUBERNEL_TRY(const json rules, gather(*role));
    const json before = (*role)["rules"] ? (*role)["rules"].to_json() : json::array();
    if (rules == before) return Next::done();
    json document = role->to_json();
    document["rules"] = rules;
    KUBERNEL_CHECK_OK(context_.api.update(ctx, kClusterRoles, key, document, {}));
    return Next::done();
  }

 private:
  // In the order of the selectors, and of the names of the roles each chooses; a rule that is there already is not
  // added again.
  Result<json> gather(const Object& role) const {
    json out = json::array();
    for (const api::Value one : role["aggregationRule"]["clusterRoleSelectors"]) {
      KUBERNEL_TRY(const auto selector, api::LabelSelector::from_api(one));
      std::vector<Object> chosen = roles_->list("", selector);
      std::sort(chosen.begin(), chosen.end(), [](const Object& a, const Object& b) { return a.name() < b.name(); });
      for (const Object& other : chosen) {
        if (other.name() == role.name()) continue;
        for (const api::Value rule : other["rules"]) {
          json added = rule.to_json();
          if (std::find(out.begin(), out.end(), added) == out.end()) out.push_back(std::move(added));
        }
      }
    }
    return out;
  }

  const controller::ControllerContext context_;
  std::shared_ptr<client::Informer> roles_;
  std::unique_ptr<Subscription> on_roles_;
};

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  return std::make_unique<ClusterRoleAggregation>(context);
}

}  // namespace kubernel::plugins::clusterrole_aggregation
