// SPDX-License-Identifier: Apache-2.0
#include "log_store.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "commit_queue.h"
#include "event_log.h"
#include "lease_table.h"

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

// The state of the keys a batch touches, as the batch changes it, and what it adds to the log.
class Pending {
 public:
  Pending(Revision head, std::span<const std::string_view> keys, std::vector<Result<std::optional<Row>>> rows)
      : head_(head) {
    for (std::size_t i = 0; i < keys.size(); ++i) newest_.emplace(keys[i], std::move(rows[i]));
  }

  Result<CasResult> apply(const Write& write) {
    Result<std::optional<Row>>& row = newest_.at(write.key);
    if (!row) return row.error();
    const auto current = *row && !(*row)->deleted ? (*row)->kv : nullptr;
    const bool wins = write.remove ? current && current->modified == write.expected
                                   : (current ? current->modified : 0) == write.expected;
    CasResult result{.applied = wins, .revision = head_, .current = std::nullopt};
    if (current && (!wins || write.remove)) result.current = *current;
    if (!wins) return result;
    result.revision = ++head_;
    auto kv = std::make_shared<KeyValue>();
    kv->key = std::string(write.key);
    kv->modified = head_;
    if (!write.remove) {
      kv->value = std::string(write.value);
      kv->created = current ? current->created : head_;
      kv->version = current ? current->version + 1 : 1;
      kv->lease = write.lease;
    }
    const Revision previous = *row ? (*row)->kv->modified : 0;
    add(current, Row{.kv = std::move(kv), .previous = previous, .deleted = write.remove});
    row = std::optional<Row>(rows_.back());
    return result;
  }

  std::span<const Row> rows() const { return rows_; }
  std::vector<LogEntry> take_entries() { return std::move(entries_); }
  std::int64_t live_change() const { return live_change_; }

 private:
  void add(const std::shared_ptr<const KeyValue>& current, Row row) {
    live_change_ += (row.deleted ? 0 : 1) - (current ? 1 : 0);
    entries_.push_back({row.deleted ? Event::Type::Delete : Event::Type::Put, row.kv, current});
    rows_.push_back(std::move(row));
  }

  Revision head_;
  std::unordered_map<std::string_view, Result<std::optional<Row>>> newest_;
  std::vector<Row> rows_;
  std::vector<LogEntry> entries_;
  std::int64_t live_change_ = 0;
};

class LogStore final : public storage::Backend {
 public:
  LogStore(std::unique_ptr<Database> database, const storage::BackendContext& context, const LogStoreOptions& options,
           const DatabaseState& state)
      : clock_(context.clock),
        database_(std::move(database)),
        writer_(database_->writer()),
        instruments_(context.metrics),
        compacted_(state.compacted),
        swept_(state.swept),
        live_(state.keys),
        log_(state.head, options.recent_bytes,
             [this](Revision from, Revision to, const KeyRange& range, std::size_t max_events) {
               return database_->changes(from, to, range, max_events);
             }),
        queue_([this](std::span<Write* const> writes) { return commit(writes); }, options.max_batch),
        leases_(context.clock, context.blocking, context.log,
                {.save = [this](const CallContext& ctx, const LeaseRecord& lease) { return save_lease(ctx, lease); },
                 .drop = [this](const CallContext& ctx, LeaseId id) { return drop_lease(ctx, id); }},
                state.leases) {
    log_.set_compacted(state.compacted);
  }

  Result<CasResult> put(const CallContext& ctx, std::string_view key, std::string_view value, Revision expected,
                        LeaseId lease) override {
    KUBERNEL_CHECK_OK(check(ctx));
    Write write{.key = key, .value = value, .expected = expected, .lease = lease};
    queue_.submit(write);
    return std::move(write.result);
  }

  Result<CasResult> remove(const CallContext& ctx, std::string_view key, Revision expected) override {
    KUBERNEL_CHECK_OK(check(ctx));
    Write write{.remove = true, .key = key, .expected = expected};
    queue_.submit(write);
    return std::move(write.result);
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
    return log_.watch(options);
  }

  Result<void> compact(const CallContext& ctx, Revision revision) override {
    const std::lock_guard one_at_a_time(compact_mutex_);
    KUBERNEL_CHECK_OK(check(ctx));
    if (const Revision head = log_.head(); revision > head) {
      return Error(Reason::BadRequest, "revision " + std::to_string(revision) + " is in the future; the store is at " +
                                           std::to_string(head));
    }
    if (revision < compacted_) {
      return Error(Reason::Expired, "revision " + std::to_string(revision) + " has been compacted; the oldest is " +
                                        std::to_string(compacted_));
    }
    auto done = sweep(ctx, revision);
    if (!done && done.error().reason() != Reason::Cancelled) instruments_.compaction_failures.add(1);
    return done;
  }

  storage::Leases& leases() override { return leases_; }

  Result<Stats> stats(const CallContext& ctx) override {
    KUBERNEL_CHECK_OK(check(ctx));
    KUBERNEL_TRY(const std::int64_t bytes, database_->size_bytes());
    return Stats{.revision = log_.head(), .compacted = compacted_, .keys = live_, .size_bytes = bytes};
  }

 private:
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
    if (!committed) {
      instruments_.failures.add(1);
      for (Write* write : writes) write->result = committed.error();
      return {};
    }
    instruments_.commit_seconds.observe(std::chrono::duration<double>(clock_.now() - began).count());
    return [wakeups] { wakeups.run(); };
  }

  Result<void> try_commit(std::span<Write* const> writes, EventLog::Wakeups& wakeups) {
    KUBERNEL_TRY(const Revision head, writer_.begin());
    std::vector<std::string_view> keys;
    keys.reserve(writes.size());
    for (const Write* write : writes) keys.push_back(write->key);
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    Pending pending(head, keys, writer_.newest(keys));
    for (Write* write : writes) {
      write->result = leases_.exists(write->lease) ? pending.apply(*write) : lease_not_found(write->lease);
    }
    KUBERNEL_TRY(wakeups, finish(pending));
    return {};
  }

  // Writes what is pending, commits, and shows it to watches. Ends the transaction in any case.
  Result<EventLog::Wakeups> finish(Pending& pending) {
    if (pending.rows().empty()) {
      writer_.rollback();
      return EventLog::Wakeups{};
    }
    if (auto appended = writer_.append(pending.rows()); !appended) {
      writer_.rollback();
      return std::move(appended).error();
    }
    KUBERNEL_CHECK_OK(writer_.commit());
    instruments_.commits.add(1);
    instruments_.writes.add(static_cast<double>(pending.rows().size()));
    live_ += pending.live_change();
    return log_.append(pending.take_entries());
  }

  // Runs `work` in a write transaction of its own.
  Result<void> transaction(const std::function<Result<void>()>& work) {
    Result<void> result;
    queue_.exclusive([&]() -> CommitQueue::After {
      result = in_transaction(work);
      return {};
    });
    return result;
  }

  Result<void> in_transaction(const std::function<Result<void>()>& work) {
    if (auto began = writer_.begin(); !began) return std::move(began).error();
    if (auto worked = work(); !worked) {
      writer_.rollback();
      return worked;
    }
    return writer_.commit();
  }

  Result<void> save_lease(const CallContext& ctx, const LeaseRecord& lease) {
    KUBERNEL_CHECK_OK(check(ctx));
    return transaction([&] { return writer_.save_lease(lease); });
  }

  Result<void> drop_lease(const CallContext& ctx, LeaseId id) {
    KUBERNEL_CHECK_OK(check(ctx));
    Result<void> result;
    queue_.exclusive([&]() -> CommitQueue::After {
      EventLog::Wakeups wakeups;
      result = try_drop_lease(id, wakeups);
      return [wakeups] { wakeups.run(); };
    });
    return result;
  }

  Result<void> try_drop_lease(LeaseId id, EventLog::Wakeups& wakeups) {
    if (!leases_.exists(id)) return lease_not_found(id);
    KUBERNEL_TRY(const Revision head, writer_.begin());
    auto erased = writer_.erase_lease(id);
    auto leased = writer_.leased(id);
    if (!erased || !leased) {
      writer_.rollback();
      return erased ? std::move(leased).error() : std::move(erased).error();
    }
    std::vector<std::string_view> keys;
    for (const LeasedKey& key : *leased) keys.push_back(key.key);
    Pending pending(head, keys, writer_.newest(keys));
    for (const LeasedKey& key : *leased) {
      const auto removed = pending.apply({.remove = true, .key = key.key, .expected = key.revision});
      if (!removed) {
        writer_.rollback();
        return removed.error();
      }
    }
    if (pending.rows().empty()) {
      KUBERNEL_CHECK_OK(writer_.commit());
    } else {
      KUBERNEL_TRY(wakeups, finish(pending));
    }
    leases_.forget(id);
    return {};
  }

  // Precondition: compact_mutex_ is held.
  Result<void> sweep(const CallContext& ctx, Revision revision) {
    if (revision > compacted_) {
      KUBERNEL_CHECK_OK(transaction([&] { return writer_.set_compacted(revision); }));
      compacted_ = revision;
      log_.set_compacted(revision);
    }
    Revision step = kFirstStep;
    while (swept_ < revision) {
      KUBERNEL_CHECK_OK(check(ctx));
      const Revision to = std::min(swept_ + step, revision);
      Clock::TimePoint::duration worked{0};
      KUBERNEL_CHECK_OK(transaction([&] {
        const auto began = clock_.now();
        auto swept = writer_.sweep(swept_, to);
        worked = clock_.now() - began;
        return swept;
      }));
      instruments_.compacted.add(static_cast<double>(to - swept_));
      swept_ = to;
      if (worked > kStepTime) step = std::max(step / 2, kSmallestStep);
      if (worked < kStepTime / 3) step = std::min(step * 2, kLargestStep);
    }
    return {};
  }

  Clock& clock_;
  const std::unique_ptr<Database> database_;
  Writer& writer_;  // Used inside queue_'s turns only.
  const Instruments instruments_;

  std::mutex compact_mutex_;
  std::atomic<Revision> compacted_;  // Changed with compact_mutex_ held.
  Revision swept_;                   // Guarded by compact_mutex_.
  std::atomic<std::int64_t> live_;

  EventLog log_;
  CommitQueue queue_;
  LeaseTable leases_;
};

}  // namespace

Result<std::unique_ptr<storage::Backend>> make_log_store(std::unique_ptr<Database> database,
                                                         const storage::BackendContext& context,
                                                         const LogStoreOptions& options) {
  KUBERNEL_TRY(const DatabaseState state, database->state());
  return std::unique_ptr<storage::Backend>(std::make_unique<LogStore>(std::move(database), context, options, state));
}

}  // namespace kubernel::storage_common
