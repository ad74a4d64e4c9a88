// SPDX-License-Identifier: Apache-2.0
//
// Conformance: transactions. Included by storage_conformance.h only.

#pragma once

#include <algorithm>

#include <kubernel/storage/batch_writer.h>
#include <kubernel/testing/storage_conformance.h>

namespace kubernel::testing {

namespace transactions {

using storage::Compare;
using storage::KeyRange;
using storage::Transaction;

inline storage::Operation put(std::string key, std::string value, storage::LeaseId lease = 0) {
  return {storage::PutOperation{.key = std::move(key), .value = std::move(value), .lease = lease}};
}
inline storage::Operation remove(KeyRange keys) {
  return {storage::RemoveOperation{.keys = std::move(keys), .want_previous = true}};
}
inline storage::Operation read(KeyRange keys) {
  return {storage::ReadOperation{{.start = std::move(keys.start), .end = std::move(keys.end)}}};
}
inline Compare number(Compare::Target target, Compare::Relation relation, KeyRange keys, std::int64_t number) {
  return {.target = target, .relation = relation, .keys = std::move(keys), .number = number, .value = {}};
}
inline Compare modified(std::string_view key, storage::Revision revision) {
  return number(Compare::Target::Modified, Compare::Relation::Equal, KeyRange::only(key), revision);
}
inline Compare value(Compare::Relation relation, KeyRange keys, std::string value) {
  return {.target = Compare::Target::Value,
          .relation = relation,
          .keys = std::move(keys),
          .number = 0,
          .value = std::move(value)};
}

/// Must succeed as a call; which branch was taken is in the result.
inline storage::TransactionResult run(storage::Backend& store, const Transaction& transaction) {
  auto result = store.transact({}, transaction);
  EXPECT_TRUE(result) << result.error().message();
  return result ? *std::move(result) : storage::TransactionResult{};
}

/// All at once where the store takes them so, else one after the other: the outcome is the same.
inline std::vector<Result<storage::TransactionResult>> run_each(storage::Backend& store,
                                                                const std::vector<Transaction>& batch) {
  if (auto* many = dynamic_cast<storage::BatchWriter*>(&store)) return many->transact_each({}, batch);
  std::vector<Result<storage::TransactionResult>> results;
  for (const Transaction& transaction : batch) results.push_back(store.transact({}, transaction));
  return results;
}

}  // namespace transactions

TEST_P(StorageConformance, ATransactionWritesAllUnderOneRevision) {
  using namespace transactions;
  const auto old = put("/b", "old");
  const auto done =
      run(*store_, {.compares = {modified("/a", 0), modified("/b", old)},
                    .then = {transactions::put("/a", "1"), transactions::put("/b", "2"), transactions::put("/c", "")},
                    .otherwise = {transactions::put("/lost", "1")}});
  EXPECT_TRUE(done.succeeded);
  EXPECT_EQ(done.revision, old + 1);
  EXPECT_EQ(done.outcomes.size(), 3U);
  EXPECT_EQ(head(), old + 1);
  const auto page = range({});
  ASSERT_EQ(keys(page), (std::vector<std::string>{"/a", "/b", "/c"}));
  for (const KeyValue& item : page.items) EXPECT_EQ(item.modified, old + 1) << item.key;
  EXPECT_EQ(page.items[0].created, old + 1);
  EXPECT_EQ(page.items[1].created, old);
  EXPECT_EQ(page.items[1].version, 2);
  EXPECT_EQ(put("/d", "1"), old + 2);
}

TEST_P(StorageConformance, ATransactionWhoseConditionsDoNotHoldDoesTheOther) {
  using namespace transactions;
  const auto a = put("/a", "1");
  const auto done = run(*store_, {.compares = {modified("/a", a), modified("/b", 7)},
                                  .then = {transactions::put("/lost", "1")},
                                  .otherwise = {read(KeyRange::only("/a")), transactions::put("/won", "1")}});
  EXPECT_FALSE(done.succeeded);
  EXPECT_EQ(done.revision, a + 1);
  ASSERT_EQ(done.outcomes.size(), 2U);
  const auto& page = std::get<storage::Page>(done.outcomes[0].of);
  ASSERT_EQ(page.items.size(), 1U);
  EXPECT_EQ(page.items[0].value, "1");
  EXPECT_EQ(keys(range({})), (std::vector<std::string>{"/a", "/won"}));
}

TEST_P(StorageConformance, ConditionsMeanWhatTheySay) {
  using namespace transactions;
  using T = Compare::Target;
  using R = Compare::Relation;
  ASSERT_TRUE(store_->leases().grant({}, 9, ttl(5)));
  put("/a", "m", put("/a", "x"), 9);  // Created 2, modified 3, version 2.
  put("/b", "z");                     // 4
  const auto a = KeyRange::only("/a");
  const auto none = KeyRange::only("/none");
  const KeyRange all{"/", "0"};
  const KeyRange empty{"/x", "/y"};
  const KeyRange to_end{"/a", ""};
  const std::vector<std::pair<Compare, bool>> rows = {
      {number(T::Version, R::Equal, a, 2), true},
      {number(T::Version, R::Greater, a, 2), false},
      {number(T::Version, R::Greater, a, 1), true},
      {number(T::Version, R::Less, a, 3), true},
      {number(T::Version, R::NotEqual, a, 2), false},
      {number(T::Created, R::Equal, a, 2), true},
      {number(T::Created, R::Equal, a, 3), false},
      {number(T::Modified, R::Equal, a, 3), true},
      {number(T::Modified, R::Less, a, 3), false},
      {number(T::Lease, R::Equal, a, 9), true},
      {number(T::Lease, R::NotEqual, a, 0), true},
      {value(R::Equal, a, "m"), true},
      {value(R::Greater, a, "l"), true},
      {value(R::Less, a, "mm"), true},
      {value(R::NotEqual, a, "m"), false},
      {number(T::Version, R::Equal, none, 0), true},
      {number(T::Created, R::Greater, none, 0), false},
      {number(T::Modified, R::Less, none, 1), true},
      {number(T::Lease, R::Equal, none, 0), true},
      {value(R::NotEqual, none, "m"), false},
      {value(R::Equal, none, ""), false},
      {number(T::Version, R::Greater, all, 0), true},
      {number(T::Version, R::Greater, all, 1), false},
      {number(T::Modified, R::Less, all, 5), true},
      {number(T::Modified, R::Less, to_end, 4), false},
      {value(R::Greater, all, "a"), true},
      {value(R::Greater, all, "n"), false},
      {number(T::Version, R::Equal, empty, 0), true},
      {number(T::Version, R::Equal, empty, 1), false},
      {value(R::NotEqual, empty, "a"), false},
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(run(*store_, {.compares = {rows[i].first}, .then = {}, .otherwise = {}}).succeeded, rows[i].second)
        << "row " << i;
  }
  EXPECT_EQ(head(), 4) << "conditions alone write nothing";
}

TEST_P(StorageConformance, OperationsAreDoneInOrderAndSeeEachOther) {
  using namespace transactions;
  for (const char* key : {"/a", "/b", "/c", "/d"}) put(key, "old");
  const KeyRange all{"/", "0"};
  const auto done =
      run(*store_,
          {.compares = {},
           .then = {read(all), transactions::put("/aa", "new"), read(all), transactions::remove({"/b", "/d"}),
                    read(all), transactions::remove({"/b", "/d"}),
                    storage::Operation{storage::PutOperation{.key = "/d", .value = "new", .want_previous = true}},
                    storage::Operation{storage::ReadOperation{{.start = "/", .end = "0", .limit = 2, .count = true}}},
                    storage::Operation{storage::ReadOperation{{.start = "/", .end = "0", .at = 3}}}},
           .otherwise = {}});
  ASSERT_EQ(done.outcomes.size(), 9U);
  const auto page = [&](std::size_t i) { return std::get<storage::Page>(done.outcomes[i].of); };
  EXPECT_EQ(keys(page(0)), (std::vector<std::string>{"/a", "/b", "/c", "/d"}));
  EXPECT_EQ(keys(page(2)), (std::vector<std::string>{"/a", "/aa", "/b", "/c", "/d"}));
  const auto& removed = std::get<storage::RemoveOutcome>(done.outcomes[3].of);
  EXPECT_EQ(removed.removed, 2);
  ASSERT_EQ(removed.previous.size(), 2U);
  EXPECT_EQ(removed.previous[0].key, "/b");
  EXPECT_EQ(removed.previous[1].value, "old");
  EXPECT_EQ(keys(page(4)), (std::vector<std::string>{"/a", "/aa", "/d"}));
  EXPECT_EQ(std::get<storage::RemoveOutcome>(done.outcomes[5].of).removed, 0);
  EXPECT_EQ(std::get<storage::PutOutcome>(done.outcomes[6].of).previous->value, "old");
  EXPECT_EQ(keys(page(7)), (std::vector<std::string>{"/a", "/aa"}));
  EXPECT_TRUE(page(7).more);
  EXPECT_EQ(page(7).count, 3);
  EXPECT_EQ(keys(page(8)), (std::vector<std::string>{"/a", "/b"}));
  EXPECT_EQ(keys(range({})), (std::vector<std::string>{"/a", "/aa", "/d"}));
}

TEST_P(StorageConformance, EventsOfOneRevisionAreDeliveredWholeAndInOrder) {
  using namespace transactions;
  const auto b = put("/b", "old");
  const auto live = watch("", "");
  const auto done = run(*store_, {.compares = {},
                                  .then = {transactions::put("/c", "1"), transactions::remove(KeyRange::only("/b")),
                                           transactions::put("/a", "1")},
                                  .otherwise = {}});
  const auto next = put("/z", "1");
  EXPECT_EQ(next, done.revision + 1);
  const std::vector<std::string> expected = {"put /c=1@3", "delete /b@3 was old", "put /a=1@3"};
  for (const Revision from : {Revision{0}, b, done.revision}) {
    SCOPED_TRACE(from);
    const auto past = from == 0 ? nullptr : watch("", "", from);
    storage::Watch& events = past ? *past : *live;
    std::vector<Event> seen;
    EXPECT_TRUE(wait_for([&] {
      for (;;) {
        auto batch = events.take(1);
        if (!batch || batch->events.empty()) return false;
        EXPECT_GE(batch->progress, batch->events.back().kv.modified);
        if (batch->events.front().kv.modified < done.revision) continue;
        seen = std::move(batch->events);
        return true;
      }
    }));
    if (seen.size() > 3) seen.resize(3);  // More revisions may come with it.
    EXPECT_EQ(text(seen), expected);
  }
  const auto after = watch("", "", next);
  EXPECT_EQ(text(drain(*after)), (std::vector<std::string>{"put /z=1@4"}));
}

TEST_P(StorageConformance, ATransactionThatChangesNothingHasNoRevision) {
  using namespace transactions;
  const auto a = put("/a", "1");
  const auto events = watch("", "");
  const auto done = run(*store_, {.compares = {modified("/a", a)},
                                  .then = {read(KeyRange::only("/a")), transactions::remove({"/x", "/y"})},
                                  .otherwise = {}});
  EXPECT_TRUE(done.succeeded);
  EXPECT_EQ(done.revision, a);
  EXPECT_EQ(head(), a);
  EXPECT_TRUE(drain(*events).empty());
}

TEST_P(StorageConformance, ATransactionThatFailsHasDoneNothing) {
  using namespace transactions;
  const auto a = put("/a", "1");
  const auto fails = [&](storage::Operation last, Reason reason) {
    const auto refused = store_->transact(
        {}, {.compares = {}, .then = {transactions::put("/new", "1"), std::move(last)}, .otherwise = {}});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason(), reason) << refused.error().message();
    EXPECT_EQ(head(), a);
    EXPECT_FALSE(get("/new"));
  };
  fails(transactions::put("/b", "1", 4711), Reason::NotFound);
  fails({storage::PutOperation{.key = "/missing", .value = "1", .keep_lease = true}}, Reason::NotFound);
  fails({storage::PutOperation{.key = "/missing", .keep_value = true}}, Reason::NotFound);
  fails(transactions::put("/new", "2"), Reason::BadRequest);
  fails(transactions::remove({"/n", "/o"}), Reason::BadRequest);
  fails({storage::ReadOperation{{.start = "/a", .at = a + 10}}}, Reason::BadRequest);
  put("/a", "2", a);
  const auto a3 = put("/a", "3", a + 1);
  compact(a3);
  const auto expired = store_->transact(
      {}, {.compares = {},
           .then = {transactions::put("/new", "1"), storage::Operation{storage::ReadOperation{{.at = a}}}}});
  ASSERT_FALSE(expired);
  EXPECT_EQ(expired.error().reason(), Reason::Expired);
  EXPECT_FALSE(get("/new"));
}

TEST_P(StorageConformance, APutCanKeepTheValueOrTheLease) {
  using namespace transactions;
  ASSERT_TRUE(store_->leases().grant({}, 9, ttl(5)));
  put("/a", "1", 0, 9);
  run(*store_, {.compares = {}, .then = {{storage::PutOperation{.key = "/a", .value = "2", .keep_lease = true}}}});
  EXPECT_EQ(get("/a")->value, "2");
  EXPECT_EQ(get("/a")->lease, 9);
  run(*store_, {.compares = {}, .then = {{storage::PutOperation{.key = "/a", .keep_value = true}}}});
  EXPECT_EQ(get("/a")->value, "2");
  EXPECT_EQ(get("/a")->lease, 0);
  EXPECT_EQ(get("/a")->version, 3);
}

TEST_P(StorageConformance, ANestedTransactionDecidesByWhatWasThereBefore) {
  using namespace transactions;
  put("/a", "1");
  const Transaction inner{.compares = {modified("/new", 0)},
                          .then = {transactions::put("/inner", "then")},
                          .otherwise = {transactions::put("/inner", "otherwise")}};
  const auto done = run(*store_, {.compares = {value(Compare::Relation::Equal, KeyRange::only("/a"), "1")},
                                  .then = {transactions::put("/new", "1"), storage::Operation{inner}},
                                  .otherwise = {}});
  ASSERT_EQ(done.outcomes.size(), 2U);
  const auto& nested = std::get<storage::TransactionResult>(done.outcomes[1].of);
  EXPECT_TRUE(nested.succeeded);
  EXPECT_EQ(nested.outcomes.size(), 1U);
  EXPECT_EQ(get("/inner")->value, "then");
  EXPECT_EQ(get("/inner")->modified, get("/new")->modified);
}

TEST_P(StorageConformance, HistoryOfATransactionIsKeptAndCompactedLikeAnyOther) {
  using namespace transactions;
  const auto both = [&](const std::string& text) {
    return run(*store_, {.compares = {}, .then = {transactions::put("/a", text), transactions::put("/b", text)}})
        .revision;
  };
  const auto first = both("1");
  const auto second = both("2");
  const auto gone = run(*store_, {.compares = {}, .then = {transactions::remove({"/", "0"})}}).revision;
  const auto third = both("3");
  for (const char* key : {"/a", "/b"}) {
    EXPECT_EQ(get(key, first)->value, "1");
    EXPECT_EQ(get(key, second)->value, "2");
    EXPECT_FALSE(get(key, gone));
    EXPECT_EQ(get(key, third)->version, 1);
  }
  EXPECT_EQ(keys(range({.at = second})), (std::vector<std::string>{"/a", "/b"}));
  compact(second);
  EXPECT_EQ(get("/b", second)->value, "2");
  compact(gone);
  EXPECT_FALSE(get("/b", gone));
  const auto events = watch("", "", gone);
  EXPECT_EQ(drain(*events).size(), 4U);
  compact(third);
  EXPECT_EQ(get("/b")->value, "3");
  EXPECT_EQ(count("", ""), 2);
}

TEST_P(StorageConformance, ManyKeysCanBeRemovedUnderOneRevision) {
  using namespace transactions;
  constexpr int kKeys = 1500;
  in_parallel(16, [&](int thread) {
    for (int i = thread; i < kKeys; i += 16) put("/m/" + std::to_string(i), "1");
  });
  const auto events = watch("", "");
  const auto done = run(*store_, {.compares = {}, .then = {transactions::remove({"/m/", "/m0"})}});
  EXPECT_EQ(std::get<storage::RemoveOutcome>(done.outcomes.at(0).of).removed, kKeys);
  EXPECT_EQ(count("", ""), 0);
  EXPECT_EQ(head(), kKeys + 2);
  const auto seen = drain(*events, 10);
  ASSERT_EQ(seen.size(), static_cast<std::size_t>(kKeys));
  for (const Event& event : seen) EXPECT_EQ(event.kv.modified, done.revision);
}

// Money moves between accounts under conditions on both; no snapshot may show a sum that is not the first one.
TEST_P(StorageConformance, TransactionsOnSeveralKeysAreSerializable) {
  using namespace transactions;
  constexpr int kAccounts = 5;
  constexpr int kThreads = 8;
  constexpr int kTransfers = 30;
  const auto account = [](int i) { return "/account/" + std::to_string(i); };
  for (int i = 0; i < kAccounts; ++i) put(account(i), "100");
  const auto sum = [](const storage::Page& page) {
    int total = 0;
    for (const KeyValue& item : page.items) total += std::stoi(item.value);
    return total;
  };
  std::atomic<int> wrong = 0;
  std::atomic<int> applied = 0;
  in_parallel(kThreads, [&](int thread) {
    SeededRandom random(static_cast<std::uint64_t>(thread));
    for (int moved = 0; moved < kTransfers;) {
      const auto page = store_->range({}, {.start = "/account/", .end = "/account0"});
      if (!page || page->items.size() != kAccounts || sum(*page) != 100 * kAccounts) {
        ++wrong;
        return;
      }
      const auto from = random.next() % kAccounts;
      const auto to = (from + 1 + random.next() % (kAccounts - 1)) % kAccounts;
      const auto& giver = page->items[from];
      const auto& taker = page->items[to];
      const auto done =
          store_->transact({}, {.compares = {modified(giver.key, giver.modified), modified(taker.key, taker.modified)},
                                .then = {transactions::put(giver.key, std::to_string(std::stoi(giver.value) - 1)),
                                         transactions::put(taker.key, std::to_string(std::stoi(taker.value) + 1))},
                                .otherwise = {}});
      if (!done) {
        ++wrong;
        return;
      }
      if (done->succeeded) {
        ++moved;
        ++applied;
      }
    }
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(applied, kThreads * kTransfers);
  EXPECT_EQ(head(), 1 + kAccounts + kThreads * kTransfers);
  EXPECT_EQ(sum(range({})), 100 * kAccounts);
}

TEST_P(StorageConformance, TransactionsThatComeTogetherAreEachAWriteOfItsOwn) {
  using namespace transactions;
  EXPECT_TRUE(run_each(*store_, {}).empty());
  const auto events = watch("", "");
  const auto done = run_each(*store_, {{.then = {transactions::put("/a", "1")}},
                                       {.compares = {modified("/a", 2)}, .then = {transactions::put("/b", "1")}},
                                       {.then = {transactions::put("/x", "1"), transactions::put("/x", "2")}},
                                       {.then = {transactions::put("/x", "1", 4711)}},
                                       {.then = {read({"/", "0"})}},
                                       {.compares = {modified("/a", 7)}, .then = {transactions::put("/x", "1")}},
                                       {.then = {transactions::remove(KeyRange::only("/a"))}}});
  ASSERT_EQ(done.size(), 7U);
  for (const std::size_t fine : {0U, 1U, 4U, 5U, 6U}) ASSERT_TRUE(done[fine]) << done[fine].error().message();
  EXPECT_EQ(done[0]->revision, 2);
  EXPECT_EQ(done[1]->revision, 3);
  EXPECT_TRUE(done[1]->succeeded) << "it sees what the one before it did";
  ASSERT_FALSE(done[2]);
  EXPECT_EQ(done[2].error().reason(), Reason::BadRequest);
  ASSERT_FALSE(done[3]);
  EXPECT_EQ(done[3].error().reason(), Reason::NotFound);
  EXPECT_EQ(keys(std::get<storage::Page>(done[4]->outcomes.at(0).of)), (std::vector<std::string>{"/a", "/b"}));
  EXPECT_EQ(done[4]->revision, 3);
  EXPECT_FALSE(done[5]->succeeded);
  EXPECT_EQ(done[6]->revision, 4);
  EXPECT_EQ(head(), 4);
  EXPECT_EQ(text(drain(*events)), (std::vector<std::string>{"put /a=1@2", "put /b=1@3", "delete /a@4 was 1"}));
}

TEST_P(StorageConformance, BatchesOfManyWritersLoseAndDoubleNothing) {
  using namespace transactions;
  constexpr int kThreads = 8;
  constexpr int kEach = 40;
  std::atomic<int> wrong = 0;
  std::vector<std::vector<Revision>> revisions(kThreads);
  in_parallel(kThreads, [&](int thread) {
    // Of different sizes, some larger than what one commit of the store may take.
    for (int from = 0, size = 1 + thread; from < kEach; from += size) {
      std::vector<Transaction> batch;
      for (int i = from; i < std::min(from + size, kEach); ++i) {
        batch.push_back({.then = {transactions::put("/" + std::to_string(thread) + "/" + std::to_string(i), "v")}});
      }
      for (const auto& result : run_each(*store_, batch)) {
        if (result) revisions[static_cast<std::size_t>(thread)].push_back(result->revision);
        if (!result) ++wrong;
      }
      const auto alone = store_->put({}, "/alone/" + std::to_string(thread) + "/" + std::to_string(from), "v", 0, 0);
      if (!alone || !alone->applied) ++wrong;
    }
  });
  EXPECT_EQ(wrong, 0);
  std::vector<Revision> all;
  for (const auto& mine : revisions) {
    EXPECT_EQ(mine.size(), static_cast<std::size_t>(kEach));
    EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end())) << "a batch is done in order";
    all.insert(all.end(), mine.begin(), mine.end());
  }
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
  EXPECT_EQ(count("/0/", "/8"), kThreads * kEach);
  EXPECT_EQ(head(), count("", "") + 1);
}

TEST_P(StorageDurability, ATransactionIsThereWholeAfterOpeningAgain) {
  using namespace transactions;
  const auto first =
      run(*store_, {.compares = {}, .then = {transactions::put("/a", "1"), transactions::put("/b", "1")}}).revision;
  run(*store_, {.compares = {}, .then = {transactions::remove(KeyRange::only("/a")), transactions::put("/b", "2")}});
  reopen();
  EXPECT_EQ(head(), first + 1);
  EXPECT_FALSE(get("/a"));
  EXPECT_EQ(get("/b")->value, "2");
  EXPECT_EQ(get("/a", first)->value, "1");
  const auto events = watch("", "", first);
  EXPECT_EQ(text(drain(*events)),
            (std::vector<std::string>{"put /a=1@2", "put /b=1@2", "delete /a@3 was 1", "put /b=2@3 was 1"}));
  EXPECT_EQ(put("/c", "1"), first + 2);
}

}  // namespace kubernel::testing
