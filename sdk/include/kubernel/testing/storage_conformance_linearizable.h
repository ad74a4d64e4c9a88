// SPDX-License-Identifier: Apache-2.0
//
// Conformance: random histories of many clients, judged by the history checker. Included by storage_conformance.h only.

#pragma once

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
    // A watcher that leaves now and then and comes back for what it has not seen.
    storage::Revision from = 2;
    SeededRandom random(kSeed + static_cast<std::uint64_t>(thread));
    for (bool last = false; !last;) {
      last = writing == 0;
      const storage::Revision until = last ? head() : 0;
      RecordedWatch watch(history, *store_, {.start = "", .end = "", .from = from});
      std::atomic<int> wakes = 0;
      if (watch.watch() != nullptr) {
        watch.watch()->notify([&] {
          ++wakes;
          wakes.notify_one();
        });
      }
      for (auto takes = 1 + random_below(random, 20); last ? std::max(from - 1, watch.progress()) < until : takes > 0;
           --takes) {
        const int before = wakes;
        const auto batch = watch.take(1 + random_below(random, 7));
        if (!batch) {
          ++errors;
          return;
        }
        if (last && batch->events.empty() && batch->progress < until) wakes.wait(before);
      }
      watch.watch()->notify({});
      from = std::max(from, watch.progress() + 1);
    }
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

}  // namespace kubernel::testing
