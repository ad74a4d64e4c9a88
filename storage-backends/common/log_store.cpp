// SPDX-License-Identifier: Apache-2.0
#include "log_store.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <kubernel/storage/batch_writer.h>

#include "commit_queue.h"
#include "event_log.h"
#include "follower.h"
#include "lease_table.h"
#include "pending.h"

namespace kubernel::storage_common {
namespace {

using storage::CasResult;
using storage::Event;
using storage::KeyValue;
using storage::LeaseId;
using storage::Page;
using storage::RangeOptions;
using storage::Revision;
using storage::Stats;

// A compaction step holds writers up; it is made smaller when its work took longer than this. The sync that follows is
// not counted: a smaller step would not make it shorter, and on a slow disk compaction would come to a standstill.
constexpr std::chrono::milliseconds kStepTime{2};
constexpr Revision kSmallestStep = 64;
constexpr Revision kFirstStep = 128;
constexpr Revision kLargestStep = 4096;

// Writes after which the size is asked for anew.
constexpr Revision kSizeFresh = 256;

constexpr std::array kCommitBuckets = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5};

struct Instruments {
  explicit Instruments(Metrics& metrics)
      : commits(metrics.counter("kubernel_storage_commits_total", "Transactions committed for writes.", {})),
        writes(metrics.counter("kubernel_storage_writes_total", "Writes applied.", {})),
        failures(metrics.counter("kubernel_storage_commit_failures_total", "Transactions that failed.", {})),
        compacted(metrics.counter("kubernel_storage_compacted_revisions_total", "Revisions compacted.", {})),
        compaction_failures(
            metrics.counter("kubernel_storage_compaction_failures_total", "Compaction steps that failed.", {})),
        commit_seconds(
            metrics.histogram("kubernel_storage_commit_duration_seconds", "Time a commit took.", kCommitBuckets, {})) {}
  Counter& commits;
  Counter& writes;
  Counter& failures;
  Counter& compacted;
  Counter& compaction_failures;
  Histogram& commit_seconds;
};

// How many foreign writes are read at once.
constexpr std::size_t kCatchUpEvents = 1000;

// What is in the database when it is opened.
struct Found {
  Marks marks;
  std::int64_t keys = 0;
  std::vector<LeaseRecord> leases;
};

Result<void> check_size(std::string_view key, std::string_view) {
  if (key.size() <= storage::kMaxKeyBytes) return {};
  return Error(Reason::RequestEntityTooLarge, "storage: a key has at most " + std::to_string(storage::kMaxKeyBytes) +
                                                  " bytes, not " + std::to_string(key.size()));
}

class LogStore final : public storage::Backend, public storage::BatchWriter {
 public:
  LogStore(std::unique_ptr<Database> database, const storage::BackendContext& context, const LogStoreOptions& options,
           const Found& found)
      : clock_(context.clock),
        database_(std::move(database)),
        writer_(database_->writer()),
        shared_(database_->shared()),
        instruments_(context.metrics),
        compacted_(found.marks.compacted),
        live_(found.keys),
        log_(found.marks.head, options.recent_bytes,
             [this](Revision from, Revision to, const KeyRange& range, std::size_t max_events) {
               return database_->changes(from, to, range, max_events);
             }),
        queue_([this](std::span<Write* const> writes) { return commit(writes); }, options.max_batch),
        leases_(context.clock, context.blocking, context.log, lease_hooks(), found.leases) {
    log_.set_compacted(found.marks.compacted).run();
    if (!shared_) return;
    follower_.emplace(*database_, context.clock, context.blocking, context.log, [this] { return follow(); });
  }

  Result<CasResult> put(const CallContext& ctx, std::string_view key, std::string_view value, Revision expected,
                        LeaseId lease) override {
    KUBERNEL_CHECK_OK(check(ctx));
    KUBERNEL_CHECK_OK(check_size(key, value));
    Write write{.key = key, .value = value, .expected = expected, .lease = lease};
    queue_.submit({&write, 1});
    return std::move(write.result);
  }

  Result<CasResult> remove(const CallContext& ctx, std::string_view key, Revision expected) override {
    KUBERNEL_CHECK_OK(check(ctx));
    Write write{.remove = true, .key = key, .expected = expected};
    queue_.submit({&write, 1});
    return std::move(write.result);
  }

  Result<storage::TransactionResult> transact(const CallContext& ctx,
                                              const storage::Transaction& transaction) override {
    KUBERNEL_CHECK_OK(check(ctx));
    Write write{.transaction = &transaction};
    queue_.submit({&write, 1});
    return std::move(write.transaction_result);
  }

  std::vector<Result<storage::TransactionResult>> transact_each(
      const CallContext& ctx, std::span<const storage::Transaction> transactions) override {
    std::vector<Write> writes(transactions.size());
    for (std::size_t i = 0; i < writes.size(); ++i) writes[i].transaction = &transactions[i];
    if (const auto checked = check(ctx); checked) {
      queue_.submit(writes);
    } else {
      for (Write& write : writes) write.fail(checked.error());
    }
    std::vector<Result<storage::TransactionResult>> results;
    results.reserve(writes.size());
    for (Write& write : writes) results.push_back(std::move(write.transaction_result));
    return results;
  }

  Result<std::optional<KeyValue>> get(const CallContext& ctx, std::string_view key, Revision at) override {
    KUBERNEL_CHECK_OK(check(ctx));
    return database_->get(ctx, key, at);
  }

  Result<Page> range(const CallContext& ctx, const RangeOptions& options) override {
    KUBERNEL_CHECK_OK(check(ctx));
    return database_->range(ctx, options);
  }

  Result<std::int64_t> count(const CallContext& ctx, std::string_view start, std::string_view end) override {
    KUBERNEL_CHECK_OK(check(ctx));
    return database_->count(ctx, {std::string(start), std::string(end)});
  }

  Result<std::unique_ptr<storage::Watch>> watch(const storage::WatchOptions& options) override {
    // What others wrote before now is not "after now".
    if (shared_ && options.from == 0) KUBERNEL_CHECK_OK(follow());
    return log_.watch(options);
  }

  Result<void> compact(const CallContext& ctx, Revision revision) override {
    const std::lock_guard one_at_a_time(compact_mutex_);
    KUBERNEL_CHECK_OK(check(ctx));
    KUBERNEL_TRY(const Marks marks, database_->marks());
    if (revision > marks.head) {
      return Error(Reason::BadRequest, "revision " + std::to_string(revision) + " is in the future; the store is at " +
                                           std::to_string(marks.head));
    }
    if (revision < marks.compacted) {
      return Error(Reason::Expired, "revision " + std::to_string(revision) + " has been compacted; the oldest is " +
                                        std::to_string(marks.compacted));
    }
    auto done = sweep(ctx, revision);
    if (!done && done.error().reason() != Reason::Cancelled) instruments_.compaction_failures.add(1);
    return done;
  }

  storage::Leases& leases() override { return leases_; }

  Result<Stats> stats(const CallContext& ctx) override {
    KUBERNEL_CHECK_OK(check(ctx));
    if (shared_) KUBERNEL_CHECK_OK(follow());
    KUBERNEL_TRY(const std::int64_t bytes, size_bytes());
    return Stats{.revision = log_.head(),
                 .compacted = compacted_,
                 .keys = live_,
                 .size_bytes = bytes,
                 .stopped = database_->stopped()};
  }

 private:
  // Asking the database costs a statement, and every consistent read of the API server asks for the store's revision.
  Result<std::int64_t> size_bytes() {
    const Revision head = log_.head();
    const std::lock_guard lock(size_mutex_);
    const Revision moved = head - size_.head;
    if (size_.bytes > 0 && size_.compacted == compacted_ && moved >= 0 && moved < kSizeFresh) return size_.bytes;
    KUBERNEL_TRY(const std::int64_t bytes, database_->size_bytes());
    size_ = {bytes, head, compacted_};
    return bytes;
  }

  Result<void> check(const CallContext& ctx) const {
    if (ctx.stopping()) return Error(Reason::Cancelled, "storage: the call was cancelled");
    if (ctx.deadline != CallContext::Clock::time_point::max() && clock_.now() >= ctx.deadline) {
      return Error(Reason::Timeout, "storage: the deadline has passed");
    }
    return {};
  }

  // The leader's work: all writes of the batch in one transaction.
  CommitQueue::After commit(std::span<Write* const> writes) {
    const auto began = clock_.now();
    EventLog::Wakeups wakeups;
    const Result<void> committed = try_commit(writes, wakeups);
    if (committed) {
      instruments_.commit_seconds.observe(std::chrono::duration<double>(clock_.now() - began).count());
    } else {
      instruments_.failures.add(1);
      for (Write* write : writes) write->fail(committed.error());
    }
    return [wakeups] { wakeups.run(); };
  }

  Result<void> try_commit(std::span<Write* const> writes, EventLog::Wakeups& wakeups) {
    KUBERNEL_TRY(Pending pending, begin(wakeups));
    std::vector<std::string_view> keys;
    keys.reserve(writes.size());
    for (const Write* write : writes) {
      if (write->transaction == nullptr) {
        keys.push_back(write->key);
      } else {
        named_keys(*write->transaction, keys);
      }
    }
    pending.load(std::move(keys));
    for (Write* write : writes) {
      if (write->transaction == nullptr) {
        write->result = pending.apply(*write);
      } else {
        write->transaction_result = pending.transact(*write->transaction);
      }
    }
    return finish(pending, wakeups);
  }

  // Starts a transaction that adds to the log. What other processes added before is shown to watches first.
  Result<Pending> begin(EventLog::Wakeups& wakeups) {
    KUBERNEL_TRY(const Marks marks, writer_.begin());
    if (shared_) {
      if (auto caught_up = catch_up(marks, wakeups); !caught_up) {
        writer_.rollback();
        return std::move(caught_up).error();
      }
    }
    return Pending(*database_, marks, [this](LeaseId id) { return check_lease(id); });
  }

  // Writes what is pending, commits, and shows it to watches. Ends the transaction in any case.
  Result<void> finish(Pending& pending, EventLog::Wakeups& wakeups) {
    if (pending.rows().empty()) {
      writer_.rollback();
      return {};
    }
    if (auto appended = writer_.append(pending.rows()); !appended) {
      writer_.rollback();
      return appended;
    }
    KUBERNEL_CHECK_OK(writer_.commit());
    instruments_.commits.add(1);
    instruments_.writes.add(static_cast<double>(pending.rows().size()));
    live_ += pending.live_change();
    wakeups.add(log_.append(pending.take_entries()));
    return {};
  }

  // In a write transaction. A lease that another process dropped may still be in the table.
  Result<void> check_lease(LeaseId id) {
    if (!shared_) return leases_.exists(id) ? Result<void>() : lease_not_found(id);
    KUBERNEL_TRY(const auto record, writer_.find_lease(id));
    if (!record) return lease_not_found(id);
    leases_.learn(*record);
    return {};
  }

  // Brings the watches up to what others wrote. Only in the queue's turns: the log is appended to in order.
  Result<void> catch_up(const Marks& marks, EventLog::Wakeups& wakeups) {
    if (marks.compacted > compacted_) {
      compacted_ = marks.compacted;
      wakeups.add(log_.set_compacted(marks.compacted));
    }
    bool new_lease = false;
    while (log_.head() < marks.head) {
      auto batch = database_->changes(log_.head() + 1, marks.head, {}, kCatchUpEvents);
      if (!batch && batch.error().reason() == Reason::Expired) {
        // We were away for so long that there is no history any more.
        KUBERNEL_TRY(live_, database_->count(CallContext{}, {}));
        KUBERNEL_TRY(const Marks now, database_->marks());
        compacted_ = std::max(compacted_.load(), now.compacted);
        wakeups.add(log_.set_compacted(compacted_));
        wakeups.add(log_.skip_to(marks.head));
        new_lease = true;
        break;
      }
      if (!batch) return std::move(batch).error();
      KUBERNEL_CHECK_OK(show(*batch, wakeups, new_lease));
    }
    if (!new_lease) return {};
    KUBERNEL_TRY(const auto records, database_->leases());
    for (const LeaseRecord& record : records) leases_.learn(record);
    return {};
  }

  Result<void> show(storage::WatchBatch& batch, EventLog::Wakeups& wakeups, bool& new_lease) {
    std::vector<LogEntry> entries;
    entries.reserve(batch.events.size());
    Revision last = log_.head();
    for (Event& event : batch.events) {
      if (event.kv.modified > last + 1) break;
      last = event.kv.modified;
      if (event.type == Event::Type::Delete) --live_;
      if (event.type == Event::Type::Put && event.kv.version == 1) ++live_;
      new_lease = new_lease || !leases_.exists(event.kv.lease);
      LogEntry entry{event.type, std::make_shared<const KeyValue>(std::move(event.kv)), nullptr};
      if (event.previous) entry.previous = std::make_shared<const KeyValue>(*std::move(event.previous));
      entries.push_back(std::move(entry));
    }
    if (last < batch.progress) {
      return Error(Reason::Internal, "the store is damaged: revision " + std::to_string(last + 1) + " is missing");
    }
    wakeups.add(log_.append(std::move(entries)));
    return {};
  }

  // Returns whether others had written.
  Result<bool> follow() {
    KUBERNEL_TRY(const Marks marks, database_->marks());
    if (marks.head <= log_.head() && marks.compacted <= compacted_) return false;
    Result<void> caught_up;
    queue_.exclusive([&]() -> CommitQueue::After {
      EventLog::Wakeups wakeups;
      caught_up = catch_up(marks, wakeups);
      return [wakeups] { wakeups.run(); };
    });
    if (!caught_up) return std::move(caught_up).error();
    return true;
  }

  // Runs `work` in a write transaction of its own, which adds nothing to the log.
  Result<void> transaction(const std::function<Result<void>(const Marks&)>& work) {
    Result<void> result;
    queue_.exclusive([&]() -> CommitQueue::After {
      result = in_transaction(work);
      return {};
    });
    return result;
  }

  Result<void> in_transaction(const std::function<Result<void>(const Marks&)>& work) {
    KUBERNEL_TRY(const Marks marks, writer_.begin());
    if (auto worked = work(marks); !worked) {
      writer_.rollback();
      return worked;
    }
    return writer_.commit();
  }

  LeaseHooks lease_hooks() {
    LeaseHooks hooks;
    hooks.save = [this](const CallContext& ctx, const LeaseRecord& lease) { return save_lease(ctx, lease); };
    hooks.drop = [this](const CallContext& ctx, LeaseId id, const LeaseRecord* expired) {
      return drop_lease(ctx, id, expired);
    };
    hooks.keys = [this](const CallContext& ctx, LeaseId id) { return lease_keys(ctx, id); };
    if (!shared_) return hooks;
    hooks.renew = [this](const CallContext& ctx, LeaseId id, bool count) { return renew_lease(ctx, id, count); };
    hooks.all = [this](const CallContext&) { return database_->leases(); };
    return hooks;
  }

  Result<void> save_lease(const CallContext& ctx, const LeaseRecord& lease) {
    KUBERNEL_CHECK_OK(check(ctx));
    return transaction([&](const Marks&) -> Result<void> {
      if (shared_) {
        KUBERNEL_TRY(const auto taken, writer_.find_lease(lease.id));
        if (taken) return lease_exists(lease.id);
      }
      return writer_.save_lease(lease);
    });
  }

  Result<LeaseRecord> renew_lease(const CallContext& ctx, LeaseId id, bool count) {
    KUBERNEL_CHECK_OK(check(ctx));
    LeaseRecord record;
    KUBERNEL_CHECK_OK(transaction([&](const Marks&) -> Result<void> {
      KUBERNEL_TRY(const auto found, writer_.find_lease(id));
      if (!found) return lease_not_found(id);
      record = *found;
      if (!count) return {};
      ++record.renewals;
      return writer_.save_lease(record);
    }));
    return record;
  }

  Result<std::vector<std::string>> lease_keys(const CallContext& ctx, LeaseId id) {
    KUBERNEL_CHECK_OK(check(ctx));
    std::vector<std::string> keys;
    KUBERNEL_CHECK_OK(transaction([&](const Marks&) -> Result<void> {
      KUBERNEL_TRY(keys, writer_.leased(id));
      return {};
    }));
    return keys;
  }

  Result<std::optional<LeaseRecord>> drop_lease(const CallContext& ctx, LeaseId id, const LeaseRecord* expired) {
    KUBERNEL_CHECK_OK(check(ctx));
    Result<std::optional<LeaseRecord>> result = std::optional<LeaseRecord>();
    queue_.exclusive([&]() -> CommitQueue::After {
      EventLog::Wakeups wakeups;
      result = try_drop_lease(id, expired, wakeups);
      return [wakeups] { wakeups.run(); };
    });
    return result;
  }

  Result<std::optional<LeaseRecord>> try_drop_lease(LeaseId id, const LeaseRecord* expired,
                                                    EventLog::Wakeups& wakeups) {
    const bool there = expired == nullptr ? leases_.exists(id) : leases_.holds(*expired);
    if (!shared_ && !there) return lease_not_found(id);
    KUBERNEL_TRY(Pending pending, begin(wakeups));
    auto kept = remove_leased(id, expired, pending);
    if (!kept || *kept) {
      writer_.rollback();
      return kept;
    }
    if (pending.rows().empty()) {
      KUBERNEL_CHECK_OK(writer_.commit());
    } else {
      KUBERNEL_CHECK_OK(finish(pending, wakeups));
    }
    leases_.forget(id);
    return kept;
  }

  // In a write transaction. Returns the lease's record when it is not the expired one.
  Result<std::optional<LeaseRecord>> remove_leased(LeaseId id, const LeaseRecord* expired, Pending& pending) {
    if (shared_) {
      KUBERNEL_TRY(auto record, writer_.find_lease(id));
      if (!record) {
        leases_.forget(id);
        return lease_not_found(id);
      }
      if (expired != nullptr && record->renewals != expired->renewals) return record;
    }
    KUBERNEL_TRY(const auto keys, writer_.leased(id));
    KUBERNEL_CHECK_OK(writer_.erase_lease(id));
    KUBERNEL_CHECK_OK(pending.remove_all(keys));
    return std::optional<LeaseRecord>();
  }

  // Precondition: compact_mutex_ is held.
  Result<void> sweep(const CallContext& ctx, Revision revision) {
    EventLog::Wakeups wakeups;
    if (revision > compacted_) {
      KUBERNEL_CHECK_OK(transaction([&](const Marks& marks) -> Result<void> {
        return marks.compacted < revision ? writer_.set_compacted(revision) : Result<void>();
      }));
      compacted_ = std::max(compacted_.load(), revision);
      wakeups = log_.set_compacted(revision);
    }
    wakeups.run();
    Revision step = kFirstStep;
    for (bool done = false; !done;) {
      KUBERNEL_CHECK_OK(check(ctx));
      Clock::TimePoint::duration worked{0};
      auto swept = transaction([&](const Marks& marks) -> Result<void> {
        const Revision to = std::min(marks.swept + step, revision);
        done = to >= revision;
        if (marks.swept >= revision) return {};
        const auto began = clock_.now();
        KUBERNEL_CHECK_OK(writer_.sweep(marks.swept, to));
        worked = clock_.now() - began;
        instruments_.compacted.add(static_cast<double>(to - marks.swept));
        return {};
      });
      if (!swept) return swept;
      if (worked > kStepTime) step = std::max(step / 2, kSmallestStep);
      if (worked < kStepTime / 3) step = std::min(step * 2, kLargestStep);
    }
    return {};
  }

  Clock& clock_;
  const std::unique_ptr<Database> database_;
  Writer& writer_;  // Used inside queue_'s turns only.
  const bool shared_;
  const Instruments instruments_;

  struct Size {
    std::int64_t bytes = 0;
    Revision head = 0, compacted = 0;  // When it was asked for.
  };
  std::mutex size_mutex_;
  Size size_;

  std::mutex compact_mutex_;
  std::atomic<Revision> compacted_;
  std::atomic<std::int64_t> live_;

  EventLog log_;
  CommitQueue queue_;
  LeaseTable leases_;
  std::optional<Follower> follower_;  // Of shared databases.
};

}  // namespace

Result<std::unique_ptr<storage::Backend>> make_log_store(std::unique_ptr<Database> database,
                                                         const storage::BackendContext& context,
                                                         const LogStoreOptions& options) {
  Found found;
  KUBERNEL_TRY(found.marks, database->marks());
  KUBERNEL_TRY(found.keys, database->count(CallContext{}, {}));
  KUBERNEL_TRY(found.leases, database->leases());
  return std::unique_ptr<storage::Backend>(std::make_unique<LogStore>(std::move(database), context, options, found));
}

Result<void> check_schema_version(std::string_view where, std::int64_t found, std::int64_t known) {
  if (found >= 0 && found <= known) return {};
  return Error(Reason::ServiceUnavailable, std::string(where) + " has schema version " + std::to_string(found) +
                                               ", this program knows versions up to " + std::to_string(known) +
                                               "; use the newer program that wrote it");
}

}  // namespace kubernel::storage_common
