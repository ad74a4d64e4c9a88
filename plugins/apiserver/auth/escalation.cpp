// SPDX-License-Identifier: Apache-2.0
#include "auth/escalation.h"

#include <algorithm>
#include <set>
#include <utility>

#include "registry/errors.h"
#include "registry/json_util.h"

namespace kubernel::apiserver {

namespace {

constexpr const char* kGroup = "rbac.authorization.k8s.io";

bool has_aggregation(const json& role) {
  return !member(role, {"aggregationRule"}).is_null();
}

class EscalationCheck final : public admission::Admission {
 public:
  EscalationCheck(const Api& api, std::shared_ptr<Rbac> rbac) : api_(api), rbac_(std::move(rbac)) {}

  bool handles(admission::Operation operation, const api::Resource& resource,
               std::string_view subresource) const override {
    return resource.group == kGroup && subresource.empty() &&
           (operation == admission::Operation::Create || operation == admission::Operation::Update);
  }
  Result<void> mutate(const CallContext&, admission::Request&) override { return {}; }

  Result<void> validate(const CallContext& ctx, const admission::Request& request) override {
    const auto& groups = request.user.groups;
    if (std::find(groups.begin(), groups.end(), "system:masters") != groups.end()) return {};
    if (only_cleanup(request)) return {};
    return request.resource.plural.ends_with("bindings") ? check_binding(ctx, request) : check_role(ctx, request);
  }

 private:
  // The garbage collector takes finalizers and owners away without holding the role's rights.
  static bool only_cleanup(const admission::Request& request) {
    if (request.old_object == nullptr) return false;
    json before = request.old_object->to_json();
    json after = *request.object;
    for (json* document : {&before, &after}) {
      for (const char* field : {"ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation"}) {
        erase_member(*document, {"metadata"}, field);
      }
    }
    return before == after;
  }

  Result<bool> authorized(const CallContext& ctx, const admission::Request& request, const char* verb,
                          std::string resource, std::string name) const {
    auth::Attributes a;
    a.user = request.user;
    a.verb = verb;
    a.group = kGroup;
    a.version = "v1";
    a.resource = std::move(resource);
    a.ns = request.key.ns;
    a.name = std::move(name);
    KUBERNEL_TRY(const auth::Decision decision, api_.authorizer()->authorize(ctx, a));
    return decision.allowed;
  }

  Error refused(const admission::Request& request, std::string_view why) const {
    return forbidden(*api_.find(kGroup, "v1", request.resource.plural), request.key.name, why);
  }

  Result<void> check_role(const CallContext& ctx, const admission::Request& request) const {
    KUBERNEL_TRY(const bool may, authorized(ctx, request, "escalate", request.resource.plural, request.key.name));
    if (may) return {};
    const bool aggregated = has_aggregation(*request.object) ||
                            (request.old_object != nullptr && (*request.old_object)["aggregationRule"].is_object());
    if (aggregated && request.resource.plural == "clusterroles") {
      const PolicyRules everything = {{{"*"}, {"*"}, {"*"}, {}, {}}, {{"*"}, {}, {}, {}, {"*"}}};
      if (!confirm(request, everything)) {
        return refused(request, "must have cluster-admin privileges to use an aggregationRule");
      }
    }
    return confirm(request, read_rules(member(*request.object, {"rules"})));
  }

  Result<void> check_binding(const CallContext& ctx, const admission::Request& request) const {
    const RoleRef ref{text(*request.object, {"roleRef", "kind"}), text(*request.object, {"roleRef", "name"})};
    KUBERNEL_TRY(const bool may,
                 authorized(ctx, request, "bind", ref.kind == "Role" ? "roles" : "clusterroles", ref.name));
    if (may) return {};
    KUBERNEL_TRY(const PolicyRules rules, rbac_->rules_of(ref, request.key.ns));
    return confirm(request, rules);
  }

  Result<void> confirm(const admission::Request& request, const PolicyRules& wanted) const {
    const UserRules held = rbac_->rules_for(request.user, request.key.ns);
    const PolicyRules missing = missing_rights(held.rules, wanted);
    if (missing.empty()) return {};
    std::set<std::string> lines;
    for (const PolicyRule& rule : compact_rules(missing)) lines.insert(compact_text(rule));
    std::string why = "user " + quote(request.user.name) + " (groups=" + quote_list(request.user.groups) +
                      ") is attempting to grant RBAC permissions not currently held:";
    for (const std::string& line : lines) why += "\n" + line;
    if (!held.problems.empty()) {
      why += "; resolution errors: [";
      for (std::size_t i = 0; i < held.problems.size(); ++i) why += (i == 0 ? "" : " ") + held.problems[i];
      why += "]";
    }
    return refused(request, why);
  }

  const Api& api_;
  std::shared_ptr<Rbac> rbac_;
};

}  // namespace

std::unique_ptr<admission::Admission> make_escalation_check(const Api& api, std::shared_ptr<Rbac> rbac) {
  return std::make_unique<EscalationCheck>(api, std::move(rbac));
}

}  // namespace kubernel::apiserver
