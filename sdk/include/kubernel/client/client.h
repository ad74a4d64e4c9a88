// SPDX-License-Identifier: Apache-2.0
//
// ApiClient: the API as controllers, schedulers and node agents use it.
//
// Two implementations: in the API server's process it calls the server's pipeline directly (no HTTP, no copy), under
// the client's own identity, so authorization, admission, defaulting and validation always apply; elsewhere it speaks
// HTTPS.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/api/object.h>
#include <kubernel/api/resource.h>
#include <kubernel/auth/user.h>
#include <kubernel/base/context.h>
#include <kubernel/base/export.h>
#include <kubernel/base/result.h>

namespace kubernel::client {

struct ListOptions {
  std::string ns;              ///< Empty: all namespaces.
  std::string label_selector;  ///< Query form.
  std::string field_selector;
  std::int64_t limit = 0;
  std::string continue_token;
  std::string resource_version;        ///< As in the API: "" most recent, "0" any.
  std::string resource_version_match;  ///< "", "Exact", "NotOlderThan".
};

struct ObjectList {
  std::vector<api::Object> items;
  std::int64_t resource_version = 0;
  std::string continue_token;
};

struct WatchOptions {
  std::string ns;
  std::string label_selector;
  std::string field_selector;
  std::int64_t resource_version = 0;  ///< Events after it; 0: begin with ADDED for what exists.
  bool bookmarks = true;
};

enum class EventType : std::uint8_t { Added, Modified, Deleted, Bookmark };

struct WatchEvent {
  EventType type = EventType::Added;
  api::Object object;  ///< Bookmark: only metadata.resourceVersion is meaningful.
};

/// Threads: one reader; notify's callback comes from any thread. Destroying it ends the watch.
class Watch {
 public:
  virtual ~Watch() = default;
  /// What has arrived, at most `max`; empty when nothing is new. Never blocks.
  /// Errors: Expired (410: list again), ServiceUnavailable (it broke), Timeout (ended in good order: go on). It is then
  /// over.
  virtual Result<std::vector<WatchEvent>> take(std::size_t max) = 0;
  /// As storage::Watch::notify().
  virtual void notify(std::function<void()> ready) = 0;
};

enum class PatchType : std::uint8_t { Json, Merge, StrategicMerge, Apply };

struct WriteOptions {
  std::string subresource;  ///< "status", "scale", "binding", "eviction", "token", …; empty: the object itself.
  std::string field_manager;
  bool dry_run = false;
  bool force = false;  ///< Apply only.
};

enum class Propagation : std::uint8_t { Default, Background, Foreground, Orphan };

struct DeleteOptions {
  std::optional<std::int64_t> grace_period_seconds;
  std::string precondition_uid;  ///< Conflict when the object has another uid.
  std::string precondition_resource_version;
  Propagation propagation = Propagation::Default;
  bool dry_run = false;
};

/// Threads: all members may be called concurrently. Calls block the caller's thread; in one process
/// they run on it.
///
/// Errors: the API's own (NotFound, AlreadyExists, Conflict, Invalid, Forbidden, TooManyRequests, …) with details, and
/// Timeout, Cancelled, ServiceUnavailable for transport.
class ApiClient {
 public:
  virtual ~ApiClient() = default;

  /// `subresource` empty: the object; else "scale", "status", ….
  virtual Result<api::Object> get(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                                  std::string_view subresource) = 0;
  virtual Result<ObjectList> list(const CallContext& ctx, const api::Resource& resource,
                                  const ListOptions& options) = 0;
  virtual Result<std::unique_ptr<Watch>> watch(const CallContext& ctx, const api::Resource& resource,
                                               const WatchOptions& options) = 0;
  /// `parent.ns` is the namespace (empty for cluster-scoped resources). `parent.name` is used with options.subresource
  /// only; otherwise the document names itself. apiVersion and kind may be left out.
  virtual Result<api::Object> create(const CallContext& ctx, const api::Resource& resource,
                                     const api::ObjectKey& parent, const nlohmann::json& document,
                                     const WriteOptions& options) = 0;
  /// Replaces; a metadata.resourceVersion in the document must match (Conflict), none overwrites.
  virtual Result<api::Object> update(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                                     const nlohmann::json& document, const WriteOptions& options) = 0;
  virtual Result<api::Object> patch(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                                    PatchType type, const nlohmann::json& patch, const WriteOptions& options) = 0;
  /// Returns the object as it is after the request: still there when finalizers or a grace period hold it.
  virtual Result<api::Object> remove(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                                     const DeleteOptions& options) = 0;
  virtual Result<void> remove_all(const CallContext& ctx, const api::Resource& resource, const ListOptions& which,
                                  const DeleteOptions& options) = 0;

  struct DiscoveredResource {
    api::Resource resource;
    std::string kind;
    bool namespaced = false;
    std::vector<std::string> verbs;
  };
  /// The preferred version of every served resource, subresources left out: for the garbage collector and
  /// the namespace controller.
  virtual Result<std::vector<DiscoveredResource>> discover(const CallContext& ctx) = 0;
};

/// Makes clients with an identity. Offered by the API server component, or by the `api-client` component in processes
/// without one.
class Connector {
 public:
  static constexpr std::string_view kService = "api";
  virtual ~Connector() = default;

  /// In the server's process the identity is taken as proven. Over HTTPS the process's own credentials are used and
  /// `user` is ignored, except that controllers of one process ask for a service account token of their own when
  /// configured to.
  virtual std::unique_ptr<ApiClient> connect(const auth::User& user) = 0;
};

}  // namespace kubernel::client
