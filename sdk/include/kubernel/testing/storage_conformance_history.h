// SPDX-License-Identifier: Apache-2.0
//
// Conformance: watches and compaction. Included by storage_conformance.h only.

#pragma once

#include <kubernel/testing/storage_conformance.h>

namespace kubernel::testing {

TEST_P(StorageConformance, AWatchFromNowSeesWhatComesAfter) {
  const auto before = put("/a", "1");
  const auto events = watch("", "");
  EXPECT_TRUE(drain(*events).empty());
  const auto second = put("/a", "2", before);
  put("/b", "1");
  remove("/a", second);
  EXPECT_EQ(text(drain(*events)), (std::vector<std::string>{"put /a=2@3 was 1", "put /b=1@4", "delete /a@5 was 2"}));
  EXPECT_TRUE(drain(*events).empty());
}

TEST_P(StorageConformance, AWatchFromThePastSeesEverythingSince) {
  const auto a = put("/a", "1");
  const auto a2 = put("/a", "2", a);
  remove("/a", a2);
  put("/a", "3");
  const auto all = watch("", "", 1);
  EXPECT_EQ(text(drain(*all)),
            (std::vector<std::string>{"put /a=1@2", "put /a=2@3 was 1", "delete /a@4 was 2", "put /a=3@5"}));
  const auto some = watch("", "", a2 + 1);
  EXPECT_EQ(text(drain(*some)), (std::vector<std::string>{"delete /a@4 was 2", "put /a=3@5"}));
}

TEST_P(StorageConformance, AnEventCarriesTheWholeKeyBeforeAndAfter) {
  ASSERT_TRUE(store_->leases().grant({}, 9, std::chrono::seconds(60)));
  const auto a = put("/a", "1", 0, 9);
  const auto a2 = put("/a", "2", a);
  remove("/a", a2);
  const auto all = watch("", "", 1);
  const auto events = drain(*all);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].kv.created, a);
  EXPECT_EQ(events[0].kv.version, 1);
  EXPECT_EQ(events[0].kv.lease, 9);
  EXPECT_FALSE(events[0].previous);
  EXPECT_EQ(events[1].kv.created, a);
  EXPECT_EQ(events[1].kv.version, 2);
  EXPECT_EQ(events[1].kv.lease, 0);
  ASSERT_TRUE(events[1].previous);
  EXPECT_EQ(events[1].previous->key, "/a");
  EXPECT_EQ(events[1].previous->modified, a);
  EXPECT_EQ(events[1].previous->lease, 9);
  EXPECT_EQ(events[2].type, Event::Type::Delete);
  EXPECT_EQ(events[2].kv.modified, a2 + 1);
  EXPECT_EQ(events[2].kv.value, "");
  EXPECT_EQ(events[2].kv.created, 0);
  EXPECT_EQ(events[2].kv.version, 0);
  ASSERT_TRUE(events[2].previous);
  EXPECT_EQ(events[2].previous->version, 2);
}

TEST_P(StorageConformance, AWatchSeesItsRangeOnly) {
  const auto events = watch("/b", "/c");
  for (const char* key : {"/a", "/b", "/b/x", "/bz", "/c", "/d"}) put(key, "1");
  EXPECT_EQ(text(drain(*events)), (std::vector<std::string>{"put /b=1@3", "put /b/x=1@4", "put /bz=1@5"}));
  const auto past = watch("/b", "/c", 4);
  EXPECT_EQ(text(drain(*past)), (std::vector<std::string>{"put /b/x=1@4", "put /bz=1@5"}));
}

TEST_P(StorageConformance, AWatchFromTheFutureStartsThere) {
  put("/a", "1");
  const auto events = watch("", "", 5);
  put("/b", "1");
  put("/c", "1");
  EXPECT_TRUE(drain(*events).empty());
  put("/d", "1");
  put("/e", "1");
  EXPECT_EQ(text(drain(*events)), (std::vector<std::string>{"put /d=1@5", "put /e=1@6"}));
}

TEST_P(StorageConformance, ALostRaceIsNoEvent) {
  put("/a", "1");
  const auto events = watch("", "");
  ASSERT_TRUE(store_->put({}, "/a", "2", 0, 0));
  ASSERT_TRUE(store_->remove({}, "/a", 17));
  EXPECT_TRUE(drain(*events).empty());
}

TEST_P(StorageConformance, WatchersAtDifferentSpeedsSeeTheSame) {
  const auto quick = watch("", "");
  const auto slow = watch("", "");
  std::vector<Event> seen_quickly;
  std::vector<Event> seen_slowly;
  for (int i = 0; i < 500; ++i) {
    put("/" + std::to_string(i), std::string(100, 'x'));
    for (Event& event : drain(*quick)) seen_quickly.push_back(std::move(event));
    if (i % 10 == 0) {
      auto taken = slow->take(1);
      ASSERT_TRUE(taken);
      for (Event& event : taken->events) seen_slowly.push_back(std::move(event));
    }
  }
  EXPECT_LT(seen_slowly.size(), 100U);
  for (Event& event : drain(*slow, 3)) seen_slowly.push_back(std::move(event));
  ASSERT_EQ(seen_quickly.size(), 500U);
  EXPECT_EQ(text(seen_quickly), text(seen_slowly));
  for (std::size_t i = 0; i < seen_quickly.size(); ++i) {
    ASSERT_EQ(seen_quickly[i].kv.modified, static_cast<Revision>(i) + 2);
  }
}

TEST_P(StorageConformance, AWatcherThatReadsNothingForLongMissesNothing) {
  const auto sleeper = watch("/big/", "/big0");
  const std::string value(100'000, 'v');
  for (int i = 0; i < 100; ++i) {
    put("/big/" + std::to_string(i), value);
    put("/small/" + std::to_string(i), "1");
  }
  Revision wanted = 2;
  for (const Event& event : drain(*sleeper, 7)) {
    EXPECT_EQ(event.kv.modified, wanted);
    EXPECT_EQ(event.kv.value.size(), value.size());
    wanted += 2;
  }
  EXPECT_EQ(wanted, 202);
}

TEST_P(StorageConformance, ProgressNeverRunsAheadOfDelivery) {
  const auto events = watch("/a", "/b");
  EXPECT_LE(events->take(10)->progress, 1);
  for (int i = 0; i < 10; ++i) put("/a" + std::to_string(i), "1");
  Revision delivered = 1;
  EXPECT_TRUE(wait_for([&] {
    for (;;) {
      const auto batch = events->take(3);
      if (!batch) return false;
      EXPECT_LE(batch->progress, head());
      if (batch->events.empty()) return batch->progress == head();
      for (const Event& event : batch->events) EXPECT_EQ(event.kv.modified, ++delivered);
      EXPECT_GE(batch->progress, delivered);
    }
  }));
  EXPECT_EQ(delivered, 11);
  put("/z", "not in range");
  EXPECT_TRUE(wait_for([&] {
    const auto batch = events->take(10);
    return batch && batch->events.empty() && batch->progress == head();
  })) << "progress tells of writes out of range too";
}

TEST_P(StorageConformance, NotifyCallsAtOnceWhenThereIsSomethingAndAfterAWriteInRange) {
  std::atomic<int> calls = 0;
  put("/a", "1");
  const auto behind = watch("", "", 2);
  behind->notify([&] { ++calls; });
  EXPECT_TRUE(wait_for([&] { return calls >= 1; }));
  EXPECT_EQ(drain(*behind).size(), 1U);  // Ends with an empty take.
  int seen = calls;
  put("/b", "1");
  EXPECT_TRUE(wait_for([&] { return calls > seen; }));
  put("/c", "1");
  EXPECT_EQ(drain(*behind).size(), 2U);
  seen = calls;
  put("/d", "1");
  EXPECT_TRUE(wait_for([&] { return calls > seen; }));
  EXPECT_LE(calls, 6) << "a watch is woken, not flooded";
  behind->notify({});
  const int before = calls;
  drain(*behind);
  put("/e", "1");
  EXPECT_EQ(calls, before);
}

TEST_P(StorageConformance, NotifyIsQuietWhenNothingIsInRange) {
  std::atomic<int> calls = 0;
  const auto events = watch("/a", "/b");
  events->notify([&] { ++calls; });
  EXPECT_EQ(calls, 0);
  put("/z", "1");
  EXPECT_EQ(calls, 0);
  put("/a", "1");
  EXPECT_TRUE(wait_for([&] { return calls == 1; }));
}

TEST_P(StorageConformance, AWatchMayBeStoppedWhileWritersCallIt) {
  std::atomic<bool> stop = false;
  std::jthread writer([&] {
    for (int i = 0; !stop; ++i) {
      const auto written = store_->put({}, "/k" + std::to_string(i), "1", 0, 0);
      ASSERT_TRUE(written && written->applied);
    }
  });
  for (int i = 0; i < 50; ++i) {
    const auto alive = std::make_shared<std::atomic<bool>>(true);
    const auto events = watch("", "");
    events->notify([alive] { EXPECT_TRUE(*alive); });
    drain(*events, 1);
    events->notify({});
    *alive = false;
  }
  stop = true;
}

TEST_P(StorageConformance, CompactionForgetsHistoryAndKeepsThePresent) {
  const auto a = put("/a", "1");
  const auto a2 = put("/a", "2", a);
  const auto b = put("/b", "1");
  const auto gone = remove("/b", b);
  const auto a3 = put("/a", "3", a2);
  compact(gone);
  for (const Revision past : {Revision{1}, a, a2, b}) {
    const auto found = store_->get({}, "/a", past);
    ASSERT_FALSE(found) << past;
    EXPECT_EQ(found.error().reason(), Reason::Expired);
    const auto page = store_->range({}, {.at = past});
    ASSERT_FALSE(page) << past;
    EXPECT_EQ(page.error().reason(), Reason::Expired);
  }
  EXPECT_EQ(get("/a", gone)->value, "2") << "the state at the compacted revision stays";
  EXPECT_FALSE(get("/b", gone));
  EXPECT_EQ(keys(range({.at = gone})), (std::vector<std::string>{"/a"}));
  EXPECT_EQ(get("/a", a3)->value, "3");
  EXPECT_EQ(get("/a")->version, 3);
  EXPECT_EQ(get("/a")->created, a);
  EXPECT_EQ(store_->stats({})->compacted, gone);
  EXPECT_EQ(head(), a3);
  put("/b", "again");
  EXPECT_EQ(get("/b")->version, 1);
}

TEST_P(StorageConformance, CompactionEdges) {
  const auto a = put("/a", "1");
  const auto a2 = put("/a", "2", a);
  const auto future = store_->compact({}, a2 + 1);
  ASSERT_FALSE(future);
  EXPECT_EQ(future.error().reason(), Reason::BadRequest);
  compact(a2);
  const auto again = store_->compact({}, a);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason(), Reason::Expired);
  EXPECT_EQ(get("/a", a2)->value, "2");
  compact(remove("/a", a2));
  EXPECT_EQ(head(), a2 + 1);
  EXPECT_EQ(count("", ""), 0);
  EXPECT_EQ(put("/a", "3"), a2 + 2);
  EXPECT_EQ(get("/a")->version, 1);
}

TEST_P(StorageConformance, AWatchFromACompactedRevisionIsExpired) {
  const auto a = put("/a", "1");
  const auto a2 = put("/a", "2", a);
  const auto a3 = put("/a", "3", a2);
  put("/a", "4", a3);
  compact(a3);
  auto past = store_->watch({.from = a2});
  if (past) {
    Result<storage::WatchBatch> taken = storage::WatchBatch{};
    ASSERT_TRUE(wait_for([&] {
      taken = (*past)->take(10);
      return !taken;
    }));
    EXPECT_EQ(taken.error().reason(), Reason::Expired);
  } else {
    EXPECT_EQ(past.error().reason(), Reason::Expired);
  }
  const auto events = watch("", "", a3);
  const auto taken = drain(*events);
  ASSERT_EQ(taken.size(), 2U) << "the compacted revision itself can still be watched";
  EXPECT_EQ(taken[0].kv.modified, a3);
  EXPECT_EQ(taken[0].kv.value, "3");
  EXPECT_EQ(text({taken[1]}), (std::vector<std::string>{"put /a=4@5 was 3"}));
}

TEST_P(StorageConformance, ADeletionAtTheCompactedRevisionCanBeWatched) {
  const auto gone = remove("/a", put("/a", "1"));
  put("/b", "1");
  compact(gone);
  const auto events = drain(*watch("", "", gone));
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].type, Event::Type::Delete);
  EXPECT_EQ(events[0].kv.key, "/a");
  compact(head());
  EXPECT_FALSE(get("/a"));
  EXPECT_EQ(count("", ""), 1);
}

TEST_P(StorageConformance, AWatchThatFellBehindCompactionIsExpiredOrMissesNothing) {
  const auto events = watch("", "");
  Revision last = put("/a", "0");
  for (int i = 0; i < 10; ++i) last = put("/a", "1", last);
  compact(last);
  Revision seen = 1;
  Result<storage::WatchBatch> taken = storage::WatchBatch{};
  EXPECT_TRUE(wait_for([&] {
    taken = events->take(3);
    if (taken) {
      for (const Event& event : taken->events) EXPECT_EQ(event.kv.modified, ++seen) << "a gap";
    }
    return !taken || seen == last;
  }));
  if (!taken) {
    EXPECT_EQ(taken.error().reason(), Reason::Expired);
  }
}

TEST_P(StorageConformance, AWatchCanBeTakenUpWhereAnotherLeftOff) {
  Revision last = 0;
  std::vector<std::string> expected;
  for (int i = 0; i < 30; ++i) {
    last = put("/a", std::to_string(i), last);
    expected.push_back("put /a=" + std::to_string(i) + "@" + std::to_string(last) +
                       (i > 0 ? " was " + std::to_string(i - 1) : ""));
  }
  std::vector<Event> seen;
  Revision from = 1;
  while (seen.size() < expected.size()) {
    const auto events = watch("", "", from);
    Result<storage::WatchBatch> batch = storage::WatchBatch{};
    ASSERT_TRUE(wait_for([&] {
      batch = events->take(4);
      return !batch || !batch->events.empty();
    }));
    ASSERT_TRUE(batch) << batch.error().message();
    for (const Event& event : batch->events) seen.push_back(event);
    from = seen.back().kv.modified + 1;
  }
  EXPECT_EQ(text(seen), expected);
}

TEST_P(StorageConformance, AnIdleWatchIsNotExpiredByWritesOutOfItsRange) {
  std::atomic<int> calls = 0;
  const auto events = watch("/quiet/", "/quiet0");
  drain(*events);
  events->notify([&] { ++calls; });
  Revision last = put("/a", "0");
  for (int i = 0; i < 10; ++i) last = put("/a", "1", last);
  compact(last);
  EXPECT_EQ(calls, 0);
  put("/quiet/a", "1");
  EXPECT_TRUE(wait_for([&] { return calls == 1; }));
  EXPECT_EQ(drain(*events).size(), 1U);
}

TEST_P(StorageConformance, CompactionInStepsKeepsTheStoreTheSame) {
  std::map<std::string, std::string> expected;
  SeededRandom random(7);
  for (int i = 0; i < 600; ++i) {
    const std::string key = "/k" + std::to_string(random.next() % 20);
    const auto current = get(key);
    if (current && random.next() % 4 == 0) {
      remove(key, current->modified);
      expected.erase(key);
    } else {
      put(key, std::to_string(i), current ? current->modified : 0);
      expected[key] = std::to_string(i);
    }
    if (i % 37 == 36) compact(head() - static_cast<Revision>(random.next() % 10));
  }
  compact(head());
  std::map<std::string, std::string> found;
  for (const KeyValue& item : range({}).items) found[item.key] = item.value;
  EXPECT_EQ(found, expected);
  EXPECT_EQ(count("", ""), static_cast<std::int64_t>(expected.size()));
}

}  // namespace kubernel::testing
