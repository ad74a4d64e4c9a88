// SPDX-License-Identifier: Apache-2.0
//
// FakeCluster: an API server small enough to reason about, for tests of controllers, schedulers and node agents.
//
// It keeps objects, hands out revisions and uids and enforces the preconditions the real one does: compare-and-swap on
// resourceVersion, separate status, generateName, finalizers, graceful deletion of pods, terminating namespaces,
// watches with selectors. It neither defaults nor validates. It does not record calls: a test looks at the objects that
// exist afterwards, not at how they came to be.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/base/clock.h>
#include <kubernel/client/client.h>

namespace kubernel::testing {

/// Threads: all members may be called concurrently. Lifetime: `clock` outlives the cluster; the cluster outlives the
/// clients it made.
class FakeCluster final : public client::ApiClient, public client::Connector {
 public:
  explicit FakeCluster(const Clock& clock);
  ~FakeCluster() override;
  FakeCluster(const FakeCluster&) = delete;
  FakeCluster& operator=(const FakeCluster&) = delete;

  /// Adds an object, status included, or replaces the one of that name (then its uid and creation time stay). A broken
  /// fixture is a broken test: ends the process when it is malformed.
  api::Object put(const api::Resource& resource, const nlohmann::json& document);
  /// The same from JSON text.
  api::Object put_text(const api::Resource& resource, std::string_view json_text);
  /// Changes any part of an object, as another controller or a node would. Ends the process when there is none.
  api::Object edit(const api::Resource& resource, const api::ObjectKey& key,
                   const std::function<void(nlohmann::json&)>& change);
  /// Removes an object at once, whatever holds it; nothing when there is none.
  void erase(const api::Resource& resource, const api::ObjectKey& key);

  /// Everything of `resource`, ascending by key; `ns` empty: all namespaces.
  std::vector<api::Object> all(const api::Resource& resource, std::string_view ns = {}) const;
  std::optional<api::Object> find(const api::Resource& resource, const api::ObjectKey& key) const;

  /// A resource beyond the built-in ones (a custom resource).
  void serve(const api::Resource& resource, std::string kind, bool namespaced);

  /// While frozen, watches deliver nothing, so every informer shows the past; writes go through.
  void freeze_cache();
  void thaw_cache();
  /// Every open watch ends with `reason` (Expired, or ServiceUnavailable as a broken connection does).
  void break_watches(Reason reason);
  /// The next `times` calls of `verb` ("get", "list", "watch", "create", "update", "patch", "delete",
  /// "deletecollection"; with a subresource "update/status") on `resource` fail with `error` and change nothing.
  void fail_next(std::string verb, const api::Resource& resource, Error error, int times = 1);
  /// Runs before each such call; the place for what happens "meanwhile". An error it returns becomes the call's.
  void on_call(
      std::function<Result<void>(std::string_view verb, const api::Resource& resource, const api::ObjectKey& key)>
          hook);

  /// Names of the users connect() was called with, in order.
  std::vector<std::string> users() const;

  std::unique_ptr<client::ApiClient> connect(const auth::User& user) override;

  Result<api::Object> get(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                          std::string_view subresource) override;
  Result<client::ObjectList> list(const CallContext& ctx, const api::Resource& resource,
                                  const client::ListOptions& options) override;
  Result<std::unique_ptr<client::Watch>> watch(const CallContext& ctx, const api::Resource& resource,
                                               const client::WatchOptions& options) override;
  Result<api::Object> create(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& parent,
                             const nlohmann::json& document, const client::WriteOptions& options) override;
  Result<api::Object> update(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                             const nlohmann::json& document, const client::WriteOptions& options) override;
  Result<api::Object> patch(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                            client::PatchType type, const nlohmann::json& patch,
                            const client::WriteOptions& options) override;
  Result<api::Object> remove(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                             const client::DeleteOptions& options) override;
  Result<void> remove_all(const CallContext& ctx, const api::Resource& resource, const client::ListOptions& which,
                          const client::DeleteOptions& options) override;
  Result<std::vector<DiscoveredResource>> discover(const CallContext& ctx) override;

 private:
  struct State;
  class Cursor;
  std::shared_ptr<State> state_;
};

}  // namespace kubernel::testing
