// SPDX-License-Identifier: Apache-2.0
#include "auth/bootstrap_policy.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <string_view>
#include <tuple>

#include <nlohmann/json.hpp>

#include "auth/bootstrap_policy_data.h"

namespace kubernel::apiserver {
namespace {

using nlohmann::json;
using api::resources::kClusterRoleBindings;
using api::resources::kClusterRoles;
using api::resources::kRoleBindings;
using api::resources::kRoles;

constexpr const char* kAutoUpdate = "rbac.authorization.kubernetes.io/autoupdate";
constexpr const char* kGroup = "rbac.authorization.k8s.io";

struct Role {
  std::string name;
  std::string part_of;     // Aggregated into this role.
  std::string aggregates;  // The aggregated role's own label.
  json rules = json::array();
};

json words(const std::string& text) {
  json out = json::array();
  std::istringstream in(text);
  for (std::string word; in >> word;) out.push_back(word == "core" ? "" : word);
  return out;
}

json verbs(const std::string& text) {
  static const std::map<std::string, std::string, std::less<>> kShort = {
      {"r", "get list watch"},
      {"lw", "list watch"},
      {"w", "create delete deletecollection patch update"},
      {"rw", "create delete deletecollection get list patch update watch"},
      {"ev", "create patch update"}};
  const json given = words(text);
  const auto found = given.size() == 1 ? kShort.find(given[0].get<std::string>()) : kShort.end();
  return found == kShort.end() ? given : words(found->second);
}

json parse_rule(const std::string& line) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  // " : " separates; a lone colon is part of a name.
  for (auto end = line.find(" : "); ; end = line.find(" : ", at)) {
    parts.push_back(line.substr(at, end == std::string::npos ? end : end - at));
    if (end == std::string::npos) break;
    at = end + 3;
  }
  if (parts[0] == "urls") return {{"nonResourceURLs", words(parts[1])}, {"verbs", verbs(parts[2])}};
  json rule = {{"apiGroups", words(parts[0])}, {"resources", words(parts[1])}, {"verbs", verbs(parts[2])}};
  if (parts.size() > 3) rule["resourceNames"] = words(parts[3]);
  return rule;
}

std::vector<Role> parse_roles(std::string_view data) {
  std::vector<Role> out;
  std::istringstream in{std::string(data)};
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) continue;
    if (!line.starts_with("role ")) {
      out.back().rules.push_back(parse_rule(line));
      continue;
    }
    std::istringstream heading(line.substr(5));
    Role role;
    heading >> role.name;
    for (std::string arrow, label; heading >> arrow >> label;) (arrow == "->" ? role.part_of : role.aggregates) = label;
    out.push_back(std::move(role));
  }
  return out;
}

json metadata(const std::string& name) {
  return {{"name", name}, {"labels", {{"kubernetes.io/bootstrapping", "rbac-defaults"}}}, {"annotations", {{kAutoUpdate, "true"}}}};
}

std::string aggregation_label(const std::string& role) {
  return "rbac.authorization.k8s.io/aggregate-to-" + role;
}

// The rules of every role that is part of `label`, also through another aggregated role.
json aggregated_rules(const std::vector<Role>& roles, const std::string& label) {
  json out = json::array();
  for (const Role& role : roles) {
    if (role.part_of != label) continue;
    const json rules = role.aggregates.empty() ? role.rules : aggregated_rules(roles, role.aggregates);
    out.insert(out.end(), rules.begin(), rules.end());
  }
  return out;
}

json cluster_role(const std::vector<Role>& all, const Role& role) {
  json document = {{"metadata", metadata(role.name)}, {"rules", role.rules}};
  if (!role.part_of.empty()) document["metadata"]["labels"][aggregation_label(role.part_of)] = "true";
  if (!role.aggregates.empty()) {
    document["rules"] = aggregated_rules(all, role.aggregates);
    document["aggregationRule"] = {
        {"clusterRoleSelectors", json::array({json{{"matchLabels", {{aggregation_label(role.aggregates), "true"}}}}})}};
  }
  return document;
}

json binding(const std::string& name, const char* role_kind, const std::string& role, const json& subjects) {
  json document = {{"metadata", metadata(name)}, {"roleRef", {{"apiGroup", kGroup}, {"kind", role_kind}, {"name", role}}}};
  if (!subjects.empty()) document["subjects"] = subjects;
  return document;
}

json group(const char* name) {
  return {{"apiGroup", kGroup}, {"kind", "Group"}, {"name", name}};
}
json user(const char* name) {
  return {{"apiGroup", kGroup}, {"kind", "User"}, {"name", name}};
}
json service_account(const std::string& name) {
  return {{"kind", "ServiceAccount"}, {"namespace", "kube-system"}, {"name", name}};
}

void add_cluster_bindings(std::vector<PolicyObject>& out) {
  const json everyone = json::array({group("system:authenticated"), group("system:unauthenticated")});
  const json authenticated = json::array({group("system:authenticated")});
  const std::vector<std::tuple<const char*, const char*, json>> bindings = {
      {"cluster-admin", "cluster-admin", json::array({group("system:masters")})},
      {"system:monitoring", "system:monitoring", json::array({group("system:monitoring")})},
      {"system:discovery", "system:discovery", authenticated},
      {"system:basic-user", "system:basic-user", authenticated},
      {"system:public-info-viewer", "system:public-info-viewer", everyone},
      {"system:node-proxier", "system:node-proxier", json::array({user("system:kube-proxy")})},
      {"system:kube-controller-manager", "system:kube-controller-manager", json::array({user("system:kube-controller-manager")})},
      {"system:kube-dns", "system:kube-dns", json::array({service_account("kube-dns")})},
      {"system:kube-scheduler", "system:kube-scheduler", json::array({user("system:kube-scheduler")})},
      {"system:volume-scheduler", "system:volume-scheduler", json::array({user("system:kube-scheduler")})},
      // Nodes have their own authorizer; the binding is there for those who want to add subjects.
      {"system:node", "system:node", json::array()},
      {"system:service-account-issuer-discovery", "system:service-account-issuer-discovery",
       json::array({group("system:serviceaccounts")})}};
  for (const auto& [name, role, subjects] : bindings) {
    out.push_back({kClusterRoleBindings, "", binding(name, "ClusterRole", role, subjects)});
  }
}

void add_namespaced(std::vector<PolicyObject>& out) {
  for (const Role& role : parse_roles(namespaced_role_data())) {
    const api::ObjectKey key = api::parse_object_key(role.name);
    out.push_back({kRoles, key.ns, {{"metadata", metadata(key.name)}, {"rules", role.rules}}});
    json subjects = json::array();
    constexpr std::string_view kController = "system:controller:";
    constexpr std::string_view kLocking = "system::leader-locking-";
    if (key.name.starts_with(kController)) {
      subjects.push_back(service_account(key.name.substr(kController.size())));
    } else if (key.name.starts_with(kLocking)) {
      const std::string component = key.name.substr(kLocking.size());
      subjects.push_back(user(("system:" + component).c_str()));
      subjects.push_back(service_account(component == "kube-scheduler" ? component : "kube-controller-manager"));
    } else {
      for (const char* component : {"system:kube-controller-manager", "system:kube-scheduler"}) subjects.push_back(user(component));
    }
    out.push_back({kRoleBindings, key.ns, binding(key.name, "Role", key.name, subjects)});
  }
}

// Adds the elements of `wanted` that `have` lacks. Returns whether there were any.
bool add_missing(json& have, const json& wanted) {
  if (!have.is_array()) have = json::array();
  bool added = false;
  for (const json& element : wanted) {
    if (std::find(have.begin(), have.end(), element) != have.end()) continue;
    have.push_back(element);
    added = true;
  }
  return added;
}

Result<void> reconcile(const CallContext& ctx, client::ApiClient& client, const PolicyObject& wanted) {
  auto created = client.create(ctx, wanted.resource, {wanted.ns, ""}, wanted.document, {});
  if (created) return {};
  const std::string name = wanted.document["metadata"]["name"].get<std::string>();
  if (created.error().reason() != Reason::AlreadyExists) return std::move(created).error().wrap("default role " + name);

  KUBERNEL_TRY(const api::Object present, client.get(ctx, wanted.resource, {wanted.ns, name}, ""));
  if (present.annotations()[kAutoUpdate].string() == "false") return {};
  json document = present.to_json();
  bool changed = false;
  for (const char* list : {"rules", "subjects"}) {
    if (wanted.document.contains(list)) changed = add_missing(document[list], wanted.document[list]) || changed;
  }
  if (!changed) return {};
  auto updated = client.update(ctx, wanted.resource, {wanted.ns, name}, document, {});
  if (!updated) return std::move(updated).error().wrap("default role " + name);
  return {};
}

}  // namespace

std::vector<PolicyObject> bootstrap_policy() {
  std::vector<PolicyObject> out;
  const std::vector<Role> roles = parse_roles(cluster_role_data());
  for (const Role& role : roles) out.push_back({kClusterRoles, "", cluster_role(roles, role)});
  add_cluster_bindings(out);
  for (const Role& role : parse_roles(controller_role_data())) {
    const std::string name = "system:controller:" + role.name;
    out.push_back({kClusterRoles, "", {{"metadata", metadata(name)}, {"rules", role.rules}}});
    out.push_back({kClusterRoleBindings, "", binding(name, "ClusterRole", name, json::array({service_account(role.name)}))});
  }
  add_namespaced(out);
  return out;
}

Result<void> apply_bootstrap_policy(const CallContext& ctx, client::ApiClient& client) {
  for (const PolicyObject& object : bootstrap_policy()) KUBERNEL_CHECK_OK(reconcile(ctx, client, object));
  return {};
}

}  // namespace kubernel::apiserver
