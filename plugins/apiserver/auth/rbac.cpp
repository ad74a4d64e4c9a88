// SPDX-License-Identifier: Apache-2.0
#include "auth/rbac.h"

#include <algorithm>
#include <utility>

#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";
constexpr std::size_t kBatch = 512;

std::shared_ptr<const api::Document> copy(api::Value value) {
  if (value.empty()) return nullptr;
  auto document = api::Document::parse(value.dump());
  return document ? *std::move(document) : nullptr;
}

}  // namespace

// One of the four resources, and our place in its events.
struct Rbac::Feed {
  std::string plural;
  const Store* store = nullptr;
  std::shared_ptr<Watcher> watcher;
};

Rbac::Rbac(Api& api) : api_(api) {
  for (const char* plural : {"clusterroles", "roles", "clusterrolebindings", "rolebindings"}) {
    auto feed = std::make_unique<Feed>();
    feed->plural = plural;
    feed->store = api.store(*api.find(kGroup, "v1", plural));
    feeds_.push_back(std::move(feed));
  }
}

Rbac::~Rbac() = default;

Result<auth::Decision> Rbac::authorize(const CallContext&, const auth::Attributes& attributes) {
  refresh();
  auth::Decision out = decide(attributes);
  if (out.allowed) return out;
  // Who was given a right a moment ago has it: before a no, the caches take in what the store has ready.
  api_.caches().pump();
  if (!dirty_.load(std::memory_order_acquire)) return out;
  refresh();
  return decide(attributes);
}

auth::Decision Rbac::decide(const auth::Attributes& attributes) const {
  auth::Decision out;
  std::vector<std::string> problems;
  const std::shared_lock lock(mutex_);
  visit_bindings(attributes.user, attributes.ns, [&](const Binding& binding, const Subject& subject) {
    std::string problem;
    const PolicyRules* rules = find_rules(binding.role, binding.ns, problem);
    if (rules == nullptr) {
      problems.push_back(std::move(problem));
      return true;
    }
    out.allowed =
        std::any_of(rules->begin(), rules->end(), [&](const PolicyRule& rule) { return allows(rule, attributes); });
    if (out.allowed) {
      out.reason = "RBAC: allowed by " + binding.text + " of " + binding.role.kind + " " + quote(binding.role.name) +
                   " to " + subject.text;
    }
    return !out.allowed;
  });
  if (out.allowed || problems.empty()) return out;
  std::string joined;
  for (const std::string& problem : problems) joined += (joined.empty() ? "" : ", ") + problem;
  out.reason = "RBAC: " + (problems.size() > 1 ? "[" + joined + "]" : joined);
  return out;
}

UserRules Rbac::rules_for(const auth::User& user, std::string_view ns) {
  api_.caches().pump();
  refresh();
  UserRules out;
  const std::shared_lock lock(mutex_);
  visit_bindings(user, ns, [&](const Binding& binding, const Subject&) {
    std::string problem;
    if (const PolicyRules* rules = find_rules(binding.role, binding.ns, problem)) {
      out.rules.insert(out.rules.end(), rules->begin(), rules->end());
    } else {
      out.problems.push_back(std::move(problem));
    }
    return true;
  });
  return out;
}

Result<PolicyRules> Rbac::rules_of(const RoleRef& ref, std::string_view ns) {
  api_.caches().pump();
  refresh();
  const std::shared_lock lock(mutex_);
  std::string problem;
  if (const PolicyRules* rules = find_rules(ref, ns, problem)) return *rules;
  const schema::ResourceInfo* info = api_.find(kGroup, "v1", ref.kind == "Role" ? "roles" : "clusterroles");
  return not_found(*info, ref.name);
}

template <class Visit>
bool Rbac::visit_bindings(const auth::User& user, std::string_view ns, Visit&& visit) const {
  const auto visit_scope = [&](const std::string& scope) {
    const auto found = index_.find(scope);
    if (found == index_.end()) return true;
    const auto visit_subject = [&](const std::string& subject) {
      const auto bound = found->second.find(subject);
      if (bound == found->second.end()) return true;
      for (const auto& [key, binding] : bound->second) {
        const auto named = std::find_if(binding->subjects.begin(), binding->subjects.end(),
                                        [&](const Subject& one) { return one.index == subject; });
        if (!visit(*binding, *named)) return false;
      }
      return true;
    };
    if (!visit_subject("u:" + user.name)) return false;
    return std::all_of(user.groups.begin(), user.groups.end(),
                       [&](const std::string& group) { return visit_subject("g:" + group); });
  };
  if (!visit_scope("")) return false;
  return ns.empty() || visit_scope(std::string(ns));
}

const PolicyRules* Rbac::find_rules(const RoleRef& ref, std::string_view ns, std::string& problem) const {
  const bool namespaced = ref.kind == "Role";
  const std::string key = namespaced ? std::string(ns) + "/" + ref.name : ref.name;
  if (!namespaced) {
    if (const auto aggregated = aggregated_.find(key); aggregated != aggregated_.end()) return &aggregated->second;
  }
  if (const auto role = roles_.find(key); role != roles_.end()) return &role->second.rules;
  problem = std::string(namespaced ? "role" : "clusterrole") + "." + std::string(kGroup) + " " + quote(ref.name) +
            " not found";
  return nullptr;
}

void Rbac::refresh() {
  // Who comes while another brings the index up to date goes on with the old one; but the first has to be there.
  if (!dirty_.load(std::memory_order_acquire) && loaded_.load(std::memory_order_acquire)) return;
  const std::lock_guard turn(refresh_mutex_);
  if (!dirty_.exchange(false)) return;
  bool roles_changed = false;
  for (const auto& feed : feeds_) {
    const bool changed = drain(*feed);
    roles_changed = roles_changed || (changed && feed->plural == "clusterroles");
  }
  if (roles_changed) {
    const std::unique_lock lock(mutex_);
    resolve_aggregates();
  }
  loaded_.store(true, std::memory_order_release);
}

// Applies what is new. Returns whether there was something.
bool Rbac::drain(Feed& feed) {
  bool changed = false;
  while (true) {
    if (feed.watcher == nullptr) {
      reload(feed);
      changed = true;
      if (feed.watcher == nullptr) return changed;
    }
    auto events = feed.watcher->take(kBatch);
    if (!events) {
      feed.watcher.reset();
      continue;
    }
    if (events->empty()) break;
    changed = true;
    const std::unique_lock lock(mutex_);
    for (const client::WatchEvent& event : *events) apply(feed, event.object, event.type == client::EventType::Deleted);
  }
  // Re-arms: calls back at once when something came after the last take().
  feed.watcher->notify([this] { dirty_.store(true, std::memory_order_release); });
  return changed;
}

void Rbac::reload(Feed& feed) {
  {
    const std::unique_lock lock(mutex_);
    const bool namespaced = feed.store->info().namespaced;
    const auto mine = [&](const std::string& key) { return (key.find('/') != std::string::npos) == namespaced; };
    if (feed.plural.ends_with("bindings")) {
      std::erase_if(bindings_, [&](const auto& entry) { return mine(entry.first); });
      std::erase_if(index_, [&](const auto& entry) { return entry.first.empty() != namespaced; });
    } else {
      std::erase_if(roles_, [&](const auto& entry) { return mine(entry.first); });
    }
  }
  ResourceCache::WatchStart start;
  auto watcher = feed.store->cache().watch(std::move(start));
  if (watcher) {
    feed.watcher = *std::move(watcher);
  } else {
    dirty_.store(true,
                 std::memory_order_release);  // The state ran ahead while it was read: the next request tries again.
  }
}

void Rbac::apply(const Feed& feed, const api::Object& object, bool gone) {
  const std::string key = api::to_string(object.key());
  if (feed.plural.ends_with("bindings")) {
    apply_binding(key, object, gone, feed.store->info().namespaced);
  } else {
    apply_role(key, object, gone);
  }
}

void Rbac::apply_role(const std::string& key, const api::Object& object, bool gone) {
  if (gone) {
    roles_.erase(key);
    return;
  }
  roles_[key] = {read_rules(object["rules"]), copy(object.labels()),
                 copy(object["aggregationRule"]["clusterRoleSelectors"])};
}

void Rbac::forget_binding(const std::string& key) {
  const auto old = bindings_.find(key);
  if (old == bindings_.end()) return;
  if (const auto scope = index_.find(old->second->ns); scope != index_.end()) {
    for (const Subject& subject : old->second->subjects) {
      const auto bound = scope->second.find(subject.index);
      if (bound == scope->second.end()) continue;
      bound->second.erase(key);
      if (bound->second.empty()) scope->second.erase(bound);
    }
    if (scope->second.empty()) index_.erase(scope);
  }
  bindings_.erase(old);
}

void Rbac::apply_binding(const std::string& key, const api::Object& object, bool gone, bool namespaced) {
  forget_binding(key);
  if (gone) return;
  auto binding = std::make_shared<Binding>();
  binding->ns = object.ns();
  binding->text = namespaced ? "RoleBinding " + quote(object.name() + "/" + object.ns())
                             : "ClusterRoleBinding " + quote(object.name());
  binding->role = {std::string(object["roleRef"]["kind"].string()), std::string(object["roleRef"]["name"].string())};
  for (const api::Value subject : object["subjects"]) {
    const std::string kind(subject["kind"].string());
    const std::string name(subject["name"].string());
    if (kind == "ServiceAccount") {
      const std::string ns(subject["namespace"].string(object.ns()));
      if (!ns.empty())
        binding->subjects.push_back(
            {"u:system:serviceaccount:" + ns + ":" + name, kind + " " + quote(name + "/" + ns)});
    } else if (kind == "User" || kind == "Group") {
      binding->subjects.push_back({(kind == "User" ? "u:" : "g:") + name, kind + " " + quote(name)});
    }
  }
  for (const Subject& subject : binding->subjects) index_[binding->ns][subject.index][key] = binding;
  bindings_[key] = std::move(binding);
}

void Rbac::resolve_aggregates() {
  aggregated_.clear();
  for (const auto& [key, role] : roles_) {
    if (role.selectors == nullptr) continue;
    std::vector<const Role*> seen;
    add_aggregate(role, aggregated_[key], seen);
  }
}

void Rbac::add_aggregate(const Role& role, PolicyRules& out, std::vector<const Role*>& seen) const {
  if (std::find(seen.begin(), seen.end(), &role) != seen.end()) return;
  seen.push_back(&role);
  if (role.selectors == nullptr) {
    for (const PolicyRule& rule : role.rules) {
      if (std::find(out.begin(), out.end(), rule) == out.end()) out.push_back(rule);
    }
    return;
  }
  std::vector<api::LabelSelector> selectors;
  for (const api::Value text : role.selectors->root()) {
    if (auto selector = api::LabelSelector::from_api(text)) selectors.push_back(*std::move(selector));
  }
  for (const auto& [key, other] : roles_) {
    if (key.find('/') != std::string::npos) continue;
    const bool chosen = std::any_of(selectors.begin(), selectors.end(), [&](const api::LabelSelector& selector) {
      return selector.matches(other.labels ? other.labels->root() : api::Value());
    });
    if (chosen) add_aggregate(other, out, seen);
  }
}

}  // namespace kubernel::apiserver
