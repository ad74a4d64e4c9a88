// SPDX-License-Identifier: Apache-2.0
#include "transfer.h"

#include <algorithm>
#include <latch>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "contents.h"

namespace kubernel::storage_tool {

using storage::Backend;
using storage::KeyValue;
using storage::LeaseId;
using storage::Revision;

namespace {

// How often the source is compared with the target before we say that somebody else is writing.
constexpr int kMostPasses = 10;
// How many writes are under way at once.
constexpr std::size_t kBatch = 256;
constexpr std::size_t kCounters = 64;
const std::string kMarker = std::string(kOurKeys);
const std::string kCounterPrefix = std::string(kOurKeys) + "/revision-";

// One write that brings the target nearer to the source.
struct Change {
  bool remove = false;
  KeyValue kv;            // Its key, value and lease.
  Revision expected = 0;  // Of the key in the target.
};

// Runs `work(i)` for all i below `count`, many at once. Returns one of the errors.
Result<void> in_parallel(Executor& executor, std::size_t count, const std::function<Result<void>(std::size_t)>& work) {
  std::mutex mutex;
  Result<void> first;
  std::latch done(static_cast<std::ptrdiff_t>(count));
  const auto run = [&](std::size_t i) {
    if (auto worked = work(i); !worked) {
      const std::lock_guard lock(mutex);
      if (first) first = std::move(worked);
    }
    done.count_down();
  };
  for (std::size_t i = 0; i < count; ++i) {
    if (!executor.submit([&run, i] { run(i); })) run(i);
  }
  done.wait();
  return first;
}

Error written_by_others() {
  return {Reason::Conflict, "the target is written to by others; stop what uses it and run the same command again"};
}

Result<void> remove_counters(Backend& store) {
  KUBERNEL_TRY(const auto page, store.range({}, {.start = kCounterPrefix, .end = kCounterPrefix + '\xff'}));
  for (const KeyValue& counter : page.items) {
    KUBERNEL_TRY(const auto removed, store.remove({}, counter.key, counter.modified));
    if (!removed.applied) return written_by_others();
  }
  return {};
}

class Run {
 public:
  explicit Run(const Transfer& transfer) : transfer_(transfer), source_(transfer.source), target_(transfer.target) {}

  Result<Transferred> run() {
    KUBERNEL_CHECK_OK(claim());
    KUBERNEL_TRY(const auto stats, source_.stats({}));
    total_ = stats.keys;
    for (int pass = 0; pass < kMostPasses; ++pass) {
      KUBERNEL_CHECK_OK(copy());
      KUBERNEL_TRY(const bool same, compare());
      if (!same) continue;
      KUBERNEL_CHECK_OK(finish());
      return report_;
    }
    return Error(Reason::Conflict, transfer_.source_name +
                                       ": is still being written to; stop what uses it and run the same command again");
  }

 private:
  // Makes sure the target is ours to write to.
  Result<void> claim() {
    KUBERNEL_TRY(const auto from, unfinished_source(source_));
    if (from) {
      return Error(Reason::BadRequest, "the source is itself the target of a migration from " + *from +
                                           " that has not finished; finish that one first");
    }
    KUBERNEL_TRY(const auto marker, target_.get({}, kMarker, 0));
    if (marker) {
      marker_ = marker->modified;
      report_.resumed = true;
      if (marker->value == transfer_.source_name) return {};
      return Error(Reason::AlreadyExists, "the target holds part of a migration from " + marker->value +
                                              "; finish that one, or take an empty target");
    }
    KUBERNEL_TRY(const auto stats, target_.stats({}));
    if (stats.keys > 0) {
      return Error(Reason::AlreadyExists,
                   "the target is not empty: it holds " + std::to_string(stats.keys) + " keys; take an empty one");
    }
    KUBERNEL_TRY(const auto put, target_.put({}, kMarker, transfer_.source_name, 0, 0));
    marker_ = put.revision;
    return put.applied ? Result<void>() : written_by_others();
  }

  // Goes through both stores side by side and writes what differs.
  Result<void> copy() {
    Contents from(source_);
    Contents to(target_);
    std::vector<Change> changes;
    for (std::int64_t seen = 0;;) {
      KUBERNEL_TRY(const KeyValue* const wanted, from.peek());
      KUBERNEL_TRY(const KeyValue* const there, to.peek());
      if (wanted == nullptr && there == nullptr) break;
      if (there != nullptr && is_ours(there->key)) {
        to.take();
        continue;
      }
      const bool only_there = wanted == nullptr || (there != nullptr && there->key < wanted->key);
      const bool only_wanted = !only_there && (there == nullptr || wanted->key < there->key);
      if (only_there) {
        changes.push_back({.remove = true, .kv = {.key = there->key}, .expected = there->modified});
      } else if (only_wanted || wanted->value != there->value || wanted->lease != there->lease) {
        changes.push_back({.kv = *wanted, .expected = only_wanted ? 0 : there->modified});
      }
      if (!only_there) {
        from.take();
        transfer_.progress.at("keys copied:", ++seen, total_);
      }
      if (!only_wanted) to.take();
      if (changes.size() >= kBatch) KUBERNEL_CHECK_OK(write(changes));
    }
    return write(changes);
  }

  Result<void> write(std::vector<Change>& changes) {
    for (const Change& change : changes) KUBERNEL_CHECK_OK(ensure_lease(change.kv.lease));
    auto written = in_parallel(transfer_.executor, changes.size(), [&](std::size_t i) -> Result<void> {
      const Change& change = changes[i];
      if (change.kv.lease != 0 && !leases_.contains(change.kv.lease)) return {};  // Its lease ended just now.
      KUBERNEL_TRY(const auto result,
                   change.remove ? target_.remove({}, change.kv.key, change.expected)
                                 : target_.put({}, change.kv.key, change.kv.value, change.expected, change.kv.lease));
      return result.applied ? Result<void>() : written_by_others();
    });
    changes.clear();
    return written;
  }

  Result<void> ensure_lease(LeaseId id) {
    if (id == 0 || leases_.contains(id)) return {};
    const auto ttl = transfer_.lease_ttl(id);
    if (!ttl) {
      if (ttl.error().reason() != Reason::NotFound) return ttl.error();
      return {};  // Its keys are gone, too; the next pass sees that.
    }
    const auto granted = target_.leases().grant({}, id, *ttl);
    if (!granted && granted.error().reason() != Reason::AlreadyExists) return granted.error();
    leases_.insert(id);
    return {};
  }

  // Whether both hold the same, and the source has not moved on meanwhile.
  Result<bool> compare() {
    const auto telling = [this](const char* doing) {
      return [this, doing](std::int64_t keys) { transfer_.progress.at(doing, keys, total_); };
    };
    KUBERNEL_TRY(const Digest from, digest(source_, telling("keys of the source read again:")));
    KUBERNEL_TRY(const Digest to, digest(target_, telling("keys of the target read again:")));
    KUBERNEL_TRY(const auto stats, source_.stats({}));
    report_.keys = to.keys;
    report_.bytes = to.bytes;
    report_.leases = static_cast<std::int64_t>(leases_.size());
    report_.sha256 = to.sha256;
    report_.source_revision = from.revision;
    return from.same(to) && stats.revision == from.revision;
  }

  // Lets the target's revision pass the source's, and removes what is ours.
  Result<void> finish() {
    KUBERNEL_TRY(auto stats, target_.stats({}));
    if (stats.revision <= report_.source_revision) {
      KUBERNEL_TRY(stats.revision,
                   raise_revision(target_, report_.source_revision + 1, transfer_.executor, transfer_.progress));
    }
    KUBERNEL_TRY(const auto removed, target_.remove({}, kMarker, marker_));
    if (!removed.applied) return written_by_others();
    report_.target_revision = removed.revision;
    KUBERNEL_CHECK_OK(target_.compact({}, removed.revision));
    return {};
  }

  const Transfer& transfer_;
  Backend& source_;
  Backend& target_;
  std::int64_t total_ = 0;
  Revision marker_ = 0;
  std::set<LeaseId> leases_;
  Transferred report_;
};

}  // namespace

// There is no other way that every store has: each write counts one.
Result<Revision> raise_revision(Backend& store, Revision wanted, Executor& executor, Progress& progress) {
  KUBERNEL_CHECK_OK(remove_counters(store));
  KUBERNEL_TRY(auto stats, store.stats({}));
  const Revision begin = stats.revision;
  std::vector<Revision> counters(kCounters, 0);
  while (stats.revision < wanted) {
    const auto left = static_cast<std::size_t>(wanted - stats.revision);
    const std::size_t width = std::min(kCounters, left);
    const std::size_t rounds = std::clamp<std::size_t>(left / width, 1, 64);
    KUBERNEL_CHECK_OK(in_parallel(executor, width, [&](std::size_t i) -> Result<void> {
      for (std::size_t round = 0; round < rounds; ++round) {
        KUBERNEL_TRY(const auto put, store.put({}, kCounterPrefix + std::to_string(i), "", counters[i], 0));
        if (!put.applied) return written_by_others();
        counters[i] = put.revision;
      }
      return {};
    }));
    KUBERNEL_TRY(stats, store.stats({}));
    progress.at("revisions counted up:", stats.revision - begin, wanted - begin);
  }
  KUBERNEL_CHECK_OK(remove_counters(store));
  KUBERNEL_TRY(stats, store.stats({}));
  KUBERNEL_CHECK_OK(store.compact({}, stats.revision));
  return stats.revision;
}

Result<Transferred> transfer(const Transfer& transfer) {
  return Run(transfer).run();
}

Result<std::optional<std::string>> unfinished_source(Backend& store) {
  KUBERNEL_TRY(const auto marker, store.get({}, kMarker, 0));
  return marker ? std::optional(marker->value) : std::nullopt;
}

}  // namespace kubernel::storage_tool
