// SPDX-License-Identifier: Apache-2.0
//
// Database: what the revisioned log (log_store.h) needs of a transactional database.
//
// The layout every SQL database gives it, with the types of its dialect:
//
//   log     revision PRIMARY KEY, key, created, version, lease, previous, deleted, checksum, value
//   keys    key PRIMARY KEY (bytewise order), revision, live, lease        one row per key, its newest revision
//   leases  id PRIMARY KEY, ttl
//   meta    compacted, swept
//
// `log` is history and the only place of values; `keys` is the current state; both change in one transaction.
// `previous` chains the revisions of one key, so that neither reading the past nor compaction needs another index:
//   - the state of a key at an older revision is found by following `previous` from its newest row;
//   - what compaction up to R may delete are the `previous` of the rows up to R, and deletions before R.
// A deleted key keeps its row in `keys` (live = 0) until the deletion is compacted.
//
// Revisions are assigned by the log store inside the write transaction, counting on from begin(): there are no
// gaps. A database shared by several processes must make begin() wait for the other writers (a locked row).

#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/storage/backend.h>

#include "event_log.h"
#include "key_range.h"
#include "lease_table.h"

namespace kubernel::storage_common {

/// One write to one key, as the log keeps it.
struct Row {
  std::shared_ptr<const storage::KeyValue> kv;  ///< Never null. Deleted: key and `modified` only.
  storage::Revision previous = 0;               ///< The key's row before this one; 0: none.
  bool deleted = false;
};

struct LeasedKey {
  std::string key;
  storage::Revision revision = 0;
};

/// The one write transaction. Each begin() that succeeds is followed by commit() or rollback().
///
/// Threads: one call at a time. Errors: ServiceUnavailable when writes are not possible; from commit(), the outcome
/// is then unknown; after any other call rollback() undoes everything.
class Writer {
 public:
  virtual ~Writer() = default;

  /// Starts a transaction that no other writer can interleave with. Returns the store's revision.
  virtual Result<storage::Revision> begin() = 0;
  /// The newest row of each key, deletions too. A damaged row is the error of its key alone (Internal).
  virtual std::vector<Result<std::optional<Row>>> newest(std::span<const std::string_view> keys) = 0;
  /// Adds rows with ascending revisions to the log, and makes each the newest of its key.
  virtual Result<void> append(std::span<const Row> rows) = 0;
  virtual Result<std::vector<LeasedKey>> leased(storage::LeaseId id) = 0;
  virtual Result<void> save_lease(const LeaseRecord& lease) = 0;
  virtual Result<void> erase_lease(storage::LeaseId id) = 0;
  /// Remembers that history before `revision` must not be read any more.
  virtual Result<void> set_compacted(storage::Revision revision) = 0;
  /// Deletes what rows in (from, to] supersede, and deletions in [from, to); remembers `to` as swept.
  virtual Result<void> sweep(storage::Revision from, storage::Revision to) = 0;
  virtual Result<void> commit() = 0;
  virtual void rollback() = 0;
};

struct DatabaseState {
  storage::Revision head = kEmptyStore;
  storage::Revision compacted = 0;
  storage::Revision swept = 0;  ///< Less than `compacted` when a compaction was interrupted.
  std::int64_t keys = 0;
  std::vector<LeaseRecord> leases;
};

/// Threads: the reading members may be called concurrently, also with the writer; each reads one snapshot.
/// Errors: as Backend's members of the same name; ServiceUnavailable when the database cannot be read.
class Database {
 public:
  virtual ~Database() = default;

  virtual Writer& writer() = 0;
  /// Read once, when the store is opened.
  virtual Result<DatabaseState> state() = 0;
  virtual Result<std::optional<storage::KeyValue>> get(const CallContext& ctx, std::string_view key,
                                                       storage::Revision at) = 0;
  virtual Result<storage::Page> range(const CallContext& ctx, const storage::RangeOptions& options) = 0;
  virtual Result<std::int64_t> count(const CallContext& ctx, const KeyRange& range) = 0;
  /// Events in `range` with from <= revision <= to, at most `max_events`; `progress`: the last revision looked at.
  virtual Result<storage::WatchBatch> changes(storage::Revision from, storage::Revision to, const KeyRange& range,
                                              std::size_t max_events) = 0;
  virtual Result<std::int64_t> size_bytes() = 0;
};

}  // namespace kubernel::storage_common
