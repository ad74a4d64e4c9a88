// SPDX-License-Identifier: Apache-2.0
//
// Conformance: random histories of many clients, judged by the history checker. Included by storage_conformance.h only.

#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <kubernel/testing/history.h>
#include <kubernel/testing/storage_conformance.h>

namespace kubernel::testing {

/// A client that reads and writes a few keys at random. What it learns about revisions it uses as expectations, so that
/// it wins some races and loses others.
class RandomClient {
 public:
  RandomClient(History& history, storage::Backend& store, int number, std::uint64_t seed)
      : client_(history, store, number), number_(number), random_(seed * 1000 + static_cast<std::uint64_t>(number)) {}

  /// False when a call failed.
  bool step() {
    const std::string key = "/k" + std::to_string(random_below(random_, kKeys));
    storage::Revision& known = known_[key];
    switch (random_below(random_, 8)) {
      case 0: return get(key, known);
      case 1: return range();
      case 2: return remove(key, known);
      default: return put(key, known);
    }
  }

 private:
  static constexpr std::uint64_t kKeys = 5;

  bool put(const std::string& key, storage::Revision& known) {
    // Nobody else ever writes this value.
    const auto result = client_.put(key, std::to_string(number_) + "." + std::to_string(++writes_), known);
    if (!result) return false;
    known = result->applied ? result->revision : result->current ? result->current->modified : 0;
    newest_ = std::max(newest_, result->revision);
    return true;
  }

  bool remove(const std::string& key, storage::Revision& known) {
    const auto result = client_.remove(key, known);
    if (!result) return false;
    known = !result->applied && result->current ? result->current->modified : 0;
    newest_ = std::max(newest_, result->revision);
    return true;
  }

  bool get(const std::string& key, storage::Revision& known) {
    const auto at = random_below(random_, 3) == 0 ? newest_ : 0;
    const auto found = client_.get(key, at);
    if (found && at == 0) known = *found ? (*found)->modified : 0;
    return found.has_value();
  }

  bool range() {
    storage::RangeOptions options{.start = "/k", .end = "/l", .limit = random_below(random_, 5)};
    if (random_below(random_, 2) == 0) options.at = newest_;
    const auto page = client_.range(options);
    if (page) newest_ = std::max(newest_, page->revision);
    return page.has_value();
  }

  RecordedClient client_;
  const int number_;
  SeededRandom random_;
  std::map<std::string, storage::Revision> known_;
  storage::Revision newest_ = 1;
  int writes_ = 0;
};

/// A watcher that leaves now and then and comes back for what it has not seen, until `writing` is 0 and it has seen all
/// there was then. Returns whether every take worked.
class RandomWatcher {
 public:
  RandomWatcher(History& history, storage::Backend& store, const std::atomic<int>& writing, std::uint64_t seed)
      : history_(history), store_(store), writing_(writing), random_(seed) {}

  bool run() {
    for (bool last = false; !last;) {
      last = writing_ == 0;
      Revision until = 0;
      if (last) {
        const auto stats = store_.stats({});
        if (!stats) return false;
        until = stats->revision;
      }
      if (!visit(until)) return false;
    }
    return true;
  }

 private:
  using Revision = storage::Revision;

  // `until` 0: a few takes.
  bool visit(Revision until) {
    RecordedWatch watch(history_, store_, {.start = "", .end = "", .from = from_});
    std::atomic<int> wakes = 0;
    if (watch.watch() == nullptr) return false;
    watch.watch()->notify([&] {
      ++wakes;
      wakes.notify_one();
    });
    bool fine = true;
    auto takes = 1 + random_below(random_, 20);
    while (fine && (until != 0 ? std::max(from_ - 1, watch.progress()) < until : takes-- > 0)) {
      const int before = wakes;
      const auto batch = watch.take(1 + random_below(random_, 7));
      fine = batch.has_value();
      if (fine && until != 0 && batch->events.empty() && batch->progress < until) wakes.wait(before);
    }
    watch.watch()->notify({});
    from_ = std::max(from_, watch.progress() + 1);
    return fine;
  }

  History& history_;
  storage::Backend& store_;
  const std::atomic<int>& writing_;
  SeededRandom random_;
  Revision from_ = 2;
};

TEST_P(StorageConformance, RandomHistoriesOfManyClientsAreLinearizable) {
  constexpr int kClients = 6;
  constexpr int kSteps = 120;
  constexpr int kWatchers = 2;
  constexpr std::uint64_t kSeed = 20261121;
  History history;
  std::atomic<int> errors = 0;
  std::atomic<int> writing = kClients;
  in_parallel(kClients + kWatchers, [&](int thread) {
    if (thread < kClients) {
      RandomClient client(history, *store_, thread, kSeed);
      for (int i = 0; i < kSteps; ++i) {
        if (!client.step()) ++errors;
      }
      --writing;
      return;
    }
    const auto seed = kSeed + static_cast<std::uint64_t>(thread);
    if (!RandomWatcher(history, *store_, writing, seed).run()) ++errors;
  });
  EXPECT_EQ(errors, 0);
  EXPECT_EQ(violation(history), "") << "seed " << kSeed;
  // The watchers were there until the end.
  storage::Revision told = 0;
  for (const WatchRecord& watch : history.watches) {
    for (const storage::WatchBatch& batch : watch.batches) told = std::max(told, batch.progress);
  }
  EXPECT_EQ(told, head());
}

/// A client of groups of keys that transactions and leases join.
class RandomTransactor {
 public:
  RandomTransactor(History& history, storage::Backend& store, int number, std::uint64_t seed, std::chrono::seconds ttl)
      : client_(history, store, number),
        number_(number),
        ttl_(ttl),
        random_(seed * 1000 + static_cast<std::uint64_t>(number)) {}

  /// False when a call failed in a way no store may.
  bool step() {
    group_ = below(kGroups);
    switch (below(14)) {
      case 0: return get();
      case 1: return range();
      case 2: return keep(client_.put(key(), value(), known(), lease()));
      case 3: return keep(client_.remove(key(), known()));
      case 4:
      case 5: return refusable(client_.grant(lease_id(), ttl_), Reason::AlreadyExists);
      case 6: return refusable(client_.renew(lease_id()), Reason::NotFound);
      case 7: return refusable(client_.revoke(lease_id()), Reason::NotFound);
      default: return transact();
    }
  }

 private:
  static constexpr std::uint64_t kGroups = 2;
  static constexpr std::uint64_t kKeys = 3;
  static constexpr std::uint64_t kLeases = 2;

  std::uint64_t below(std::uint64_t bound) { return random_below(random_, bound); }
  std::string group() const { return "/t" + std::to_string(group_) + "/"; }
  std::string past_group() const { return "/t" + std::to_string(group_) + "0"; }
  std::string name(std::uint64_t i) const { return group() + static_cast<char>('a' + i); }
  std::string key() {
    key_ = name(below(kKeys));
    return key_;
  }
  storage::Revision known() { return known_[key_]; }
  // Nobody else ever writes this value.
  std::string value() { return std::to_string(number_) + "." + std::to_string(++writes_); }
  storage::LeaseId lease_id() { return static_cast<storage::LeaseId>(1 + group_ * kLeases + below(kLeases)); }
  storage::LeaseId lease() { return below(2) == 0 ? 0 : lease_id(); }

  template <class T>
  static bool refusable(const Result<T>& result, Reason reason) {
    return result || result.error().reason() == reason;
  }

  bool keep(const Result<storage::CasResult>& result) {
    if (!result) return refusable(result, Reason::NotFound);
    newest_ = std::max(newest_, result->revision);
    known_[key_] = result->applied ? result->revision : result->current ? result->current->modified : 0;
    return true;
  }

  bool get() {
    const auto found = client_.get(key());
    if (found) known_[key_] = *found ? (*found)->modified : 0;
    return found.has_value();
  }

  bool range() {
    storage::RangeOptions options{.start = "/t", .end = "/u", .limit = below(7)};
    if (below(2) == 0) options.at = newest_;
    const auto page = client_.range(options);
    if (page) newest_ = std::max(newest_, page->revision);
    return page.has_value();
  }

  storage::Operation look(storage::Revision at = 0) const {
    return {storage::ReadOperation{{.start = group(), .end = past_group(), .at = at, .count = true}}};
  }

  // Compares what it knows of some keys, and changes them together.
  storage::Transaction next() {
    storage::Transaction out;
    const auto first = below(kKeys);
    for (std::uint64_t i = 0; i < 1 + below(2); ++i) {
      const std::string one = name((first + i) % kKeys);
      out.compares.push_back({.keys = storage::KeyRange::only(one), .number = known_[one], .value = {}});
    }
    out.then.push_back(look(below(4) == 0 ? newest_ : 0));
    const auto held_by = lease();
    switch (below(6)) {
      case 0:
        out.then.push_back({storage::RemoveOperation{.keys = {group(), past_group()}, .want_previous = true}});
        break;
      case 1: break;
      default:
        for (std::uint64_t i = 0; i < 2; ++i) {
          out.then.push_back({storage::PutOperation{
              .key = name((first + i) % kKeys), .value = value(), .lease = held_by, .want_previous = true}});
        }
        out.then.push_back(look());
    }
    if (below(8) == 0) {
      storage::Transaction inner{.compares = out.compares, .then = {look()}, .otherwise = {}};
      inner.otherwise.push_back({storage::PutOperation{.key = name(first), .value = value()}});
      out.otherwise.push_back({std::move(inner)});
    }
    out.otherwise.push_back(look());
    return out;
  }

  bool transact() {
    const auto result = client_.transact(next());
    if (!result) return refusable(result, Reason::NotFound);
    newest_ = std::max(newest_, result->revision);
    // The last thing it did was to look, unless it removed.
    const auto* page = std::get_if<storage::Page>(&result->outcomes.back().of);
    for (std::uint64_t i = 0; i < kKeys; ++i) known_[name(i)] = 0;
    if (page != nullptr) {
      for (const storage::KeyValue& item : page->items) known_[item.key] = item.modified;
    }
    return true;
  }

  RecordedClient client_;
  const int number_;
  const std::chrono::seconds ttl_;
  SeededRandom random_;
  std::uint64_t group_ = 0;
  std::string key_;
  std::map<std::string, storage::Revision> known_;
  storage::Revision newest_ = 1;
  int writes_ = 0;
};

/// Clients, watchers and time that passes, all at once. Time and the clients wait for each other now and then, so that
/// leases end among the calls, however fast the store is.
class RandomTransactions {
 public:
  static constexpr int kClients = 6;
  static constexpr int kSteps = 120;
  static constexpr int kPasses = 24;
  static constexpr std::uint64_t kSeed = 20261122;

  RandomTransactions(std::vector<storage::Backend*> stores, const Clock& clock, std::chrono::seconds ttl,
                     std::function<void()> pass)
      : stores_(std::move(stores)), ttl_(ttl), pass_(std::move(pass)) {
    history_.clock = &clock;
  }

  /// How many threads run() is for.
  int threads() const { return 1 + kClients + static_cast<int>(stores_.size()); }

  void run(int thread) {
    if (thread == 0) return pass();
    if (thread <= kClients) return call(thread - 1);
    const auto i = static_cast<std::size_t>(thread - kClients - 1);
    if (!RandomWatcher(history_, *stores_[i], writing_, kSeed + i).run()) ++errors_;
  }

  int errors() const { return errors_; }
  const History& history() const { return history_; }

 private:
  void pass() {
    for (int i = 1; i <= kPasses; ++i) {
      const int wanted = kClients * kSteps / kPasses * (i - 1) / 2;
      for (int steps = steps_; steps < wanted; steps = steps_) steps_.wait(steps);
      pass_();
      passes_ = i;
      passes_.notify_all();
    }
  }

  void call(int number) {
    {
      RandomTransactor client(history_, *stores_[static_cast<std::size_t>(number) % stores_.size()], number, kSeed,
                              ttl_);
      for (int i = 0; i < kSteps; ++i) {
        for (int passes = passes_; passes < i * kPasses / kSteps; passes = passes_) passes_.wait(passes);
        if (!client.step()) ++errors_;
        ++steps_;
        steps_.notify_all();
      }
    }
    --writing_;
  }

  std::vector<storage::Backend*> stores_;
  const std::chrono::seconds ttl_;
  const std::function<void()> pass_;
  History history_;
  std::atomic<int> errors_ = 0;
  std::atomic<int> writing_ = kClients;
  std::atomic<int> steps_ = 0;
  std::atomic<int> passes_ = 0;
};

TEST_P(StorageConformance, RandomHistoriesOfTransactionsAndLeasesAreLinearizable) {
  RandomTransactions random({store_.get()}, instance_->lease_clock(clock_), ttl(), [&] { pass_tenths(2); });
  in_parallel(random.threads(), [&](int thread) { random.run(thread); });
  EXPECT_EQ(random.errors(), 0);
  EXPECT_EQ(violation(random.history()), "") << "seed " << RandomTransactions::kSeed;
}

TEST_P(StorageShared, RandomTransactionsAndLeasesThroughTwoHandlesAreLinearizable) {
  RandomTransactions random({store_.get(), other_.get()}, instance_->lease_clock(clock_), ttl(),
                            [&] { pass_tenths(2); });
  in_parallel(random.threads(), [&](int thread) { random.run(thread); });
  EXPECT_EQ(random.errors(), 0);
  EXPECT_EQ(violation(random.history()), "") << "seed " << RandomTransactions::kSeed;
}

}  // namespace kubernel::testing
