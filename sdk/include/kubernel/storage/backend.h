// SPDX-License-Identifier: Apache-2.0
//
// Backend: a revisioned key-value store with a watch.
//
// This is the narrow waist under the API server: few operations, with etcd's meaning (etcd API
// guarantees, KV and Watch). A backend knows nothing of Kubernetes; keys and values are bytes.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>
#include <kubernel/base/result.h>
#include <kubernel/storage/transaction.h>
#include <kubernel/storage/types.h>

namespace kubernel::storage {

/// The outcome of a compare-and-swap. Losing the race is an outcome, not an Error:
/// the caller gets what won, and needs no second read to try again.
struct CasResult {
  bool applied = false;
  Revision revision = 0;            ///< Applied: the revision of this write. Else: the store's revision.
  std::optional<KeyValue> current;  ///< Not applied: the winner, absent when the key does not exist.
                                    ///< Applied remove: the value that was removed.
};

struct Event {
  enum class Type : std::uint8_t { Put, Delete };
  Type type = Type::Put;
  KeyValue kv;                       ///< Delete: key and `modified` (the deletion's revision) only.
  std::optional<KeyValue> previous;  ///< What the event replaced; absent when it was new or is compacted.
};

struct WatchOptions {
  std::string start;  ///< As in RangeOptions.
  std::string end;
  Revision from = 0;  ///< First revision wanted; 0: everything after now.
};

/// What take() found. `progress` says that every event up to it has been delivered.
struct WatchBatch {
  std::vector<Event> events;  ///< Ascending by revision; events of one revision are never split.
  Revision progress = 0;
};

/// A cursor into the store's history.
///
/// Guarantees (etcd "Watch APIs"): ordered, unique, reliable (no gap), atomic (one revision is
/// delivered whole), resumable, bookmarkable. A slow reader costs other readers nothing.
/// Lifetime: must be destroyed before its Backend. Threads: one reader; notify's callback comes from any thread.
class Watch {
 public:
  virtual ~Watch() = default;

  /// What is available now, at most about `max_events`; empty when nothing is new. Never waits for a write.
  ///
  /// Errors: Expired when `from` (or the cursor's place) has been compacted; the watch is then over.
  virtual Result<WatchBatch> take(std::size_t max_events) = 0;

  /// Calls `ready` when take() may find something new: once at once if there is something, and
  /// then at least once after each write in range that follows an empty take(). `ready` runs inside notify() or on a
  /// writer's thread, without a lock of the backend's; it must not block and must not call take() itself. Replaces the
  /// earlier callback; an empty function removes it and waits for a running one.
  virtual void notify(std::function<void()> ready) = 0;
};

struct LeaseState {
  LeaseId id = 0;
  std::chrono::seconds ttl{0};
  std::chrono::milliseconds remaining{0};
  std::vector<std::string> keys;  ///< Ascending; empty unless asked for.
};

/// Keys attached to a lease are deleted, with events, under one revision, when it expires or is revoked.
///
/// Threads and common errors: as Backend.
class Leases {
 public:
  virtual ~Leases() = default;

  /// `id` 0: chooses one. `ttl`: at least a second. Errors: AlreadyExists when `id` is taken.
  virtual Result<LeaseId> grant(const CallContext& ctx, LeaseId id, std::chrono::seconds ttl) = 0;
  /// Starts the TTL anew, and returns it. Errors: NotFound.
  virtual Result<std::chrono::seconds> renew(const CallContext& ctx, LeaseId id) = 0;
  /// Errors: NotFound.
  virtual Result<void> revoke(const CallContext& ctx, LeaseId id) = 0;
  /// Errors: NotFound.
  virtual Result<LeaseState> find(const CallContext& ctx, LeaseId id, bool with_keys) = 0;
  /// All leases, ascending.
  virtual Result<std::vector<LeaseId>> list(const CallContext& ctx) = 0;
};

struct Stats {
  Revision revision = 0;
  Revision compacted = 0;  ///< History before this revision is gone.
  std::int64_t keys = 0;
  std::int64_t size_bytes = 0;  ///< As of at most a few hundred writes ago.
  std::string stopped;          ///< Why no more writes are taken, as one line; empty while they are.
};

/// Guarantees every implementation gives, and kubernel/testing/storage_conformance.h checks:
///   - revisions grow by exactly one per applied write, which may be a transaction of many keys, and are never reused;
///     an empty store is at revision 1;
///   - a read at revision R sees all writes up to R and none after;
///   - reads and writes are linearizable: a read that begins after a write returned sees it;
///   - a write that returned survives a crash of this process and, unless configured otherwise, power loss;
///   - an error from a write means it was not applied, except Unknown-outcome errors (Timeout,
///     ServiceUnavailable), after which it may or may not have been.
///
/// Threads: all members may be called concurrently. Calls block; never call them on an I/O thread.
///
/// Errors common to all: Timeout (deadline), Cancelled (stop), ServiceUnavailable (the database
/// cannot be reached, or a failed write stopped the store), Internal (corruption: names key and revision).
class Backend {
 public:
  virtual ~Backend() = default;

  /// Writes `value` if the key's last modification is `expected`; 0 means the key
  /// must not exist. An empty `value` is a value. `lease` 0 detaches the key from any lease.
  /// Errors: NotFound when there is no such lease.
  virtual Result<CasResult> put(const CallContext& ctx, std::string_view key, std::string_view value, Revision expected,
                                LeaseId lease) = 0;

  /// Deletes the key if its last modification is `expected`; never applied for 0.
  virtual Result<CasResult> remove(const CallContext& ctx, std::string_view key, Revision expected) = 0;

  /// Looks at the conditions and does what follows from them as one write: nothing comes between, all of it has one
  /// revision, a crash leaves all or nothing. A transaction that changes nothing has no revision of its own.
  /// Errors: NotFound when a lease does not exist, or a key that was to keep its value or lease; BadRequest when a key
  /// would be written twice ("duplicate key given in txn request") or a revision is in the future; Expired when
  /// it has been compacted. Nothing has been done then.
  virtual Result<TransactionResult> transact(const CallContext& ctx, const Transaction& transaction) = 0;

  /// One key as of `at` (0: now); absent when it does not exist.
  /// Errors: Expired when `at` has been compacted; BadRequest when `at` is in the future.
  virtual Result<std::optional<KeyValue>> get(const CallContext& ctx, std::string_view key, Revision at) = 0;

  /// Errors: as get().
  virtual Result<Page> range(const CallContext& ctx, const RangeOptions& options) = 0;

  /// Keys in [start, end) as of now; costs no value reads.
  virtual Result<std::int64_t> count(const CallContext& ctx, std::string_view start, std::string_view end) = 0;

  /// Errors: Expired when options.from has been compacted (may also come from the first take()).
  virtual Result<std::unique_ptr<Watch>> watch(const WatchOptions& options) = 0;

  /// Forgets history before `revision`: later reads at an older revision are Expired. Current values stay.
  /// What is left when it is interrupted is done by the next call. Works in small batches; writers are never held up
  /// for long. Errors: Expired when already compacted past it, BadRequest when it is in the future.
  virtual Result<void> compact(const CallContext& ctx, Revision revision) = 0;

  /// The store's leases. Lifetime: the backend's.
  virtual Leases& leases() = 0;

  /// The store's revision, counted after every write that has returned.
  virtual Result<Stats> stats(const CallContext& ctx) = 0;
};

/// Lent to a backend for its whole life; the references outlive it.
struct BackendContext {
  std::string config_json;  ///< The plugin's checked configuration.
  Logger& log;
  Metrics& metrics;
  Clock& clock;
  Executor& blocking;
  Poller& poller;
};

/// Extension point "storage". The component that owns the store (an API server) opens the one that is loaded.
struct BackendSpec {
  static constexpr std::string_view kPoint = "storage";
  /// Opens the store, creating it when it does not exist.
  /// Errors: one line that names the file or server, what failed and what to do.
  Result<std::unique_ptr<Backend>> (*open)(const BackendContext& context) = nullptr;
  /// Copies the store, which may be in use by another process, as of one moment into `file`, which open() takes as a
  /// store afterwards. Null: this backend's server has tools of its own for it.
  /// Errors: AlreadyExists when there is such a file; one line as from open().
  Result<void> (*backup)(const BackendContext& context, const std::string& file) = nullptr;
};

}  // namespace kubernel::storage
