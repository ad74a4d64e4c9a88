// SPDX-License-Identifier: Apache-2.0
//
// RBAC: what the roles and bindings in the store allow.
//
// The objects are followed in the server's own watch caches. An index by subject answers a request with a few look-ups;
// it is brought up to date when a cache says that something changed, by the next request that needs it.

#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/api/selector.h>
#include <kubernel/auth/authorizer.h>
#include <kubernel/base/result.h>

#include "auth/policy_rule.h"
#include "pipeline/api.h"

namespace kubernel::apiserver {

/// What a binding gives: `kind` "Role" (of the binding's namespace) or "ClusterRole".
struct RoleRef {
  std::string kind;
  std::string name;
};

/// The rules a user has, and why that may not be all of them.
struct UserRules {
  PolicyRules rules;
  std::vector<std::string> problems;
};

/// Threads: all members may be called concurrently, after Api::start().
/// Lifetime: `api` outlives it.
class Rbac final : public auth::Authorizer {
 public:
  explicit Rbac(Api& api);
  ~Rbac() override;

  Result<auth::Decision> authorize(const CallContext& ctx, const auth::Attributes& attributes) override;

  /// All rules `user` has in `ns` (empty: at the cluster scope only).
  UserRules rules_for(const auth::User& user, std::string_view ns);
  /// The rules of a role, those of an aggregated role as they are now. Errors: NotFound.
  Result<PolicyRules> rules_of(const RoleRef& ref, std::string_view ns);

 private:
  struct Role {
    PolicyRules rules;
    std::shared_ptr<const api::Document> labels;     // Null: none.
    std::shared_ptr<const api::Document> selectors;  // Of an aggregated role: what makes up its rules; else null.
  };
  struct Subject {
    std::string index;  // "u:NAME" or "g:NAME".
    std::string text;   // For reasons: `User "x"`.
  };
  struct Binding {
    std::string text;  // For reasons: `RoleBinding "b/ns"`.
    std::string ns;
    RoleRef role;
    std::vector<Subject> subjects;
  };
  struct Feed;
  // Ordered by key, so that the reason given does not depend on history.
  using Bindings = std::map<std::string, std::shared_ptr<const Binding>>;
  using BySubject = std::unordered_map<std::string, Bindings>;

  auth::Decision decide(const auth::Attributes& attributes) const;
  // Calls visit(binding, subject) for each binding of the user until it returns false. Under the lock.
  template <class Visit>
  bool visit_bindings(const auth::User& user, std::string_view ns, Visit&& visit) const;
  const PolicyRules* find_rules(const RoleRef& ref, std::string_view ns, std::string& problem) const;
  void refresh();
  bool drain(Feed& feed);
  void reload(Feed& feed);
  void apply(const Feed& feed, const api::Object& object, bool gone);
  void apply_role(const std::string& key, const api::Object& object, bool gone);
  void forget_binding(const std::string& key);
  void apply_binding(const std::string& key, const api::Object& object, bool gone, bool namespaced);
  void resolve_aggregates();
  void add_aggregate(const Role& role, PolicyRules& out, std::vector<const Role*>& seen) const;

  Api& api_;
  std::atomic<bool> dirty_{true};
  std::atomic<bool> loaded_{false};
  std::mutex refresh_mutex_;  // Held by the one who drains the feeds.
  std::vector<std::unique_ptr<Feed>> feeds_;

  mutable std::shared_mutex mutex_;              // Of what follows.
  std::unordered_map<std::string, Role> roles_;  // "NAME" for cluster roles, "NS/NAME" for others.
  std::unordered_map<std::string, PolicyRules> aggregated_;
  Bindings bindings_;                                 // By "NS/NAME" or "NAME".
  std::unordered_map<std::string, BySubject> index_;  // By namespace; "" for cluster role bindings.
};

}  // namespace kubernel::apiserver
