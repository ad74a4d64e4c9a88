// SPDX-License-Identifier: Apache-2.0
//
// EventLog: the recent writes of a store, and the watches that read them.
//
// A watch is a cursor into one shared log, not a queue of its own: what a watcher has not read
// yet costs nothing extra, and a slow one costs the others nothing. A log with a size limit drops
// its oldest entries; a cursor that falls behind reads them from the backend's history instead.

#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <kubernel/storage/backend.h>

#include "key_range.h"

namespace kubernel::storage_common {

/// The revision of a store nothing has been written to; it has no event.
constexpr storage::Revision kEmptyStore = 1;

/// One write. Entries share their values with each other and with the backend.
struct LogEntry {
  storage::Event::Type type = storage::Event::Type::Put;
  std::shared_ptr<const storage::KeyValue> kv;        ///< Never null. Delete: key and `modified` only.
  std::shared_ptr<const storage::KeyValue> previous;  ///< Null: there was none, or it is not known.

  storage::Revision revision() const noexcept { return kv->modified; }
  storage::Event event() const;
};

/// Reads events the log has dropped.
///
/// Returns events in `range` from revision `from` on, about `max_events`, each revision whole; `progress` is the last
/// revision it looked at and at most `to`. Errors: Expired when `from` has been compacted.
using ReadHistory = std::function<Result<storage::WatchBatch>(storage::Revision from, storage::Revision to,
                                                              const KeyRange& range, std::size_t max_events)>;

/// Threads: all members may be called concurrently; append() calls must be in revision order.
/// Lifetime: outlives its watches.
class EventLog {
 private:
  class Cursor;
  struct Reader;

 public:
  /// `head`: the store's revision. `max_bytes` 0: entries stay until trim(), and no history is needed. Otherwise
  /// entries all watches have read are dropped, and the oldest ones beyond the limit; `history` serves those who missed
  /// them.
  EventLog(storage::Revision head, std::size_t max_bytes, ReadHistory history);
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  /// Watches to be woken. Call run() without any lock held: it runs their callbacks.
  class Wakeups {
   public:
    void run() const;
    void add(Wakeups more);

   private:
    friend class EventLog;
    std::vector<std::shared_ptr<Reader>> readers_;
  };

  /// Adds entries whose revisions follow head() without a gap, each revision whole. take() finds them from now on.
  [[nodiscard]] Wakeups append(std::vector<LogEntry> entries);
  /// For a store others write to: goes on from `head` without what came before, which history has to tell.
  [[nodiscard]] Wakeups skip_to(storage::Revision head);

  storage::Revision head() const;

  /// Watches that still have to read an older revision are Expired from now on.
  [[nodiscard]] Wakeups set_compacted(storage::Revision revision);
  /// Drops entries older than `first_kept`.
  void trim(storage::Revision first_kept);
  /// The entries held with from <= revision <= to, about `limit`, each revision whole.
  std::vector<LogEntry> slice(storage::Revision from, storage::Revision to, std::size_t limit) const;

  /// Errors: Expired when options.from has been compacted.
  Result<std::unique_ptr<storage::Watch>> watch(const storage::WatchOptions& options);

 private:
  // What was written under one revision: nearly always one entry.
  struct Commit {
    LogEntry first;
    std::vector<LogEntry> more;
  };

  std::vector<LogEntry> collect(Reader& reader, std::size_t max_events);
  storage::Revision first() const { return head_ - static_cast<storage::Revision>(commits_.size()) + 1; }
  const Commit& at(storage::Revision revision) const { return commits_[static_cast<std::size_t>(revision - first())]; }
  Commit drop_first();
  void drop_read_entries();
  Error expired(storage::Revision wanted) const;

  mutable std::mutex mutex_;
  std::deque<Commit> commits_;  // Revisions without a gap; the last one is head_.
  std::vector<std::shared_ptr<Reader>> readers_;
  storage::Revision head_;
  storage::Revision compacted_ = 0;
  std::size_t bytes_ = 0;
  const std::size_t max_bytes_;
  const ReadHistory history_;
};

}  // namespace kubernel::storage_common
