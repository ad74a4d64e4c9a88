// SPDX-License-Identifier: Apache-2.0
//
// Feed: the recent events of the key space, and the watches that read them.
//
// One etcd watch fills it for the whole process; each storage::Watch is a cursor into it. It holds a bounded part of
// history; a cursor that falls behind that reads the rest from etcd. Unlike a log of our own, the feed learns of writes
// only when etcd tells: writers wait for their own event (wait_for), so that a watch shows a write that has returned.

#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <kubernel/storage/backend.h>
#include <kubernel/storage/key_range.h>

namespace kubernel::storage_etcd {

/// Reads from etcd what the feed has dropped: all events in `range` from revision `from` on, at least `to` unless
/// `enough` events came first. `progress`: the last revision read, whole. Errors: Expired when `from` is compacted.
using ReadHistory = std::function<Result<storage::WatchBatch>(storage::Revision from, storage::Revision to,
                                                              const storage::KeyRange& range, std::size_t enough)>;

/// Threads: all members may be called concurrently; append(), skip() and lose() by one thread at a time.
/// Lifetime: outlives its watches.
class Feed {
 public:
  /// `head`: the store's revision when the feed begins. `max_bytes`: how much history is held.
  Feed(storage::Revision head, std::size_t max_bytes, ReadHistory history);
  ~Feed();
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  /// Adds events of revisions after head(), ascending; the last one's revision is the new head. Runs the callbacks of
  /// the watches that have something to read. `head`: that revision, also when none of our keys is in it.
  void append(std::vector<storage::Event> events, storage::Revision head);

  /// etcd has compacted what we had not read yet: watches that still needed it are Expired, and the feed goes on
  /// after `head`.
  void lose(storage::Revision compacted, storage::Revision head);

  /// Watches that still have to read an older revision are Expired from now on.
  void set_compacted(storage::Revision revision);
  storage::Revision compacted() const;

  /// The last revision all of whose events are in, or were.
  storage::Revision head() const;

  /// Whether events come in; while they do not, wait_for() returns at once.
  void set_live(bool live);
  /// Waits until events come in, but not for long. etcd tells a watch that it opens after a write of that write up to
  /// 100 ms later than one that was there.
  void wait_until_live();
  /// Waits until the callbacks for `revision` have run, but not for long.
  void wait_for(storage::Revision revision);

  /// Errors: Expired when options.from has been compacted.
  Result<std::unique_ptr<storage::Watch>> watch(const storage::WatchOptions& options);

 private:
  class Cursor;
  struct Reader;
  struct Waiter;

  static storage::Revision first_in(const std::vector<std::shared_ptr<const storage::Event>>& events,
                                    const Reader& reader);
  void drop_oldest();
  void release_waiters();
  Error expired(storage::Revision wanted) const;

  mutable std::mutex mutex_;
  std::multimap<storage::Revision, Waiter*> waiting_;         // By what they wait for.
  std::deque<std::shared_ptr<const storage::Event>> events_;  // Ascending by revision.
  std::vector<std::shared_ptr<Reader>> readers_;
  storage::Revision start_;  // All events from here to head_ are held.
  storage::Revision head_;
  storage::Revision delivered_;  // The callbacks up to here have run.
  storage::Revision compacted_ = 0;
  bool live_ = false;
  std::condition_variable live_changed_;
  std::size_t bytes_ = 0;
  const std::size_t max_bytes_;
  const ReadHistory history_;
};

}  // namespace kubernel::storage_etcd
