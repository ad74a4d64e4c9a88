// SPDX-License-Identifier: Apache-2.0
//
// An ordered map from key to its versions, and the log that watches read. Log and map share the values.

#include "memory_backend.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "event_log.h"
#include "lease_table.h"
#include "transaction.h"

namespace kubernel::storage_memory {
namespace {

using storage::CasResult;
using storage::Event;
using storage::KeyValue;
using storage::LeaseId;
using storage::Page;
using storage::RangeOptions;
using storage::Revision;
using storage::Stats;
using storage_common::kEmptyStore;
using storage_common::LeaseRecord;
using storage_common::LeaseTable;
using storage_common::LogEntry;

// How many log entries compaction looks at while it holds writers up.
constexpr std::size_t kCompactBatch = 1000;
// How many keys a range reads between two looks at the caller's deadline.
constexpr std::size_t kCheckEvery = 1024;

struct Version {
  Revision revision = 0;
  std::shared_ptr<const KeyValue> kv;  // Null: deleted.
};
using Versions = std::vector<Version>;  // Ascending; never empty.

std::int64_t bytes_of(const Version& version) {
  return version.kv ? static_cast<std::int64_t>(version.kv->key.size() + version.kv->value.size()) : 0;
}

// The version as of `at`; null when the key did not exist.
std::shared_ptr<const KeyValue> as_of(const Versions& versions, Revision at) {
  const auto after =
      std::upper_bound(versions.begin(), versions.end(), at,
                       [](Revision revision, const Version& version) { return revision < version.revision; });
  return after == versions.begin() ? nullptr : std::prev(after)->kv;
}

class MemoryBackend final : public storage::Backend {
 public:
  explicit MemoryBackend(const storage::BackendContext& context)
      : clock_(context.clock),
        log_(kEmptyStore, 0, {}),
        leases_(context.clock, context.blocking, context.log,
                {.save = [](const CallContext&, const LeaseRecord&) { return Result<void>(); },
                 .drop = [this](const CallContext&, LeaseId id,
                                const LeaseRecord* expired) { return drop_lease(id, expired); },
                 .keys = [this](const CallContext&, LeaseId id) { return lease_keys(id); },
                 .renew = {},
                 .all = {}},
                {}) {}

  Result<CasResult> put(const CallContext& ctx, std::string_view key, std::string_view value, Revision expected,
                        LeaseId lease) override {
    KUBERNEL_CHECK_OK(check(ctx));
    std::unique_lock publishing(publish_mutex_);
    std::unique_lock lock(mutex_);
    if (!leases_.exists(lease)) return storage_common::lease_not_found(lease);
    const auto current = newest(key);
    if ((current ? current->modified : 0) != expected) return lost(current);
    auto written = std::make_shared<KeyValue>(KeyValue{.key = std::string(key),
                                                       .value = std::string(value),
                                                       .created = current ? current->created : head_ + 1,
                                                       .modified = head_ + 1,
                                                       .version = current ? current->version + 1 : 1,
                                                       .lease = lease});
    LogEntry entry{Event::Type::Put, std::move(written), current};
    apply(entry);
    const Revision revision = head_;
    lock.unlock();
    publish(std::move(publishing), {std::move(entry)});
    return CasResult{.applied = true, .revision = revision, .current = std::nullopt};
  }

  Result<CasResult> remove(const CallContext& ctx, std::string_view key, Revision expected) override {
    KUBERNEL_CHECK_OK(check(ctx));
    std::unique_lock publishing(publish_mutex_);
    std::unique_lock lock(mutex_);
    const auto current = newest(key);
    if (!current || current->modified != expected) return lost(current);
    LogEntry entry = deletion(current);
    apply(entry);
    CasResult result{.applied = true, .revision = head_, .current = *current};
    lock.unlock();
    publish(std::move(publishing), {std::move(entry)});
    return result;
  }

  Result<storage::TransactionResult> transact(const CallContext& ctx,
                                              const storage::Transaction& transaction) override {
    KUBERNEL_CHECK_OK(check(ctx));
    std::unique_lock publishing(publish_mutex_);
    std::vector<LogEntry> entries;
    storage::TransactionResult result;
    {
      const std::lock_guard lock(mutex_);
      View view(*this, ctx);
      KUBERNEL_TRY(auto evaluated, storage_common::evaluate(transaction, view));
      result = std::move(evaluated.result);
      entries.reserve(evaluated.changes.size());
      for (storage_common::Change& change : evaluated.changes) {
        entries.push_back({change.deleted ? Event::Type::Delete : Event::Type::Put, std::move(change.kv),
                           std::move(change.previous)});
        apply(entries.back());
      }
    }
    publish(std::move(publishing), std::move(entries));
    return result;
  }

  Result<std::optional<KeyValue>> get(const CallContext& ctx, std::string_view key, Revision at) override {
    KUBERNEL_CHECK_OK(check(ctx));
    const std::lock_guard lock(mutex_);
    KUBERNEL_TRY(const Revision revision, readable(at));
    const auto found = keys_.find(key);
    const auto kv = found == keys_.end() ? nullptr : as_of(found->second, revision);
    return kv ? std::optional(*kv) : std::nullopt;
  }

  Result<Page> range(const CallContext& ctx, const RangeOptions& options) override {
    Page page;
    std::vector<std::shared_ptr<const KeyValue>> found;
    {
      const std::lock_guard lock(mutex_);
      KUBERNEL_TRY(found, find(ctx, options, page));
    }
    fill(page, found, options.keys_only);
    return page;
  }

  Result<std::int64_t> count(const CallContext& ctx, std::string_view start, std::string_view end) override {
    const std::lock_guard lock(mutex_);
    std::int64_t found = 0;
    std::size_t seen = 0;
    for (auto at = keys_.lower_bound(start); at != keys_.end() && (end.empty() || at->first < end); ++at) {
      if (seen++ % kCheckEvery == 0) KUBERNEL_CHECK_OK(check(ctx));
      if (at->second.back().kv) ++found;
    }
    return found;
  }

  Result<std::unique_ptr<storage::Watch>> watch(const storage::WatchOptions& options) override {
    return log_.watch(options);
  }

  Result<void> compact(const CallContext& ctx, Revision revision) override {
    const std::lock_guard one_at_a_time(compact_mutex_);
    {
      const std::lock_guard lock(mutex_);
      if (revision > head_) {
        return Error(Reason::BadRequest, "revision " + std::to_string(revision) +
                                             " is in the future; the store is at " + std::to_string(head_));
      }
      if (revision < compacted_) return compacted_error(revision);
      compacted_ = revision;
    }
    log_.set_compacted(revision).run();
    while (swept_ < revision) {
      KUBERNEL_CHECK_OK(check(ctx));  // What is left is swept by the next compaction.
      const auto entries = log_.slice(swept_ + 1, revision, kCompactBatch);
      {
        const std::lock_guard lock(mutex_);
        for (const LogEntry& entry : entries) forget_history(entry.kv->key, revision);
      }
      swept_ = entries.empty() ? revision : entries.back().revision();
      log_.trim(std::min(swept_ + 1, revision));
    }
    return {};
  }

  storage::Leases& leases() override { return leases_; }

  Result<Stats> stats(const CallContext&) override {
    const std::lock_guard lock(mutex_);
    return Stats{.revision = head_, .compacted = compacted_, .keys = live_, .size_bytes = bytes_};
  }

 private:
  // The store inside a transaction. The mutex is held all the while.
  class View final : public storage_common::TransactionView {
   public:
    View(MemoryBackend& store, const CallContext& ctx) : store_(store), ctx_(ctx) {}
    Revision revision() const override { return store_.head_; }
    Result<std::shared_ptr<const KeyValue>> current(std::string_view key) override { return store_.newest(key); }
    Result<Page> range(const RangeOptions& options) override {
      Page page;
      KUBERNEL_TRY(const auto found, store_.find(ctx_, options, page));
      fill(page, found, options.keys_only);
      return page;
    }
    Result<void> check_lease(LeaseId id) override {
      return store_.leases_.exists(id) ? Result<void>() : storage_common::lease_not_found(id);
    }

   private:
    MemoryBackend& store_;
    const CallContext& ctx_;
  };

  static void fill(Page& page, const std::vector<std::shared_ptr<const KeyValue>>& found, bool keys_only) {
    page.items.reserve(found.size());
    for (const auto& kv : found) {
      if (keys_only) {
        page.items.push_back({kv->key, {}, kv->created, kv->modified, kv->version, kv->lease});
      } else {
        page.items.push_back(*kv);
      }
    }
  }

  Result<void> check(const CallContext& ctx) const {
    if (ctx.stopping()) return Error(Reason::Cancelled, "storage: the call was cancelled");
    if (ctx.deadline != CallContext::Clock::time_point::max() && clock_.now() >= ctx.deadline) {
      return Error(Reason::Timeout, "storage: the deadline has passed");
    }
    return {};
  }

  // Shows the entries to watches; their callbacks run without a lock.
  void publish(std::unique_lock<std::mutex> publishing, std::vector<LogEntry> entries) {
    const auto wakeups = log_.append(std::move(entries));
    publishing.unlock();
    wakeups.run();
  }

  Error compacted_error(Revision wanted) const {
    return {Reason::Expired,
            "revision " + std::to_string(wanted) + " has been compacted; the oldest is " + std::to_string(compacted_)};
  }

  // All below: the mutex is held.

  // What a page holds; the values can be copied later, without the lock.
  Result<std::vector<std::shared_ptr<const KeyValue>>> find(const CallContext& ctx, const RangeOptions& options,
                                                            Page& page) const {
    std::vector<std::shared_ptr<const KeyValue>> out;
    KUBERNEL_TRY(page.revision, readable(options.at));
    std::size_t seen = 0;
    for (auto at = keys_.lower_bound(options.start); at != keys_.end(); ++at) {
      if (!options.end.empty() && at->first >= options.end) break;
      if (seen++ % kCheckEvery == 0) KUBERNEL_CHECK_OK(check(ctx));
      auto kv = as_of(at->second, page.revision);
      if (!kv) continue;
      ++page.count;
      if (options.limit != 0 && out.size() == options.limit) {
        page.more = true;
        if (!options.count) break;
        continue;
      }
      out.push_back(std::move(kv));
    }
    if (!options.count) page.count = 0;
    return out;
  }

  Result<Revision> readable(Revision at) const {
    if (at == 0) return head_;
    if (at < compacted_) return compacted_error(at);
    if (at > head_) {
      return Error(Reason::BadRequest,
                   "revision " + std::to_string(at) + " is in the future; the store is at " + std::to_string(head_));
    }
    return at;
  }

  std::shared_ptr<const KeyValue> newest(std::string_view key) const {
    const auto found = keys_.find(key);
    return found == keys_.end() ? nullptr : found->second.back().kv;
  }

  CasResult lost(const std::shared_ptr<const KeyValue>& current) const {
    CasResult result{.applied = false, .revision = head_, .current = std::nullopt};
    if (current) result.current = *current;
    return result;
  }

  LogEntry deletion(const std::shared_ptr<const KeyValue>& current) const {
    auto tombstone = std::make_shared<KeyValue>();
    tombstone->key = current->key;
    tombstone->modified = head_ + 1;
    return {Event::Type::Delete, std::move(tombstone), current};
  }

  // Makes the entry the newest version of its key.
  void apply(const LogEntry& entry) {
    const bool deleted = entry.type == Event::Type::Delete;
    head_ = entry.revision();
    const auto found = keys_.try_emplace(entry.kv->key).first;
    found->second.push_back({head_, deleted ? nullptr : entry.kv});
    bytes_ += bytes_of(found->second.back());
    live_ += (deleted ? 0 : 1) - (entry.previous ? 1 : 0);
    if (entry.previous && entry.previous->lease != 0) {
      const auto keys = attached_.find(entry.previous->lease);
      keys->second.erase(entry.kv->key);
      if (keys->second.empty()) attached_.erase(keys);
    }
    if (entry.kv->lease != 0) attached_[entry.kv->lease].insert(entry.kv->key);
  }

  void forget_history(const std::string& key, Revision before) {
    const auto found = keys_.find(key);
    if (found == keys_.end()) return;
    Versions& versions = found->second;
    // The last version at or before the revision is what a read at it sees; all older ones go.
    auto keep = std::upper_bound(versions.begin(), versions.end(), before,
                                 [](Revision revision, const Version& version) { return revision < version.revision; });
    if (keep == versions.begin()) return;
    if (std::prev(keep)->kv) --keep;
    for (auto at = versions.begin(); at != keep; ++at) bytes_ -= bytes_of(*at);
    versions.erase(versions.begin(), keep);
    if (versions.empty()) keys_.erase(found);
  }

  Result<std::optional<LeaseRecord>> drop_lease(LeaseId id, const LeaseRecord* expired) {
    std::unique_lock publishing(publish_mutex_);
    std::vector<LogEntry> entries;
    {
      const std::lock_guard lock(mutex_);
      const bool there = expired == nullptr ? leases_.exists(id) : leases_.holds(*expired);
      if (!there) return storage_common::lease_not_found(id);
      const auto keys = attached_.find(id);
      const auto doomed = keys == attached_.end() ? std::set<std::string>() : keys->second;
      for (const std::string& key : doomed) entries.push_back(deletion(newest(key)));
      for (const LogEntry& entry : entries) apply(entry);
      leases_.forget(id);
    }
    publish(std::move(publishing), std::move(entries));
    return std::optional<LeaseRecord>();
  }

  Result<std::vector<std::string>> lease_keys(LeaseId id) const {
    const std::lock_guard lock(mutex_);
    const auto keys = attached_.find(id);
    if (keys == attached_.end()) return std::vector<std::string>();
    return std::vector<std::string>(keys->second.begin(), keys->second.end());
  }

  Clock& clock_;

  std::mutex compact_mutex_;
  Revision swept_ = 0;  // History before it has been dropped. Guarded by compact_mutex_.

  // Held from choosing a revision until it is published, so that the log gets them in order. Taken before mutex_.
  std::mutex publish_mutex_;
  // Not a shared mutex: those let readers starve writers.
  mutable std::mutex mutex_;
  std::map<std::string, Versions, std::less<>> keys_;
  std::map<LeaseId, std::set<std::string>> attached_;
  Revision head_ = kEmptyStore;
  Revision compacted_ = 0;
  std::int64_t live_ = 0;
  std::int64_t bytes_ = 0;

  storage_common::EventLog log_;
  LeaseTable leases_;
};

}  // namespace

Result<std::unique_ptr<storage::Backend>> open_memory(const storage::BackendContext& context) {
  return std::unique_ptr<storage::Backend>(std::make_unique<MemoryBackend>(context));
}

}  // namespace kubernel::storage_memory
