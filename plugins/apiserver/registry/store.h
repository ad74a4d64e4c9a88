// SPDX-License-Identifier: Apache-2.0
//
// Store: one resource's objects, with the rules every resource shares. What is special comes from its Strategy.
//
// Writes are compare-and-swap loops against the backend. Reads come from the watch cache, after it has caught up with
// the backend when the caller wants the latest.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/log.h>
#include <kubernel/base/random.h>
#include <kubernel/base/result.h>
#include <kubernel/client/client.h>
#include <kubernel/schema/schema.h>
#include <kubernel/storage/backend.h>

#include "registry/json_util.h"
#include "registry/lease_pool.h"
#include "strategies/strategy.h"
#include "watch_cache/cache_set.h"

namespace kubernel::apiserver {

struct StoreContext {
  storage::Backend& backend;
  CacheSet& caches;
  Clock& clock;
  Random& random;
  Logger& log;
  LeasePool& expiry;  ///< For what Traits::expires.
};

/// What the pipeline does to an object between the client's wish and the store. `old` null: a create. Members may be
/// empty.
struct WriteHooks {
  std::function<Result<void>(json& document, const api::Object* old)> mutate;
  std::function<Result<void>(const json& document, const api::Object* old)> validate;
};

struct ListQuery {
  Filter filter;
  std::int64_t limit = 0;
  std::string continue_token;
  std::string resource_version;
  std::string resource_version_match;
};

struct ListResult {
  std::vector<api::Object> items;
  Revision revision = 0;
  std::string continue_token;
  std::optional<std::int64_t> remaining;
};

struct WatchQuery {
  Filter filter;
  std::string resource_version;
  bool bookmarks = false;
  bool send_initial_events = false;
};

/// What part of an object an update may change.
enum class Part : std::uint8_t { Object, Status, Anything };

struct UpdateRequest {
  api::ObjectKey key;
  Part part = Part::Object;
  /// The object as the client wants it, decoded and with defaults. Called again when a write lost a race.
  std::function<Result<json>(const api::Object& current)> desired;
  /// What to create when there is no such object and the kind allows it; empty: never.
  std::function<Result<json>()> created;
  WriteHooks hooks;
  bool dry_run = false;
};
struct Updated {
  api::Object object;
  bool created = false;
};

struct DeleteRequest {
  api::ObjectKey key;
  client::DeleteOptions options;
  std::function<Result<void>(const api::Object& current)> validate;  ///< Admission; may be empty.
};
struct Removed {
  api::Object object;  ///< As it is now, or was last.
  bool gone = false;
};

/// Threads: all members may be called concurrently.
class Store {
 public:
  Store(const StoreContext& context, const schema::ResourceInfo& info, std::unique_ptr<Strategy> strategy,
        ResourceCache& cache);

  const schema::ResourceInfo& info() const noexcept { return info_; }
  const Strategy& strategy() const noexcept { return *strategy_; }
  ResourceCache& cache() const noexcept { return cache_; }

  /// `resource_version`: "" the latest, "0" whatever is at hand, else at least that.
  Result<api::Object> get(const CallContext& ctx, const api::ObjectKey& key, std::string_view resource_version) const;
  Result<ListResult> list(const CallContext& ctx, const ListQuery& query) const;
  Result<std::shared_ptr<Watcher>> watch(const CallContext& ctx, const WatchQuery& query) const;

  /// `document`: decoded, with defaults; apiVersion and kind set. Its name is generated when it has a generateName
  /// only.
  Result<api::Object> create(const CallContext& ctx, const api::ObjectKey& parent, json document,
                             const WriteHooks& hooks, bool dry_run) const;
  Result<Updated> update(const CallContext& ctx, const UpdateRequest& request) const;
  Result<Removed> remove(const CallContext& ctx, const DeleteRequest& request) const;

 private:
  struct Attempt;

  std::string storage_key(const api::ObjectKey& key) const;
  static std::string cache_key(const api::ObjectKey& key);
  Result<api::Object> make_object(std::string_view stored, Revision revision) const;
  std::string encode(const json& document) const;
  Result<storage::CasResult> put(const CallContext& ctx, std::string_view key, std::string_view value,
                                 Revision expected) const;

  Result<ListResult> list_at(const CallContext& ctx, const Filter& filter, std::int64_t limit, std::string start,
                             Revision revision) const;

  Result<api::Object> create_once(const CallContext& ctx, json document, const WriteHooks& hooks, bool dry_run) const;
  Result<void> keep_metadata(json& document, const json& old) const;
  Result<void> check_update(const json& document, const json& old, Part part) const;
  Result<json> prepare_update(const UpdateRequest& request, const api::Object& current, const json& old) const;
  bool may_be_removed(const json& document, const json& old) const;
  /// An object that is to be changed.
  struct Current {
    api::Object object;  ///< Empty: there is none.
    Revision revision = 0;
    bool fresh = false;  ///< Read from the store, not from the cache, which may be behind it.
  };
  Result<Current> cached(const CallContext& ctx, const api::ObjectKey& key) const;
  Result<Current> stored(const CallContext& ctx, const api::ObjectKey& key) const;
  Result<Current> current_of(const std::optional<storage::KeyValue>& kv) const;
  /// One attempt to change `current`. `written` stays false when there was nothing to change, or when another write
  /// came first: `winner` then is what it wrote.
  struct Attempt {
    Updated result;
    bool written = false;
    bool lost = false;
    std::optional<storage::KeyValue> winner;
  };
  Result<Attempt> try_update(const CallContext& ctx, const UpdateRequest& request, const Current& current) const;
  Result<std::optional<Removed>> try_remove(const CallContext& ctx, const DeleteRequest& request,
                                            const api::Object& current, Revision modified,
                                            std::optional<storage::KeyValue>& winner) const;

  StoreContext context_;
  const schema::ResourceInfo& info_;
  std::unique_ptr<Strategy> strategy_;
  ResourceCache& cache_;
  std::string prefix_;  // With the slash.
};

/// metav1.ListMeta.continue: where to go on, at which revision.
struct ContinueToken {
  Revision revision = 0;
  std::string start;
};
std::string encode_continue(const ContinueToken& token);
/// Errors: BadRequest.
Result<ContinueToken> decode_continue(std::string_view text);
/// A resourceVersion parameter. Errors: BadRequest with upstream's message.
Result<Revision> parse_resource_version(std::string_view text);

}  // namespace kubernel::apiserver
