// SPDX-License-Identifier: Apache-2.0
//
// Conformance: several processes on one store, as two handles. Included by storage_conformance.h only.

#pragma once

#include <algorithm>
#include <mutex>
#include <set>

#include <kubernel/testing/storage_conformance.h>

namespace kubernel::testing {

TEST_P(StorageShared, AWriteThroughOneHandleIsReadThroughTheOtherAtOnce) {
  const auto a = put("/a", "1");
  const auto found = other_->get({}, "/a", 0);
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->modified, a);
  EXPECT_EQ(*other_->count({}, "", ""), 1);
  const auto updated = other_->put({}, "/a", "2", a, 0);
  ASSERT_TRUE(updated && updated->applied);
  EXPECT_EQ(updated->revision, a + 1) << "revisions go on without a gap";
  EXPECT_EQ(get("/a")->value, "2");
  EXPECT_EQ(range({}).revision, a + 1);
  EXPECT_EQ(head(), a + 1);
  const auto lost = store_->put({}, "/a", "3", a, 0);
  ASSERT_TRUE(lost && !lost->applied);
  EXPECT_EQ(lost->current->value, "2");
  EXPECT_EQ(store_->stats({})->keys, 1);
  EXPECT_EQ(other_->stats({})->keys, 1);
}

TEST_P(StorageShared, AWatchSeesWhatTheOtherHandleWrites) {
  std::atomic<int> calls = 0;
  const auto events = watch("/w/", "/w0");
  events->notify([&] { ++calls; });
  const auto a = other_->put({}, "/w/a", "1", 0, 0);
  ASSERT_TRUE(a && a->applied);
  EXPECT_TRUE(wait_for([&] { return calls > 0; })) << "nobody told the watch";
  EXPECT_EQ(text(drain(*events)), (std::vector<std::string>{"put /w/a=1@2"}));
  ASSERT_TRUE(other_->put({}, "/elsewhere", "1", 0, 0));
  ASSERT_TRUE(other_->put({}, "/w/a", "2", a->revision, 0));
  put("/w/b", "mine");
  ASSERT_TRUE(other_->remove({}, "/w/a", 4));
  EXPECT_EQ(text(drain(*events)),
            (std::vector<std::string>{"put /w/a=2@4 was 1", "put /w/b=mine@5", "delete /w/a@6 was 2"}));
  const auto past = watch("", "", 2);
  EXPECT_EQ(drain(*past).size(), 5U);
}

TEST_P(StorageShared, AWatchFromNowDoesNotTellOfWhatWasWrittenBefore) {
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(other_->put({}, "/" + std::to_string(i), "1", 0, 0));
  const auto events = watch("", "");
  EXPECT_TRUE(drain(*events).empty());
  ASSERT_TRUE(other_->put({}, "/a", "1", 0, 0));
  EXPECT_EQ(text(drain(*events)), (std::vector<std::string>{"put /a=1@22"}));
}

TEST_P(StorageShared, WritersOfBothHandlesHaveOneOrderThatBothSee) {
  constexpr int kWriters = 16;
  constexpr int kWrites = 15;
  const auto mine = watch("", "");
  auto theirs = other_->watch({});
  ASSERT_TRUE(theirs);
  std::mutex mutex;
  std::set<Revision> revisions;
  std::atomic<int> errors = 0;
  in_parallel(kWriters, [&](int writer) {
    storage::Backend& store = writer % 2 == 0 ? *store_ : *other_;
    const std::string own = "/own/" + std::to_string(writer);
    Revision own_revision = 0;
    for (int i = 0; i < kWrites; ++i) {
      const auto one = store.put({}, own, std::to_string(i), own_revision, 0);
      if (!one || !one->applied) {
        ++errors;
        return;
      }
      own_revision = one->revision;
      for (;;) {  // All writers count in one key.
        const auto hot = store.get({}, "/hot", 0);
        if (!hot) {
          ++errors;
          return;
        }
        const int counted = *hot ? std::stoi((*hot)->value) : 0;
        const auto two = store.put({}, "/hot", std::to_string(counted + 1), *hot ? (*hot)->modified : 0, 0);
        if (!two) {
          ++errors;
          return;
        }
        const std::lock_guard lock(mutex);
        revisions.insert(one->revision);
        if (!two->applied) continue;
        revisions.insert(two->revision);
        break;
      }
    }
  });
  EXPECT_EQ(errors, 0);
  EXPECT_EQ(revisions.size(), static_cast<std::size_t>(2 * kWriters * kWrites));
  EXPECT_EQ(get("/hot")->value, std::to_string(kWriters * kWrites)) << "a count was lost";
  EXPECT_EQ(head(), 1 + 2 * kWriters * kWrites);
  const auto seen = drain(*mine);
  EXPECT_EQ(text(seen), text(drain(**theirs)));
  Revision next = 2;
  for (const Event& event : seen) ASSERT_EQ(event.kv.modified, next++);
  EXPECT_EQ(next, head() + 1);
}

TEST_P(StorageShared, ANameIsGivenOnce) {
  constexpr int kNames = 20;
  std::atomic<int> won = 0;
  std::atomic<int> errors = 0;
  in_parallel(8, [&](int taker) {
    storage::Backend& store = taker % 2 == 0 ? *store_ : *other_;
    for (int i = 0; i < kNames; ++i) {
      const auto result = store.put({}, "/name/" + std::to_string(i), std::to_string(taker), 0, 0);
      if (!result) ++errors;
      if (result && result->applied) ++won;
    }
  });
  EXPECT_EQ(errors, 0);
  EXPECT_EQ(won, kNames);
}

TEST_P(StorageShared, ATransactionOfTheOtherHandleIsSeenWhole) {
  const auto events = watch("", "");
  const auto done = other_->transact({}, {.compares = {},
                                          .then = {{storage::PutOperation{.key = "/a", .value = "1"}},
                                                   {storage::PutOperation{.key = "/b", .value = "1"}}},
                                          .otherwise = {}});
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(text(drain(*events, 1)), (std::vector<std::string>{"put /a=1@2", "put /b=1@2"}));
  EXPECT_EQ(put("/c", "1"), 3);
}

TEST_P(StorageShared, ALeaseOfOneHandleIsALeaseOfTheOther) {
  ASSERT_TRUE(store_->leases().grant({}, 5, ttl(2)));
  const auto taken = other_->leases().grant({}, 5, ttl());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().reason(), Reason::AlreadyExists);
  const auto attached = other_->put({}, "/a", "1", 0, 5);
  ASSERT_TRUE(attached) << attached.error().message();
  EXPECT_EQ(*other_->leases().list({}), (std::vector<storage::LeaseId>{5}));
  EXPECT_EQ(other_->leases().find({}, 5, true)->keys, (std::vector<std::string>{"/a"}));
  for (int i = 0; i < 3; ++i) {
    pass_tenths(14);
    const auto renewed = other_->leases().renew({}, 5);
    ASSERT_TRUE(renewed) << renewed.error().message();
    EXPECT_EQ(*renewed, ttl(2));
    EXPECT_EQ(count("", ""), 1);
  }
  ASSERT_TRUE(other_->leases().revoke({}, 5));
  EXPECT_FALSE(get("/a"));
  const auto refused = store_->put({}, "/b", "1", 0, 5);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::NotFound);
}

TEST_P(StorageShared, ALeaseExpiresOnce) {
  ASSERT_TRUE(store_->leases().grant({}, 5, ttl()));
  ASSERT_TRUE(other_->put({}, "/a", "1", 0, 5));
  put("/b", "1", 0, 5);
  const auto events = watch("", "");
  pass_tenths(22);
  EXPECT_TRUE(keys_left(0));
  EXPECT_EQ(text(drain(*events)), (std::vector<std::string>{"delete /a@4 was 1", "delete /b@4 was 1"}));
  EXPECT_EQ(head(), 4);
}

TEST_P(StorageShared, ALeaseExpiresThoughTheProcessThatGrantedItIsGone) {
  ASSERT_TRUE(other_->leases().grant({}, 5, ttl()));
  ASSERT_TRUE(other_->put({}, "/a", "1", 0, 5));
  EXPECT_EQ(head(), 2);
  other_.reset();
  pass_tenths(22);
  EXPECT_TRUE(keys_left(0));
}

TEST_P(StorageShared, CompactionByOneHandleHoldsForTheOther) {
  const auto events = watch("", "");
  Revision last = put("/a", "0");
  for (int i = 0; i < 20; ++i) last = put("/a", "1", last);
  ASSERT_TRUE(other_->compact({}, last));
  const auto old = store_->get({}, "/a", last - 1);
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().reason(), Reason::Expired);
  EXPECT_EQ(store_->stats({})->compacted, last);
  const auto again = store_->compact({}, last - 1);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason(), Reason::Expired);
  EXPECT_TRUE(store_->compact({}, last));
  EXPECT_EQ(get("/a", last)->value, "1");
  EXPECT_EQ(put("/a", "2", last), last + 1);
}

TEST_P(StorageShared, BothHandlesMayCompactAtOnce) {
  Revision last = put("/a", "0");
  for (int i = 0; i < 300; ++i) last = put("/a", "1", last);
  put("/b", "1");
  std::atomic<int> errors = 0;
  in_parallel(4, [&](int thread) {
    storage::Backend& store = thread % 2 == 0 ? *store_ : *other_;
    if (thread < 2) {
      const auto done = store.compact({}, last);
      if (!done) ++errors;
      return;
    }
    for (int i = 0; i < 20; ++i) {
      const auto written = store.put({}, "/w/" + std::to_string(thread) + "/" + std::to_string(i), "1", 0, 0);
      if (!written || !written->applied) ++errors;
    }
  });
  EXPECT_EQ(errors, 0);
  EXPECT_EQ(count("", ""), 42);
  EXPECT_EQ(get("/a")->version, 301);
}

}  // namespace kubernel::testing
