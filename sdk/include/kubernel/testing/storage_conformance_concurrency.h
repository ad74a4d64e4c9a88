// SPDX-License-Identifier: Apache-2.0
//
// Conformance: many callers at once. Included by storage_conformance.h only.

#pragma once

#include <mutex>
#include <set>

#include <kubernel/testing/storage_conformance.h>

namespace kubernel::testing {

TEST_P(StorageConformance, SixtyFourWritersOfOneKeyHaveOneWinnerPerRevision) {
  constexpr int kWriters = 64;
  constexpr int kRounds = 5;
  std::mutex mutex;
  std::multiset<Revision> won;
  std::atomic<int> errors = 0;
  in_parallel(kWriters, [&](int writer) {
    Revision expected = 0;
    for (int wins = 0; wins < kRounds;) {
      const auto result = store_->put({}, "/hot", std::to_string(writer), expected, 0);
      if (!result) {
        ++errors;
        return;
      }
      if (result->applied) {
        ++wins;
        expected = result->revision;
        const std::lock_guard lock(mutex);
        won.insert(result->revision);
      } else {
        // The winner is told: no second read is needed to try again.
        expected = result->current ? result->current->modified : 0;
      }
    }
  });
  EXPECT_EQ(errors, 0);
  ASSERT_EQ(won.size(), static_cast<std::size_t>(kWriters * kRounds));
  Revision wanted = 2;
  for (const Revision revision : won) ASSERT_EQ(revision, wanted++);
  EXPECT_EQ(get("/hot")->version, kWriters * kRounds);
  EXPECT_EQ(get("/hot")->created, 2);
}

TEST_P(StorageConformance, SixtyFourWritersOfDistinctKeysAllWin) {
  constexpr int kWriters = 64;
  constexpr int kWrites = 20;
  const auto events = watch("", "");
  std::atomic<int> errors = 0;
  in_parallel(kWriters, [&](int writer) {
    const std::string key = "/w/" + std::to_string(writer);
    Revision expected = 0;
    for (int i = 0; i < kWrites; ++i) {
      const auto result = store_->put({}, key, std::to_string(i), expected, 0);
      if (!result || !result->applied || result->revision <= expected) {
        ++errors;
        return;
      }
      expected = result->revision;
      const auto found = store_->get({}, key, 0);
      if (!found || !*found || (*found)->modified != expected) ++errors;  // A read sees the write that returned.
    }
  });
  EXPECT_EQ(errors, 0);
  EXPECT_EQ(head(), 1 + kWriters * kWrites);
  EXPECT_EQ(count("/w/", "/w0"), kWriters);
  std::map<std::string, int> next;
  Revision revision = 1;
  for (const Event& event : drain(*events)) {
    ASSERT_EQ(event.kv.modified, ++revision);
    ASSERT_EQ(event.kv.value, std::to_string(next[event.kv.key]++));
  }
  EXPECT_EQ(revision, head());
}

// A register per key, read and written at once by several: every read must lie between the last write that
// returned before it began and the last write that began before it returned.
TEST_P(StorageConformance, ReadsAndWritesAreLinearizable) {
  constexpr int kKeys = 4;
  constexpr int kWrites = 150;
  struct Register {
    std::atomic<int> started = 0;
    std::atomic<int> returned = 0;
  };
  std::vector<Register> registers(kKeys);
  std::atomic<int> violations = 0;
  std::atomic<int> writing = kKeys;
  in_parallel(2 * kKeys, [&](int thread) {
    Register& reg = registers[static_cast<std::size_t>(thread % kKeys)];
    const std::string key = "/r" + std::to_string(thread % kKeys);
    if (thread < kKeys) {
      Revision expected = 0;
      for (int i = 1; i <= kWrites; ++i) {
        reg.started = i;
        const auto result = store_->put({}, key, std::to_string(i), expected, 0);
        if (!result || !result->applied) {
          ++violations;
          break;
        }
        expected = result->revision;
        reg.returned = i;
      }
      --writing;
      return;
    }
    int last = 0;
    while (writing > 0) {
      const int least = std::max(last, reg.returned.load());
      const auto page = store_->range({}, {.start = key, .end = key + '\0'});
      const int most = reg.started;
      if (!page) {
        ++violations;
        return;
      }
      const int seen = page->items.empty() ? 0 : std::stoi(page->items[0].value);
      if (seen < least || seen > most) ++violations;
      last = seen;
    }
  });
  EXPECT_EQ(violations, 0);
}

// Two keys always written one after the other: no snapshot may show the second without the first.
TEST_P(StorageConformance, ASnapshotIsTakenBetweenWritesNotWithin) {
  std::atomic<bool> stop = false;
  std::atomic<int> torn = 0;
  in_parallel(3, [&](int thread) {
    if (thread == 0) {
      Revision a = 0;
      Revision b = 0;
      for (int i = 0; i < 200; ++i) {
        a = put("/s/a", std::to_string(i), a);
        b = put("/s/b", std::to_string(i), b);
      }
      stop = true;
      return;
    }
    while (!stop) {
      const auto page = store_->range({}, {.start = "/s/", .end = "/s0"});
      if (!page) {
        ++torn;
        continue;
      }
      Revision newest = 0;
      for (const KeyValue& item : page->items) newest = std::max(newest, item.modified);
      if (newest > page->revision) ++torn;
      if (page->items.size() != 2) continue;
      const int difference = std::stoi(page->items[0].value) - std::stoi(page->items[1].value);
      if (difference != 0 && difference != 1) ++torn;
      // The same moment, asked for again, looks the same.
      const auto again = store_->range({}, {.start = "/s/", .end = "/s0", .at = page->revision});
      if (!again || again->items.size() != 2 || again->items[0].value != page->items[0].value ||
          again->items[1].value != page->items[1].value) {
        ++torn;
      }
    }
  });
  EXPECT_EQ(torn, 0);
}

TEST_P(StorageConformance, WatchersAreCompleteAndInOrderWhileManyWrite) {
  constexpr int kWriters = 8;
  constexpr int kWrites = 60;
  constexpr int kWatchers = 4;
  std::vector<std::unique_ptr<storage::Watch>> watches;
  for (int i = 0; i < kWatchers; ++i) watches.push_back(watch(i % 2 == 0 ? "" : "/w/3", i % 2 == 0 ? "" : "/w/4"));
  std::atomic<int> wrong = 0;
  in_parallel(kWriters + kWatchers, [&](int thread) {
    if (thread < kWriters) {
      Revision expected = 0;
      for (int i = 0; i < kWrites; ++i) expected = put("/w/" + std::to_string(thread), std::to_string(i), expected);
      return;
    }
    const int watcher = thread - kWriters;
    const int wanted = watcher % 2 == 0 ? kWriters * kWrites : kWrites;
    std::atomic<int> wakes = 0;  // Waited for as a futex: only a notification moves a reader on.
    watches[static_cast<std::size_t>(watcher)]->notify([&] {
      ++wakes;
      wakes.notify_one();
    });
    Revision last = 0;
    for (int seen = 0; seen < wanted;) {
      const int before = wakes;
      const auto batch = watches[static_cast<std::size_t>(watcher)]->take(static_cast<std::size_t>(watcher) * 5 + 1);
      if (!batch) {
        ++wrong;
        break;
      }
      for (const Event& event : batch->events) {
        if (event.kv.modified <= last) ++wrong;
        last = event.kv.modified;
        ++seen;
      }
      if (batch->progress < last) ++wrong;
      if (batch->events.empty()) wakes.wait(before);
    }
    watches[static_cast<std::size_t>(watcher)]->notify({});
  });
  EXPECT_EQ(wrong, 0);
}

TEST_P(StorageConformance, CompactionDisturbsNeitherWritersNorReadersOfThePresent) {
  constexpr int kWriters = 4;
  std::atomic<int> errors = 0;
  std::atomic<int> writing = kWriters;
  in_parallel(kWriters + 2, [&](int thread) {
    if (thread < kWriters) {
      Revision expected = 0;
      for (int i = 0; i < 200; ++i) {
        const auto result = store_->put({}, "/c/" + std::to_string(thread), std::to_string(i), expected, 0);
        if (!result || !result->applied) {
          ++errors;
          break;
        }
        expected = result->revision;
      }
      --writing;
      return;
    }
    while (writing > 0) {
      if (thread == kWriters) {
        const auto stats = store_->stats({});
        if (!stats || !store_->compact({}, stats->revision)) ++errors;
      } else {
        const auto page = store_->range({}, {.start = "/c/", .end = "/c0"});
        if (!page) ++errors;
      }
    }
  });
  EXPECT_EQ(errors, 0);
  EXPECT_EQ(count("/c/", "/c0"), kWriters);
  for (const KeyValue& item : range({}).items) EXPECT_EQ(item.value, "199");
}

}  // namespace kubernel::testing
