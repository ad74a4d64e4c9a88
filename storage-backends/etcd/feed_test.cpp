// SPDX-License-Identifier: Apache-2.0
#include "feed.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace kubernel::storage_etcd {
namespace {

using storage::Event;
using storage::Revision;

Event put(const std::string& key, Revision revision, const std::string& value = "v") {
  return {.type = Event::Type::Put, .kv = {.key = key, .value = value, .modified = revision}, .previous = {}};
}

struct EtcdFeed : ::testing::Test {
  // What etcd would tell: every event ever added.
  void add(std::vector<Event> events) {
    for (const Event& event : events) all.push_back(event);
    const Revision last = events.back().kv.modified;
    feed.append(std::move(events), last);
  }
  Result<storage::WatchBatch> history(Revision from, const storage::KeyRange& range, Revision to) {
    ++history_reads;
    storage::WatchBatch batch{.events = {}, .progress = to};
    for (const Event& event : all) {
      if (event.kv.modified >= from && event.kv.modified <= to && range.contains(event.kv.key))
        batch.events.push_back(event);
    }
    return batch;
  }
  static std::string keys(const storage::WatchBatch& batch) {
    std::string out;
    for (const Event& event : batch.events) out += event.kv.key + "@" + std::to_string(event.kv.modified) + " ";
    return out;
  }

  std::vector<Event> all;
  int history_reads = 0;
  Feed feed{1, 1000, [this](Revision from, Revision to, const storage::KeyRange& range, std::size_t) {
              return history(from, range, to);
            }};
};

TEST_F(EtcdFeed, EventsOfOneRevisionAreNeverSplit) {
  auto watch = *feed.watch({});
  add({put("/a", 2), put("/b", 2), put("/c", 3)});
  EXPECT_EQ(keys(*watch->take(1)), "/a@2 /b@2 ");
  EXPECT_EQ(keys(*watch->take(1)), "/c@3 ");
  EXPECT_EQ(watch->take(1)->progress, 3);
}

TEST_F(EtcdFeed, RevisionsOfOthersAreProgress) {
  auto watch = *feed.watch({});
  feed.append({}, 7);
  const auto batch = watch->take(1);
  EXPECT_TRUE(batch->events.empty());
  EXPECT_EQ(batch->progress, 7);
}

TEST_F(EtcdFeed, ASlowReaderGetsFromEtcdWhatWasDropped) {
  auto watch = *feed.watch({});
  for (Revision r = 2; r < 40; ++r) add({put("/k" + std::to_string(r), r, std::string(100, 'x'))});
  std::string seen;
  for (;;) {
    const auto batch = watch->take(3);
    if (batch->events.empty()) break;
    seen += keys(*batch);
  }
  std::string wanted;
  for (Revision r = 2; r < 40; ++r) wanted += "/k" + std::to_string(r) + "@" + std::to_string(r) + " ";
  EXPECT_EQ(seen, wanted);
  EXPECT_EQ(history_reads, 1) << "what was read is kept until it is taken";
}

TEST_F(EtcdFeed, AGapExpiresThoseWhoNeededItAndNobodyElse) {
  auto behind = *feed.watch({});
  auto ahead = *feed.watch({.from = 30});
  std::atomic<int> woken = 0;
  behind->notify([&] { ++woken; });
  feed.lose(10, 20);
  EXPECT_EQ(woken, 1);
  const auto batch = behind->take(1);
  ASSERT_FALSE(batch);
  EXPECT_EQ(batch.error().reason(), Reason::Expired);
  EXPECT_TRUE(ahead->take(1));
  add({put("/a", 30)});
  EXPECT_EQ(keys(*ahead->take(5)), "/a@30 ");
}

TEST_F(EtcdFeed, AWriterWaitsForItsEventOnlyWhileEventsCome) {
  feed.wait_for(100);  // Returns at once: the feed is not live.
  feed.set_live(true);
  feed.append({put("/a", 100)}, 100);
  feed.wait_for(100);
  EXPECT_EQ(feed.head(), 100);
}

TEST_F(EtcdFeed, EachWriterIsReleasedByItsOwnEventOrWhenNoneComeAnyMore) {
  feed.set_live(true);
  std::atomic<int> released = 0;
  std::vector<std::jthread> writers;
  for (const Revision revision : {4, 5, 5, 9}) {
    writers.emplace_back([&, revision] {
      feed.wait_for(revision);
      // Of the one that is not told of its event: the feed was not live any more.
      EXPECT_TRUE(feed.head() >= revision || feed.head() == 6);
      ++released;
      released.notify_all();
    });
  }
  add({put("/a", 4)});
  add({put("/a", 5), put("/b", 6)});
  for (int so_far = released; so_far < 3; so_far = released) released.wait(so_far);
  feed.set_live(false);
  writers.clear();
  EXPECT_EQ(released, 4);
}

TEST_F(EtcdFeed, WhoWaitsForItToLiveIsToldWhenItDoes) {
  std::jthread waits([&] { feed.wait_until_live(); });
  feed.set_live(true);
  waits.join();
  feed.wait_until_live();  // It does already.
}

}  // namespace
}  // namespace kubernel::storage_etcd
