// SPDX-License-Identifier: Apache-2.0
//
// Conformance: writes, reads and leases. Included by storage_conformance.h only.

#pragma once

#include <kubernel/testing/storage_conformance.h>

namespace kubernel::testing {

TEST_P(StorageConformance, AnEmptyStoreIsAtRevisionOne) {
  EXPECT_EQ(head(), 1);
  const auto page = range({});
  EXPECT_EQ(page.revision, 1);
  EXPECT_TRUE(page.items.empty());
  EXPECT_FALSE(page.more);
  EXPECT_EQ(count("", ""), 0);
  EXPECT_FALSE(get("/a"));
  EXPECT_FALSE(get("/a", 1));
}

TEST_P(StorageConformance, ARevisionGrowsByExactlyOneForEachAppliedWrite) {
  EXPECT_EQ(put("/a", "1"), 2);
  EXPECT_EQ(put("/b", "1"), 3);
  EXPECT_EQ(put("/a", "2", 2), 4);
  const auto lost = store_->put({}, "/a", "3", 2, 0);
  ASSERT_TRUE(lost && !lost->applied);
  EXPECT_EQ(lost->revision, 4);
  EXPECT_EQ(remove("/b", 3), 5);
  EXPECT_EQ(put("/c", "1"), 6);
  EXPECT_EQ(head(), 6);
}

TEST_P(StorageConformance, TheLoserOfARaceIsToldWhoWon) {
  const auto revision = put("/a", "1");
  const auto winner = put("/a", "2", revision);
  const auto lost = store_->put({}, "/a", "3", revision, 0);
  ASSERT_TRUE(lost);
  EXPECT_FALSE(lost->applied);
  ASSERT_TRUE(lost->current);
  EXPECT_EQ(lost->current->value, "2");
  EXPECT_EQ(lost->current->modified, winner);
  EXPECT_EQ(lost->current->created, revision);
  EXPECT_EQ(lost->current->version, 2);
  EXPECT_EQ(get("/a")->value, "2");
}

TEST_P(StorageConformance, AKeyThatExistsCannotBeCreated) {
  put("/a", "1");
  const auto lost = store_->put({}, "/a", "2", 0, 0);
  ASSERT_TRUE(lost);
  EXPECT_FALSE(lost->applied);
  ASSERT_TRUE(lost->current);
  EXPECT_EQ(lost->current->value, "1");
}

TEST_P(StorageConformance, AnUpdateOfAMissingKeyLosesToNobody) {
  const auto lost = store_->put({}, "/a", "1", 7, 0);
  ASSERT_TRUE(lost);
  EXPECT_FALSE(lost->applied);
  EXPECT_FALSE(lost->current);
  EXPECT_EQ(head(), 1);
}

TEST_P(StorageConformance, RemoveTellsWhatItRemovedAndNeverAppliesToZero) {
  const auto revision = put("/a", "1");
  for (const Revision expected : {Revision{0}, revision + 1}) {
    const auto lost = store_->remove({}, "/a", expected);
    ASSERT_TRUE(lost);
    EXPECT_FALSE(lost->applied);
    ASSERT_TRUE(lost->current);
    EXPECT_EQ(lost->current->modified, revision);
  }
  const auto removed = store_->remove({}, "/a", revision);
  ASSERT_TRUE(removed && removed->applied);
  EXPECT_EQ(removed->revision, revision + 1);
  ASSERT_TRUE(removed->current);
  EXPECT_EQ(removed->current->value, "1");
  for (const Revision expected : {Revision{0}, revision, revision + 1}) {
    const auto again = store_->remove({}, "/a", expected);
    ASSERT_TRUE(again);
    EXPECT_FALSE(again->applied);
    EXPECT_FALSE(again->current);
  }
  EXPECT_EQ(head(), revision + 1);
}

TEST_P(StorageConformance, AKeyCarriesWhenItWasCreatedChangedAndHowOften) {
  const auto created = put("/a", "1");
  put("/other", "1");
  const auto modified = put("/a", "2", created);
  const auto found = get("/a");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->key, "/a");
  EXPECT_EQ(found->value, "2");
  EXPECT_EQ(found->created, created);
  EXPECT_EQ(found->modified, modified);
  EXPECT_EQ(found->version, 2);
  EXPECT_EQ(found->lease, 0);
}

TEST_P(StorageConformance, ARecreatedKeyStartsAnew) {
  const auto first = put("/a", "1");
  const auto second = put("/a", "2", first);
  const auto removed = remove("/a", second);
  const auto stale = store_->put({}, "/a", "x", removed, 0);
  ASSERT_TRUE(stale);
  EXPECT_FALSE(stale->applied) << "a deletion's revision is no modification of a living key";
  const auto again = put("/a", "3");
  const auto found = get("/a");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->created, again);
  EXPECT_EQ(found->modified, again);
  EXPECT_EQ(found->version, 1);
}

TEST_P(StorageConformance, AReadAtARevisionSeesThatMoment) {
  const auto first = put("/a", "1");
  const auto second = put("/a", "2", first);
  const auto removed = remove("/a", second);
  const auto again = put("/a", "3");
  EXPECT_FALSE(get("/a", 1));
  EXPECT_EQ(get("/a", first)->value, "1");
  EXPECT_EQ(get("/a", first)->version, 1);
  EXPECT_EQ(get("/a", second)->value, "2");
  EXPECT_EQ(get("/a", second)->created, first);
  EXPECT_FALSE(get("/a", removed));
  EXPECT_EQ(get("/a", again)->value, "3");
  EXPECT_FALSE(get("/b", second));
}

TEST_P(StorageConformance, AReadInTheFutureIsRefused) {
  const auto now = put("/a", "1");
  const auto found = store_->get({}, "/a", now + 1);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().reason(), Reason::BadRequest);
  const auto page = store_->range({}, {.at = now + 1});
  ASSERT_FALSE(page);
  EXPECT_EQ(page.error().reason(), Reason::BadRequest);
}

TEST_P(StorageConformance, ARangeHasItsStartAndNotItsEnd) {
  for (const char* key : {"/a", "/b", "/b/1", "/c", "/d"}) put(key, key);
  EXPECT_EQ(keys(range({.start = "/b", .end = "/d"})), (std::vector<std::string>{"/b", "/b/1", "/c"}));
  EXPECT_EQ(keys(range({.start = "/c"})), (std::vector<std::string>{"/c", "/d"}));
  EXPECT_EQ(keys(range({.end = "/b"})), (std::vector<std::string>{"/a"}));
  EXPECT_TRUE(range({.start = "/d", .end = "/b"}).items.empty());
  EXPECT_EQ(count("/b", "/d"), 3);
  EXPECT_EQ(count("", ""), 5);
  EXPECT_EQ(count("/c", ""), 2);
  EXPECT_EQ(count("/d", "/b"), 0);
}

TEST_P(StorageConformance, ADeletedKeyIsNeitherListedNorCounted) {
  const auto revision = put("/a", "1");
  put("/b", "1");
  remove("/a", revision);
  EXPECT_EQ(keys(range({})), (std::vector<std::string>{"/b"}));
  EXPECT_EQ(count("", ""), 1);
  EXPECT_EQ(keys(range({.at = revision})), (std::vector<std::string>{"/a"}));
}

TEST_P(StorageConformance, ARangeAtARevisionIsASnapshot) {
  const auto a = put("/a", "1");
  put("/b", "1");
  const auto c = put("/c", "1");
  put("/a", "2", a);
  remove("/c", c);
  put("/d", "1");
  const auto page = range({.at = c});
  EXPECT_EQ(page.revision, c);
  ASSERT_EQ(keys(page), (std::vector<std::string>{"/a", "/b", "/c"}));
  EXPECT_EQ(page.items[0].value, "1");
  EXPECT_EQ(page.items[0].modified, a);
}

TEST_P(StorageConformance, PagesAtOneRevisionAreNotDisturbedByWrites) {
  std::vector<std::string> expected;
  for (int i = 100; i < 150; ++i) {
    expected.push_back("/k/" + std::to_string(i));
    put(expected.back(), "old");
  }
  std::vector<std::string> seen;
  storage::RangeOptions options{.start = "/k/", .end = "/k0", .limit = 7};
  for (int round = 0;; ++round) {
    const auto page = range(options);
    ASSERT_LE(page.items.size(), 7U);
    for (const KeyValue& item : page.items) {
      seen.push_back(item.key);
      EXPECT_EQ(item.value, "old");
    }
    // Changes before, at and after the place the reader is at.
    put("/k/" + std::to_string(100 + round) + "x", "new");
    const auto last = get("/k/149");
    ASSERT_TRUE(last);
    put("/k/149", "new", last->modified);
    if (const auto doomed = get("/k/" + std::to_string(140 - round))) remove(doomed->key, doomed->modified);
    if (!page.more) break;
    ASSERT_FALSE(page.items.empty());
    options.start = page.items.back().key + '\0';
    options.at = page.revision;
  }
  EXPECT_EQ(seen, expected);
}

TEST_P(StorageConformance, MoreIsSaidExactlyWhenThereIsMore) {
  for (const char* key : {"/a", "/b", "/c"}) put(key, "1");
  EXPECT_TRUE(range({.limit = 2}).more);
  EXPECT_FALSE(range({.limit = 3}).more);
  EXPECT_FALSE(range({.limit = 4}).more);
  EXPECT_FALSE(range({.start = "/c", .limit = 1}).more);
  remove("/c", get("/c")->modified);
  EXPECT_FALSE(range({.limit = 2}).more);
}

TEST_P(StorageConformance, KeysOnlyLeavesOutTheValuesAndNothingElse) {
  const auto first = put("/a", "value");
  const auto second = put("/a", "value", first);
  for (const Revision at : {Revision{0}, first, second}) {
    const auto page = range({.at = at, .keys_only = true});
    ASSERT_EQ(page.items.size(), 1U);
    EXPECT_EQ(page.items[0].key, "/a");
    EXPECT_EQ(page.items[0].value, "");
    EXPECT_EQ(page.items[0].created, first);
    EXPECT_EQ(page.items[0].modified, at == first ? first : second);
    EXPECT_EQ(page.items[0].version, at == first ? 1 : 2);
  }
}

TEST_P(StorageConformance, AnEmptyValueIsAValue) {
  const auto revision = put("/a", std::string_view());  // A null pointer with length zero.
  ASSERT_TRUE(get("/a"));
  EXPECT_EQ(get("/a")->value, "");
  EXPECT_EQ(range({}).items.size(), 1U);
  put("/a", "", revision);
  EXPECT_EQ(get("/a")->version, 2);
  const auto events = watch("", "", revision);
  EXPECT_EQ(text(drain(*events)).at(0), "put /a=@2");
}

TEST_P(StorageConformance, KeysAndValuesAreBytes) {
  using namespace std::string_literals;
  const std::vector<std::string> ordered = {"/a"s,     "/a\0"s,   "/a\0b"s,      "/a\x01"s, "/a'\"%_\\"s,
                                            "/a\x7f"s, "/a\x80"s, "/a\xc3\xa4"s, "/a\xff"s, "/a\xff\xff"s};
  std::map<std::string, Revision> revisions;
  for (auto key = ordered.rbegin(); key != ordered.rend(); ++key) {
    revisions[*key] = put(*key, "\xff\0\x01"s + *key);
  }
  const auto page = range({});
  ASSERT_EQ(keys(page), ordered);
  for (const KeyValue& item : page.items) {
    EXPECT_EQ(item.value, "\xff\0\x01"s + item.key);
    const auto found = get(item.key);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->modified, revisions[item.key]);
  }
  EXPECT_EQ(keys(range({.start = "/a\x80"s, .end = "/a\xff"s})), (std::vector<std::string>{"/a\x80", "/a\xc3\xa4"}));
  EXPECT_EQ(keys(range({.start = "/a"s, .end = "/a\0b"s})), (std::vector<std::string>{"/a"s, "/a\0"s}));
}

TEST_P(StorageConformance, ALargeValueComesBackWhole) {
  std::string large(storage::kMaxValueBytes, '\0');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>((i * 2654435761U) >> 13U);
  const auto revision = put("/large", large);
  EXPECT_TRUE(get("/large")->value == large);
  const auto events = watch("", "", revision);
  const auto taken = drain(*events);
  ASSERT_EQ(taken.size(), 1U);
  EXPECT_TRUE(taken[0].kv.value == large);
}

TEST_P(StorageConformance, StatsCountWhatIsThere) {
  const auto a = put("/a", std::string(1000, 'x'));
  put("/b", "1");
  remove("/a", a);
  const auto stats = store_->stats({});
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->revision, 4);
  EXPECT_EQ(stats->keys, 1);
  EXPECT_GE(stats->size_bytes, 1000);
  EXPECT_EQ(stats->compacted, 0);
}

TEST_P(StorageConformance, ACallThatIsToStopDoesNothing) {
  std::stop_source stop;
  stop.request_stop();
  const CallContext stopped{.stop = stop.get_token()};
  const auto cancelled = store_->put(stopped, "/a", "1", 0, 0);
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().reason(), Reason::Cancelled);
  const CallContext late{.deadline = CallContext::Clock::time_point::min()};
  const auto timed_out = store_->put(late, "/a", "1", 0, 0);
  ASSERT_FALSE(timed_out);
  EXPECT_EQ(timed_out.error().reason(), Reason::Timeout);
  const auto page = store_->range(late, {});
  if (!page) {
    EXPECT_EQ(page.error().reason(), Reason::Timeout);
  }
  EXPECT_EQ(head(), 1);
}

TEST_P(StorageConformance, KeysGoWhenTheirLeaseExpiresAndWatchesAreTold) {
  const auto lease = store_->leases().grant({}, 0, ttl());
  ASSERT_TRUE(lease) << lease.error().message();
  EXPECT_GT(*lease, 0);
  const auto events = watch("", "");
  put("/c", "1", 0, *lease);
  put("/b", "1");
  put("/a", "1", 0, *lease);
  EXPECT_EQ(get("/a")->lease, *lease);
  pass_tenths(8);
  EXPECT_EQ(count("", ""), 3);
  pass_tenths(3);
  EXPECT_TRUE(keys_left(1));
  EXPECT_EQ(keys(range({})), (std::vector<std::string>{"/b"}));
  EXPECT_EQ(head(), 5) << "all keys of a lease go under one revision";
  const auto taken = text(drain(*events));
  ASSERT_EQ(taken.size(), 5U);
  EXPECT_EQ(taken[3], "delete /a@5 was 1");
  EXPECT_EQ(taken[4], "delete /c@5 was 1");
  const auto renewed = store_->leases().renew({}, *lease);
  ASSERT_FALSE(renewed);
  EXPECT_EQ(renewed.error().reason(), Reason::NotFound);
}

TEST_P(StorageConformance, ARenewedLeaseLivesOn) {
  const auto lease = store_->leases().grant({}, 77, ttl());
  ASSERT_TRUE(lease) << lease.error().message();
  EXPECT_EQ(*lease, 77);
  put("/a", "1", 0, *lease);
  for (int i = 0; i < 3; ++i) {
    pass_tenths(7);
    const auto renewed = store_->leases().renew({}, *lease);
    ASSERT_TRUE(renewed) << renewed.error().message();
    EXPECT_EQ(*renewed, ttl());
  }
  EXPECT_TRUE(get("/a"));
  pass_tenths(11);
  EXPECT_TRUE(keys_left(0));
}

TEST_P(StorageConformance, LeasesExpireOneByOne) {
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(store_->leases().grant({}, i, ttl(i)));
    put("/" + std::to_string(i), "1", 0, i);
  }
  for (int left = 3; left > 0; --left) {
    EXPECT_TRUE(keys_left(left));
    pass_tenths(10);
  }
  EXPECT_TRUE(keys_left(0));
}

TEST_P(StorageConformance, ALeaseTellsWhatItIs) {
  ASSERT_TRUE(store_->leases().grant({}, 7, ttl(2)));
  ASSERT_TRUE(store_->leases().grant({}, 5, ttl()));
  EXPECT_EQ(*store_->leases().list({}), (std::vector<storage::LeaseId>{5, 7}));
  put("/b", "1", 0, 7);
  remove("/c", put("/c", "1", 0, 7));
  put("/a", "1", 0, 7);
  put("/other", "1", 0, 5);
  pass_tenths(5);
  const auto found = store_->leases().find({}, 7, true);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(found->id, 7);
  EXPECT_EQ(found->ttl, ttl(2));
  EXPECT_GT(found->remaining.count(), 0);
  EXPECT_LE(found->remaining, std::chrono::milliseconds(ttl(2)));
  EXPECT_EQ(found->keys, (std::vector<std::string>{"/a", "/b"}));
  EXPECT_TRUE(store_->leases().find({}, 7, false)->keys.empty());
  const auto missing = store_->leases().find({}, 8, false);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().reason(), Reason::NotFound);
  ASSERT_TRUE(store_->leases().revoke({}, 7));
  EXPECT_FALSE(store_->leases().find({}, 7, false));
  EXPECT_EQ(*store_->leases().list({}), (std::vector<storage::LeaseId>{5}));
}

TEST_P(StorageConformance, ARevokedLeaseTakesItsKeysAtOnce) {
  ASSERT_TRUE(store_->leases().grant({}, 5, ttl()));
  put("/a", "1", 0, 5);
  const auto revoked = store_->leases().revoke({}, 5);
  ASSERT_TRUE(revoked) << revoked.error().message();
  EXPECT_FALSE(get("/a"));
  const auto again = store_->leases().revoke({}, 5);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason(), Reason::NotFound);
  const auto refused = store_->put({}, "/a", "1", 0, 5);
  ASSERT_FALSE(refused) << "a key cannot be attached to a lease that is gone";
  EXPECT_EQ(refused.error().reason(), Reason::NotFound);
  EXPECT_TRUE(store_->leases().grant({}, 5, ttl())) << "the id is free again";
}

TEST_P(StorageConformance, ALeaseIdIsGivenOnce) {
  ASSERT_TRUE(store_->leases().grant({}, 5, ttl()));
  const auto taken = store_->leases().grant({}, 5, ttl());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().reason(), Reason::AlreadyExists);
  const auto one = store_->leases().grant({}, 0, ttl());
  const auto two = store_->leases().grant({}, 0, ttl());
  ASSERT_TRUE(one && two);
  EXPECT_NE(*one, *two);
}

TEST_P(StorageConformance, ADetachedOrMovedKeyOutlivesItsFirstLease) {
  ASSERT_TRUE(store_->leases().grant({}, 5, ttl()));
  ASSERT_TRUE(store_->leases().grant({}, 6, ttl(3)));
  const auto detached = put("/detached", "1", 0, 5);
  const auto moved = put("/moved", "1", 0, 5);
  put("/kept", "1", 0, 5);
  put("/detached", "2", detached, 0);
  put("/moved", "2", moved, 6);
  pass_tenths(11);
  EXPECT_TRUE(keys_left(2));
  EXPECT_EQ(keys(range({})), (std::vector<std::string>{"/detached", "/moved"}));
  pass_tenths(20);
  EXPECT_TRUE(keys_left(1));
  EXPECT_EQ(keys(range({})), (std::vector<std::string>{"/detached"}));
}

TEST_P(StorageConformance, AKeyTooLongIsRefusedAndOneAsLongAsPromisedIsNot) {
  const std::string longest(storage::kMaxKeyBytes, 'k');
  put(longest, "1");
  EXPECT_EQ(keys(range({})), (std::vector<std::string>{longest}));
  const auto refused = store_->put({}, std::string(100'000, 'k'), "1", 0, 0);
  if (!refused) {
    EXPECT_EQ(refused.error().reason(), Reason::RequestEntityTooLarge);
  }
}

TEST_P(StorageConformance, ARangeCountsBeyondItsLimit) {
  for (const char* key : {"/a", "/b", "/b/1", "/c"}) put(key, "1");
  const auto old = head();
  remove("/b", get("/b")->modified);
  const auto limited = range({.start = "/b", .limit = 1, .count = true});
  EXPECT_EQ(keys(limited), (std::vector<std::string>{"/b/1"}));
  EXPECT_TRUE(limited.more);
  EXPECT_EQ(limited.count, 2);
  EXPECT_EQ(range({.end = "/c", .keys_only = true, .count = true}).count, 2);
  const auto before = range({.start = "/b", .limit = 1, .at = old, .count = true});
  EXPECT_EQ(before.count, 3);
  EXPECT_TRUE(before.more);
  EXPECT_EQ(range({.start = "/x", .count = true}).count, 0);
}

TEST_P(StorageConformance, PagingGoesOverAllKeysWhateverTheLimit) {
  std::vector<std::string> expected;
  for (int i = 0; i < 60; ++i) {
    expected.push_back("/p/" + std::to_string(1000 + i));
    put(expected.back(), "1");
  }
  for (const std::size_t limit : {1U, 7U, 59U, 60U, 61U}) {
    std::vector<std::string> seen;
    storage::RangeOptions options{.start = "/p/", .end = "/p0", .limit = limit, .keys_only = limit % 2 == 0};
    for (;;) {
      const auto page = range(options);
      for (const auto& key : keys(page)) seen.push_back(key);
      if (!page.more) break;
      ASSERT_FALSE(page.items.empty());
      options.start = page.items.back().key + '\0';
      options.at = page.revision;
    }
    EXPECT_EQ(seen, expected) << limit;
  }
}

TEST_P(StorageDurability, WhatWasWrittenIsThereAfterOpeningAgain) {
  const auto a = put("/a", "1");
  const auto b = put("/b", "1");
  put("/a", "2", a);
  remove("/b", b);
  reopen();
  EXPECT_EQ(head(), 5);
  EXPECT_EQ(get("/a")->value, "2");
  EXPECT_EQ(get("/a")->version, 2);
  EXPECT_FALSE(get("/b"));
  EXPECT_EQ(get("/b", b)->value, "1");
  const auto events = watch("", "", 2);
  EXPECT_EQ(text(drain(*events)),
            (std::vector<std::string>{"put /a=1@2", "put /b=1@3", "put /a=2@4 was 1", "delete /b@5 was 1"}));
  EXPECT_EQ(put("/c", "1"), 6);
}

TEST_P(StorageDurability, ALargeValueIsThereAfterOpeningAgain) {
  const std::string large(1'500'000, '\xa5');
  const auto revision = put("/large", large);
  put("/large", "small", revision);
  reopen();
  EXPECT_TRUE(get("/large", revision)->value == large);
  EXPECT_EQ(get("/large")->value, "small");
}

TEST_P(StorageDurability, CompactionIsRememberedAfterOpeningAgain) {
  const auto a = put("/a", "1");
  const auto removed = remove("/a", a);
  compact(removed);
  reopen();
  EXPECT_EQ(head(), removed);
  const auto stats = store_->stats({});
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->compacted, removed);
  const auto old = store_->get({}, "/a", a);
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().reason(), Reason::Expired);
  const auto past = store_->watch({.from = a});
  if (past) {
    EXPECT_TRUE(wait_for([&] { return !(*past)->take(1); }));
  }
  EXPECT_EQ(put("/a", "2"), removed + 1);
}

TEST_P(StorageDurability, LeasesAreThereAfterOpeningAgainAndStillEnd) {
  ASSERT_TRUE(store_->leases().grant({}, 5, ttl()));
  put("/a", "1", 0, 5);
  pass_tenths(3);
  reopen();
  ASSERT_TRUE(get("/a"));
  EXPECT_EQ(get("/a")->lease, 5);
  EXPECT_EQ(*store_->leases().list({}), (std::vector<storage::LeaseId>{5}));
  pass_tenths(11);
  EXPECT_TRUE(keys_left(0));
  reopen();
  EXPECT_FALSE(store_->leases().renew({}, 5));
}

}  // namespace kubernel::testing
