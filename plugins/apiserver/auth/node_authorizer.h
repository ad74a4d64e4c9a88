// SPDX-License-Identifier: Apache-2.0
//
// What a node may do: its role, narrowed to what concerns it (upstream's Node authorization mode).
//
// A kubelet reads the secrets, config maps, volumes and claims that pods bound to its node refer to, and no others.
// Which those are is kept from the server's own cache of pods, and brought up to date by the next request that needs
// it.

#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <kubernel/auth/authorizer.h>

#include "auth/policy_rule.h"
#include "pipeline/api.h"

namespace kubernel::apiserver {

/// The name of the node that `user` is; empty when it is none.
std::string_view node_name(const auth::User& user);

/// Threads: all members may be called concurrently, after Api::start().
/// Lifetime: `api` outlives it.
class NodeAuthorizer final : public auth::Authorizer {
 public:
  explicit NodeAuthorizer(Api& api);
  ~NodeAuthorizer() override;

  Result<auth::Decision> authorize(const CallContext& ctx, const auth::Attributes& attributes) override;

 private:
  // "secrets/NS/NAME": an object pods refer to, and how many pods of which node do.
  using Counts = std::map<std::string, int, std::less<>>;
  struct PodRefs {
    std::string node;
    std::vector<std::string> refs;
  };

  auth::Decision referenced(std::string_view node, const auth::Attributes& a);
  auth::Decision decide_pod(std::string_view node, const auth::Attributes& a);
  auth::Decision decide_slice(const CallContext& ctx, std::string_view node, const auth::Attributes& a) const;
  auth::Decision decide_volume(const CallContext& ctx, std::string_view node, const auth::Attributes& a);
  auth::Decision decide_attachment(const CallContext& ctx, std::string_view node, const auth::Attributes& a) const;
  bool allowed_by_role(const auth::Attributes& a) const;
  bool refers(std::string_view node, const std::string& what);
  bool refers_through_volume(std::string_view node, const std::string& secret);
  Result<api::Object> read(const CallContext& ctx, std::string_view group, std::string_view plural,
                           const api::ObjectKey& key) const;

  void refresh();
  void drain();
  void apply(const api::Object& pod, bool gone);

  Api& api_;
  const Store& pods_;
  PolicyRules rules_;

  std::atomic<bool> dirty_{true};
  std::atomic<bool> loaded_{false};
  std::mutex refresh_mutex_;
  std::shared_ptr<Watcher> watcher_;

  mutable std::shared_mutex mutex_;  // Of what follows.
  std::unordered_map<std::string, PodRefs> by_pod_;
  std::unordered_map<std::string, Counts> by_object_;
};

}  // namespace kubernel::apiserver
