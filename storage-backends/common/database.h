// SPDX-License-Identifier: Apache-2.0
//
// Database: what the revisioned log (log_store.h) needs of a transactional database.
//
// The layout every SQL database gives it, with the types of its dialect:
//
//   log     id PRIMARY KEY, key, created, version, lease, previous, deleted, checksum, value
//   keys    key PRIMARY KEY (bytewise order), id, live, lease        one row per key, its newest row
//   leases  id PRIMARY KEY, ttl, renewals
//   meta    schema version, compacted, swept; shared databases also: head, in the same single row
//
// `log` is history and the only place of values; `keys` is the current state; both change in one transaction.
// A row's id is its revision and its place among the rows of that revision (row_id()), so that the plain order of ids
// is the order of events, and a write of one key costs nothing for it. `previous` is the id of the key's row before,
// and chains the rows of one key, so that neither reading the past nor compaction needs another index:
//   - the state of a key at an older revision is found by following `previous` from its newest row;
//   - what compaction up to R may delete are the `previous` of the rows up to R, and deletions before R.
// A deleted key keeps its row in `keys` (live = 0) until the deletion is compacted.
//
// Revisions are assigned by the log store inside the write transaction, counting on from begin(): there are no gaps.
//
// A database shared by several processes (shared()), each with a log store of its own:
//   - begin() locks the one row of `meta` and waits for whoever has it. Under that lock nobody else writes; begin()
//     returns what is committed, and the reading members see at least that from then on.
//   - The log store then reads what others wrote since (changes()) and shows it to its watches, before its own.
//   - Between writes it is told that somebody wrote (on_foreign_write()), or asks for marks() now and then.
//   - Reads of the current state go to the database, in one snapshot each: they are linearizable.
//   - A lease belongs to nobody: renewing it counts up `renewals`. Each process that knows of it waits for its end; the
//     one that finds, under the lock, that it has not been renewed meanwhile drops it.
//   - Compaction goes by steps, each in a transaction of its own from `swept` on, whoever makes it.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/storage/backend.h>

#include "event_log.h"
#include "lease_table.h"

namespace kubernel::storage_common {

/// A row's place in the log; rows of one revision are ordered by their place in it.
using RowId = std::int64_t;
constexpr unsigned kPlaceBits = 20;
constexpr std::int64_t kRowsPerRevision = std::int64_t{1} << kPlaceBits;

constexpr RowId row_id(storage::Revision revision, std::int64_t place = 0) noexcept {
  return (revision << kPlaceBits) | place;
}
constexpr storage::Revision revision_of(RowId id) noexcept {
  return id >> kPlaceBits;
}

/// One write to one key, as the log keeps it.
struct Row {
  std::shared_ptr<const storage::KeyValue> kv;  ///< Never null. Deleted: key and `modified` only.
  RowId id = 0;                                 ///< revision_of(id) == kv->modified.
  RowId previous = 0;                           ///< The key's row before this one; 0: none.
  bool deleted = false;
};

/// Where a store stands.
struct Marks {
  storage::Revision head = kEmptyStore;  ///< The store's revision.
  storage::Revision compacted = 0;       ///< Earlier history must not be read.
  storage::Revision swept = 0;           ///< Less than `compacted` when a compaction was interrupted.
};

/// The one write transaction. Each begin() that succeeds is followed by commit() or rollback().
///
/// Threads: one call at a time. Errors: ServiceUnavailable when writes are not possible; from commit(), the outcome
/// is then unknown; after any other call rollback() undoes everything.
class Writer {
 public:
  virtual ~Writer() = default;

  /// Starts a transaction that no other writer can interleave with, also not one of another process.
  virtual Result<Marks> begin() = 0;
  /// The newest row of each key, deletions too. A damaged row is the error of its key alone (Internal).
  virtual std::vector<Result<std::optional<Row>>> newest(std::span<const std::string_view> keys) = 0;
  /// Live keys now; options.at is 0. Not asked for after append().
  virtual Result<storage::Page> range(const storage::RangeOptions& options) = 0;
  /// Adds rows with ascending ids to the log, and makes each the newest of its key. The last one's revision is the
  /// store's after the commit. A key may come several times, under several revisions.
  virtual Result<void> append(std::span<const Row> rows) = 0;
  /// The live keys of a lease, ascending.
  virtual Result<std::vector<std::string>> leased(storage::LeaseId id) = 0;
  virtual Result<std::optional<LeaseRecord>> find_lease(storage::LeaseId id) = 0;
  /// Replaces the record of the same id.
  virtual Result<void> save_lease(const LeaseRecord& lease) = 0;
  virtual Result<void> erase_lease(storage::LeaseId id) = 0;
  /// Remembers that history before `revision` must not be read any more.
  virtual Result<void> set_compacted(storage::Revision revision) = 0;
  /// Deletes what rows in (from, to] supersede, and deletions in [from, to); remembers `to` as swept.
  /// Must touch no row outside; the store chooses how many revisions fit into one short transaction.
  virtual Result<void> sweep(storage::Revision from, storage::Revision to) = 0;
  virtual Result<void> commit() = 0;
  virtual void rollback() = 0;
};

/// Threads: the reading members may be called concurrently, also with the writer; each reads one snapshot.
/// Errors: as Backend's members of the same name; ServiceUnavailable when the database cannot be read.
class Database {
 public:
  virtual ~Database() = default;

  virtual Writer& writer() = 0;
  /// Whether other processes may write to it. Does not change.
  virtual bool shared() const = 0;
  /// As of now, in one cheap read.
  virtual Result<Marks> marks() = 0;
  virtual Result<std::vector<LeaseRecord>> leases() = 0;
  virtual Result<std::optional<storage::KeyValue>> get(const CallContext& ctx, std::string_view key,
                                                       storage::Revision at) = 0;
  virtual Result<storage::Page> range(const CallContext& ctx, const storage::RangeOptions& options) = 0;
  virtual Result<std::int64_t> count(const CallContext& ctx, const KeyRange& range) = 0;
  /// Events in `range` with from <= revision <= to, about `max_events` and each revision whole; `progress`: the last
  /// revision looked at. An event has its `previous` unless that is compacted.
  virtual Result<storage::WatchBatch> changes(storage::Revision from, storage::Revision to, const KeyRange& range,
                                              std::size_t max_events) = 0;
  virtual Result<std::int64_t> size_bytes() = 0;
  /// Why no more writes are taken, as one line; empty while they are.
  virtual std::string stopped() const = 0;
  /// Calls `changed`, which does not block, from any thread and without a lock, soon after each commit of another
  /// process; several may be told by one call, and calls for nothing are harmless. Null when the database cannot tell,
  /// or is not shared: the log store of a shared one then asks for marks() every few hundredths of a second.
  virtual std::unique_ptr<Subscription> on_foreign_write(std::function<void()> changed) = 0;
};

/// For a store of schema version `found`: refuses one that is newer than `known`, the last this program can bring a
/// store to. `where`: "storage-x: PATH OR SERVER". Older ones are migrated step by step, each step in a transaction
/// that also sets the version.
Result<void> check_schema_version(std::string_view where, std::int64_t found, std::int64_t known);

}  // namespace kubernel::storage_common
