// SPDX-License-Identifier: Apache-2.0
#include "auth/bootstrap_policy.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <string_view>
#include <tuple>

#include <nlohmann/json.hpp>

#include "auth/bootstrap_policy_data.h"

namespace kubernel::apiserver {
namespace {

using api::resources::kClusterRoleBindings;
using api::resources::kClusterRoles;
using api::resources::kRoleBindings;
using api::resources::kRoles;
using nlohmann::json;

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
  for (auto end = line.find(" : ");; end = line.find(" : ", at)) {
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
  return {{"name", name},
          {"labels", {{"kubernetes.io/bootstrapping", "rbac-defaults"}}},
          {"annotations", {{kAutoUpdate, "true"}}}};
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
  json document = {{"metadata", metadata(name)},
                   {"roleRef", {{"apiGroup", kGroup}, {"kind", role_kind}, {"name", role}}}};
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
      {"system:kube-controller-manager", "system:kube-controller-manager",
       json::array({user("system:kube-controller-manager")})},
      {"system:kube-dns", "system:kube-dns", json::array({service_account("kube-dns")})},
      {"system:kube-scheduler", "system:kube-scheduler", json::array({user("system:kube-scheduler")})},
      {"system:volume-scheduler", "system:volume-scheduler", json::array({user("system:kube-scheduler")})},
      // Nodes have their own authorizer; the binding is there for those who want to add subjects.
      {"system:node", "system:node", json::array()},
      {"kubernel:node-network", "kubernel:node-network", json::array({group("system:nodes")})},
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
      for (const char* component : {"system:kube-controller-manager", "system:kube-scheduler"})
        subjects.push_back(user(component));
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

using Present = std::map<std::tuple<std::string, std::string, std::string>, api::Object>;

std::string name_of(const PolicyObject& object) {
  return object.document["metadata"]["name"].get<std::string>();
}

Result<Present> read_present(const CallContext& ctx, client::ApiClient& client) {
  Present out;
  for (const api::Resource& resource : {kClusterRoles, kClusterRoleBindings, kRoles, kRoleBindings}) {
    KUBERNEL_TRY(client::ObjectList all, client.list(ctx, resource, {}));
    for (api::Object& object : all.items) out[{resource.plural, object.ns(), object.name()}] = std::move(object);
  }
  return out;
}

// What has to be written: all of a missing object, or what an object that follows our updates lacks.
std::optional<json> wanted_change(const PolicyObject& wanted, const Present& present) {
  const auto found = present.find({wanted.resource.plural, wanted.ns, name_of(wanted)});
  if (found == present.end()) return wanted.document;
  if (found->second.annotations()[kAutoUpdate].string() == "false") return std::nullopt;
  json document = found->second.to_json();
  bool changed = false;
  // The rules of an aggregated role are whatever its parts give.
  if (!wanted.document.contains("aggregationRule") && wanted.document.contains("rules")) {
    changed = add_missing(document["rules"], wanted.document["rules"]);
  }
  if (wanted.document.contains("subjects"))
    changed = add_missing(document["subjects"], wanted.document["subjects"]) || changed;
  if (!changed) return std::nullopt;
  return document;
}

struct Change {
  PolicyObject object;
  bool exists = false;
};

Result<void> write_change(const CallContext& ctx, client::ApiClient& client, const Change& change) {
  const PolicyObject& object = change.object;
  const std::string name = name_of(object);
  auto written = change.exists ? client.update(ctx, object.resource, {object.ns, name}, object.document, {})
                               : client.create(ctx, object.resource, {object.ns, ""}, object.document, {});
  if (written) return {};
  // Another server of this cluster does the same work.
  const Reason reason = written.error().reason();
  if (reason == Reason::AlreadyExists || reason == Reason::Conflict) return {};
  return std::move(written).error().wrap("default role " + name);
}

// Writes side by side share commits. The caller works too, so nothing hangs when the executor is slow or full.
class Writers {
 public:
  Writers(const CallContext& ctx, client::ApiClient& client, std::vector<Change> changes)
      : ctx_(ctx), client_(client), changes_(std::move(changes)) {}

  void work() {
    std::unique_lock lock(mutex_);
    while (next_ < changes_.size() && !error_) {
      const Change& change = changes_[next_++];
      ++busy_;
      lock.unlock();
      auto written = write_change(ctx_, client_, change);
      lock.lock();
      --busy_;
      if (!written && !error_) error_ = std::move(written).error();
    }
    if (busy_ == 0) idle_.notify_all();
  }

  Result<void> finish() {
    work();
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return busy_ == 0; });
    next_ = changes_.size();  // Helpers that start from now on find nothing to do.
    if (error_) return *std::move(error_);
    return {};
  }

 private:
  const CallContext ctx_;
  client::ApiClient& client_;
  const std::vector<Change> changes_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::size_t next_ = 0;
  std::size_t busy_ = 0;
  std::optional<Error> error_;
};

}  // namespace

std::vector<PolicyObject> bootstrap_policy() {
  std::vector<PolicyObject> out;
  const std::vector<Role> roles = parse_roles(cluster_role_data());
  for (const Role& role : roles) out.push_back({kClusterRoles, "", cluster_role(roles, role)});
  add_cluster_bindings(out);
  for (const Role& role : parse_roles(controller_role_data())) {
    const std::string name = "system:controller:" + role.name;
    out.push_back({kClusterRoles, "", {{"metadata", metadata(name)}, {"rules", role.rules}}});
    out.push_back(
        {kClusterRoleBindings, "", binding(name, "ClusterRole", name, json::array({service_account(role.name)}))});
  }
  add_namespaced(out);
  return out;
}

Result<void> apply_bootstrap_policy(const CallContext& ctx, client::ApiClient& client, Executor& blocking) {
  constexpr int kHelpers = 15;
  KUBERNEL_TRY(const Present present, read_present(ctx, client));
  std::vector<Change> changes;
  for (PolicyObject& object : bootstrap_policy()) {
    auto document = wanted_change(object, present);
    if (!document) continue;
    const bool exists = present.contains({object.resource.plural, object.ns, name_of(object)});
    changes.push_back({{object.resource, object.ns, *std::move(document)}, exists});
  }
  if (changes.empty()) return {};
  const auto writers = std::make_shared<Writers>(ctx, client, std::move(changes));
  for (int i = 0; i < kHelpers; ++i) {
    if (!blocking.submit([writers] { writers->work(); })) break;  // Full: then fewer of us do it.
  }
  return writers->finish();
}

}  // namespace kubernel::apiserver
