// SPDX-License-Identifier: Apache-2.0
//
// Histories with transactions on several keys and with leases: right ones, and each way to be wrong.

#include "history_fixture.h"

namespace kubernel::testing {
namespace {

using storage::Compare;
using storage::KeyRange;
using storage::LeaseId;
using storage::Transaction;
using storage::TransactionResult;
using Operations = std::vector<storage::Operation>;
using Outcomes = std::vector<storage::Outcome>;

Compare at(const std::string& key, Revision revision) {
  return {.target = Compare::Target::Modified, .keys = KeyRange::only(key), .number = revision, .value = {}};
}

storage::Operation put_of(const std::string& key, const std::string& value, LeaseId lease = 0) {
  return {storage::PutOperation{.key = key, .value = value, .lease = lease}};
}

storage::Operation remove_all() {
  return {storage::RemoveOperation{.keys = {"/", "0"}, .want_previous = true}};
}

storage::Operation read_all(Revision at = 0) {
  return {storage::ReadOperation{{.start = "/", .end = "0", .at = at}}};
}

storage::Outcome was_put() {
  return {storage::PutOutcome{}};
}

storage::Outcome was_read(std::vector<KeyValue> items) {
  return {storage::Page{.items = std::move(items)}};
}

storage::Outcome was_removed(std::vector<KeyValue> previous) {
  const auto removed = static_cast<std::int64_t>(previous.size());
  return {storage::RemoveOutcome{.removed = removed, .previous = std::move(previous)}};
}

KeyValue with_lease(KeyValue kv, LeaseId lease) {
  kv.lease = lease;
  return kv;
}

// A moment is a second.
Clock::TimePoint second(Moment moment) {
  return Clock::TimePoint{} + std::chrono::seconds(moment);
}

class TransactionHistory : public HistoryChecker {
 protected:
  Operation& timed(Operation& operation) {
    operation.called_at = second(operation.called);
    if (operation.returned != kNever) operation.returned_at = second(operation.returned);
    return operation;
  }

  Operation& transact(Moment called, Moment returned, Transaction transaction, TransactionResult result = {}) {
    Operation& operation = timed(add(Kind::Transact, "", called, returned));
    operation.transaction = std::move(transaction);
    operation.revision = result.revision;
    operation.applied = false;
    for (const storage::Outcome& outcome : result.outcomes) {
      const auto* removed = std::get_if<storage::RemoveOutcome>(&outcome.of);
      const bool put = std::holds_alternative<storage::PutOutcome>(outcome.of);
      operation.applied = operation.applied || put || (removed != nullptr && removed->removed > 0);
    }
    operation.result = std::move(result);
    return operation;
  }

  // Both keys get the same value, if /a is at `expected`.
  void both(Moment called, Moment returned, const std::string& value, Revision expected, Revision revision) {
    transact(called, returned,
             {.compares = {at("/a", expected)}, .then = {put_of("/a", value), put_of("/b", value)}, .otherwise = {}},
             {.succeeded = true, .revision = revision, .outcomes = {was_put(), was_put()}});
  }

  Operation& lease_call(Kind kind, Moment called, Moment returned, LeaseId id, int ttl = 0) {
    Operation& operation = timed(add(kind, "", called, returned));
    operation.lease = id;
    operation.ttl = std::chrono::seconds(ttl);
    return operation;
  }

  void leased(Moment called, Moment returned, const std::string& key, Revision revision, LeaseId lease) {
    put(called, returned, key, "1", 0, revision);
    timed(history_.operations.back()).lease = lease;
  }

  void timed_get(Moment called, Moment returned, const std::string& key, std::optional<KeyValue> found) {
    get(called, returned, key, std::move(found));
    timed(history_.operations.back());
  }

  // Empty: that check does not see it.
  void expect_wrong(const std::string& linearizable, const std::string& revisions) {
    EXPECT_THAT(linearizability_violation(history_), HasSubstr(linearizable));
    EXPECT_THAT(revision_violation(history_), HasSubstr(revisions));
  }

  const KeyValue b1_ = kv("/b", "1", 2);
  // Of two keys that were put by turns.
  const KeyValue a2_ = kv("/a", "2", 3, 2, 2);
  const KeyValue b2_after_ = kv("/b", "2", 3, 2, 2);
};

TEST_F(TransactionHistory, OneAfterAnotherIsRight) {
  both(1, 2, "1", 0, 2);
  transact(3, 4, {.compares = {at("/a", 0)}, .then = {remove_all()}, .otherwise = {read_all()}},
           {.succeeded = false, .revision = 2, .outcomes = {was_read({a1_, b1_})}});
  both(5, 6, "2", 2, 3);
  transact(7, 8, {.compares = {}, .then = {remove_all(), read_all(), read_all(2)}, .otherwise = {}},
           {.succeeded = true,
            .revision = 4,
            .outcomes = {was_removed({a2_, b2_after_}), was_read({}), was_read({a1_, b1_})}});
  range(9, 10, 4, {});
  watch(2, {{{put_event(b1_), put_event(a1_)}, 2}, {{put_event(a2_, a1_), put_event(b2_after_, b1_)}, 3}});
  expect_right();
}

TEST_F(TransactionHistory, ReadsDuringATransactionSeeAllOrNothing) {
  both(1, 10, "1", 0, 2);
  range(2, 3, 1, {});
  range(4, 5, 2, {a1_, b1_});
  expect_right();
}

TEST_F(TransactionHistory, ATornTransactionIsRefused) {
  both(1, 10, "1", 0, 2);
  range(2, 3, 2, {a1_});
  expect_wrong("keys \"/a\", \"/b\" are not linearizable", "it was /b=\"1\"");
}

TEST_F(TransactionHistory, TwoGetsOfOneTransactionInTheWrongOrderAreRefused) {
  both(1, 10, "1", 0, 2);
  get(2, 3, "/b", b1_);
  get(4, 5, "/a", std::nullopt);
  expect_wrong("client 2: get /a: found nothing", "");
}

TEST_F(TransactionHistory, ATransactionThatReadHalfOfAnotherIsRefused) {
  both(1, 10, "1", 0, 2);
  transact(2, 9, {.compares = {}, .then = {read_all(), put_of("/c", "1")}, .otherwise = {}},
           {.succeeded = true, .revision = 3, .outcomes = {was_read({a1_}), was_put()}});
  expect_wrong("not linearizable", "its operation 0 told something else");
}

// Each looked at what the other wrote: one order of the two does not exist.
TEST_F(TransactionHistory, WriteSkewIsRefused) {
  transact(1, 10, {.compares = {at("/b", 0)}, .then = {put_of("/a", "1")}, .otherwise = {}},
           {.succeeded = true, .revision = 2, .outcomes = {was_put()}});
  transact(2, 9, {.compares = {at("/a", 0)}, .then = {put_of("/b", "1")}, .otherwise = {}},
           {.succeeded = true, .revision = 3, .outcomes = {was_put()}});
  expect_wrong("not linearizable", "its conditions did not hold");
}

TEST_F(TransactionHistory, AConditionThatHeldAndWasSaidNotToIsRefused) {
  both(1, 2, "1", 0, 2);
  transact(3, 4, {.compares = {at("/a", 2)}, .then = {}, .otherwise = {read_all()}},
           {.succeeded = false, .revision = 2, .outcomes = {was_read({a1_, b1_})}});
  expect_wrong("not linearizable", "its conditions held");
}

TEST_F(TransactionHistory, ALostUpdateBetweenTransactionsIsRefused) {
  both(1, 2, "1", 0, 2);
  both(3, 8, "2", 2, 3);
  both(4, 9, "3", 2, 4);
  expect_wrong("not linearizable", "its conditions did not hold");
}

TEST_F(TransactionHistory, AStaleSnapshotIsRefused) {
  both(1, 2, "1", 0, 2);
  both(3, 4, "2", 2, 3);
  range(5, 6, 2, {a1_, b1_});
  expect_wrong("not linearizable", "the write at 3 had returned before");
  history_.operations.pop_back();
  transact(5, 6, {.compares = {}, .then = {read_all()}, .otherwise = {}},
           {.succeeded = true, .revision = 2, .outcomes = {was_read({a1_, b1_})}});
  expect_wrong("not linearizable", "the write at 3 had returned before");
}

TEST_F(TransactionHistory, ASnapshotOfTwoMomentsIsRefused) {
  both(1, 20, "1", 0, 2);
  both(2, 21, "2", 2, 3);
  range(3, 4, 3, {a1_, b2_after_});
  expect_wrong("not linearizable", "item 0");
}

TEST_F(TransactionHistory, AnOldRevisionReadInsideATransactionIsExact) {
  both(1, 2, "1", 0, 2);
  transact(3, 4, {.compares = {}, .then = {read_all(2), put_of("/c", "1")}, .otherwise = {}},
           {.succeeded = true, .revision = 3, .outcomes = {was_read({a1_}), was_put()}});
  expect_wrong("", "its operation 0 told something else");
}

TEST_F(TransactionHistory, AWrongCountOfRemovedKeysIsRefused) {
  both(1, 2, "1", 0, 2);
  transact(3, 4, {.compares = {}, .then = {remove_all()}, .otherwise = {}},
           {.succeeded = true, .revision = 3, .outcomes = {was_removed({a1_})}});
  expect_wrong("not linearizable", "its operation 0 told something else");
}

TEST_F(TransactionHistory, ARevisionForNothingIsRefused) {
  put(1, 2, "/a", "1", 0, 2);
  transact(3, 4, {.compares = {}, .then = {read_all()}, .otherwise = {}},
           {.succeeded = true, .revision = 3, .outcomes = {was_read({a1_})}});
  put(5, 6, "/b", "2", 0, 4);
  expect_wrong("", "revision 3 was given to nobody");
}

TEST_F(TransactionHistory, AnUnknownTransactionMayHaveHappenedWholeOrNot) {
  transact(1, kNever, {.compares = {}, .then = {put_of("/a", "1"), put_of("/b", "1")}, .otherwise = {}});
  transact(2, kNever, {.compares = {at("/a", 0)}, .then = {put_of("/z", "1")}, .otherwise = {put_of("/y", "1")}});
  range(3, 4, 1, {});
  range(5, 6, 2, {a1_, b1_});
  expect_right();
  range(7, 8, 3, {a1_, b1_, kv("/y", "1", 3)});
  expect_right();
}

TEST_F(TransactionHistory, HalfOfAnUnknownTransactionIsRefused) {
  transact(1, kNever, {.compares = {}, .then = {put_of("/a", "1"), put_of("/b", "1")}, .otherwise = {}});
  range(5, 6, 2, {a1_});
  expect_wrong("not linearizable", "it was /b=\"1\"");
}

TEST_F(TransactionHistory, NestedTransactionsAreDecidedByWhatWasThereBefore) {
  const Transaction inner{.compares = {at("/a", 0)}, .then = {put_of("/b", "1")}, .otherwise = {put_of("/c", "1")}};
  const auto result = [](bool inside) {
    TransactionResult nested{.succeeded = inside, .revision = 2, .outcomes = {was_put()}};
    return TransactionResult{.succeeded = true, .revision = 2, .outcomes = {was_put(), {std::move(nested)}}};
  };
  const Transaction outer{.compares = {}, .then = {put_of("/a", "1"), {inner}}, .otherwise = {}};
  transact(1, 2, outer, result(true));
  range(3, 4, 2, {a1_, b1_});
  expect_right();
  history_.operations.clear();
  transact(1, 2, outer, result(false));
  expect_wrong("not linearizable", "its conditions held");
}

TEST_F(TransactionHistory, ATornRevisionInAWatchIsRefused) {
  both(1, 2, "1", 0, 2);
  watch(2, {{{put_event(a1_)}, 0}, {{put_event(b1_)}, 2}});
  EXPECT_THAT(watch_violation(history_), HasSubstr("revision 2 was torn, /b is not with put /a"));
  history_.watches.clear();
  watch(2, {{{put_event(a1_)}, 2}});
  EXPECT_THAT(watch_violation(history_), HasSubstr("revision 2 was torn"));
}

TEST_F(TransactionHistory, KeysThatNothingJoinsAreJudgedApart) {
  // All at once, on fifty pairs of keys: together they could not be tried.
  for (int i = 0; i < 50; ++i) {
    const std::string name = "/" + std::to_string(i);
    transact(1 + static_cast<Moment>(i), 1000 + static_cast<Moment>(i),
             {.compares = {}, .then = {put_of(name + "a", "1"), put_of(name + "b", "1")}, .otherwise = {}},
             {.succeeded = true, .revision = i + 2, .outcomes = {was_put(), was_put()}});
  }
  EXPECT_EQ(violation(history_), "");
  get(2000, 2001, "/49b", std::nullopt);
  expect_wrong("keys \"/49a\", \"/49b\" are not linearizable", "there was something else");
}

// --- leases ---

// Lease 7 of ten seconds is granted at 1, and holds /a and /b from revisions 2 and 3 on.
class LeaseHistory : public TransactionHistory {
 protected:
  void SetUp() override {
    lease_call(Kind::Grant, 1, 2, 7, 10);
    leased(3, 4, "/a", 2, 7);
    leased(5, 6, "/b", 3, 7);
  }

  void ends_at(Revision revision) {
    watch(2, {{{put_event(la_)}, 2},
              {{put_event(lb_)}, 3},
              {{delete_event("/a", revision, la_), delete_event("/b", revision, lb_)}, revision}});
  }

  const KeyValue la_ = with_lease(kv("/a", "1", 2), 7);
  const KeyValue lb_ = with_lease(kv("/b", "1", 3), 7);
};

TEST_F(LeaseHistory, AnExpiredLeaseTakesItsKeys) {
  timed_get(7, 10, "/a", la_);
  timed_get(12, 13, "/a", std::nullopt);
  timed_get(14, 15, "/b", std::nullopt);
  ends_at(4);
  expect_right();
}

TEST_F(LeaseHistory, AnExpiryMayComeLate) {
  timed_get(50, 51, "/a", la_);
  timed_get(52, 53, "/b", std::nullopt);
  ends_at(4);
  expect_right();
}

TEST_F(LeaseHistory, ALeaseThatEndsTooEarlyIsRefused) {
  timed_get(7, 10, "/a", std::nullopt);
  ends_at(4);
  expect_wrong("client 3: get /a: found nothing", "there was something else");
}

TEST_F(LeaseHistory, AKeyThatOutlivesItsLeaseIsRefused) {
  timed_get(12, 13, "/a", std::nullopt);
  timed_get(14, 15, "/b", lb_);
  ends_at(4);
  expect_wrong("client 4: get /b: found /b=", "");
}

TEST_F(LeaseHistory, ALeaseThatEndsPieceByPieceIsRefused) {
  watch(2, {{{put_event(la_)}, 2},
            {{put_event(lb_)}, 3},
            {{delete_event("/a", 4, la_)}, 4},
            {{delete_event("/b", 5, lb_)}, 5}});
  timed_get(20, 21, "/b", std::nullopt);
  expect_wrong("", "/b was deleted, but nobody did, and it had no lease");
}

TEST_F(LeaseHistory, ARenewedLeaseLivesOn) {
  lease_call(Kind::Renew, 8, 9, 7, 10);
  timed_get(12, 13, "/a", la_);
  timed_get(19, 20, "/a", std::nullopt);
  ends_at(4);
  expect_right();
}

TEST_F(LeaseHistory, ALeaseThatEndsThoughItWasRenewedIsRefused) {
  lease_call(Kind::Renew, 8, 9, 7, 10);
  timed_get(12, 13, "/a", std::nullopt);
  ends_at(4);
  expect_wrong("client 4: get /a: found nothing", "");
}

TEST_F(LeaseHistory, ARevokedLeaseTakesItsKeysAtOnce) {
  lease_call(Kind::Revoke, 7, 8, 7);
  timed_get(9, 10, "/a", std::nullopt);
  lease_call(Kind::Renew, 11, 12, 7).outcome = Outcome::Refused;
  history_.operations.back().by_lease = true;
  ends_at(4);
  expect_right();
}

TEST_F(LeaseHistory, AKeyThatOutlivesARevokedLeaseIsRefused) {
  lease_call(Kind::Revoke, 7, 8, 7);
  timed_get(9, 10, "/a", la_);
  ends_at(4);
  expect_wrong("client 4: get /a: found /a=", "there was something else");
}

TEST_F(LeaseHistory, ALeaseThatEndsBeforeItIsRevokedIsRefused) {
  timed_get(7, 8, "/a", std::nullopt);
  lease_call(Kind::Revoke, 9, 10, 7);
  ends_at(4);
  expect_wrong("not linearizable", "there was something else");
}

TEST_F(LeaseHistory, AKeyPutOnALeaseThatHasEndedIsRefused) {
  lease_call(Kind::Revoke, 7, 8, 7);
  ends_at(4);
  leased(9, 10, "/c", 5, 7);
  expect_wrong("client 4: put /c", "");
  history_.operations.pop_back();
  transact(9, 10, {.compares = {}, .then = {put_of("/c", "1", 7)}, .otherwise = {}},
           {.succeeded = true, .revision = 5, .outcomes = {was_put()}});
  expect_wrong("not linearizable", "");
}

TEST_F(LeaseHistory, ALeaseSaidToBeGoneThatIsThereIsRefused) {
  put(7, 8, "/c", "1", 0, 0);
  Operation& refused = timed(history_.operations.back());
  refused.lease = 7;
  refused.outcome = Outcome::Refused;
  refused.by_lease = true;
  refused.applied = false;
  expect_wrong("client 3: put /c", "");
}

TEST_F(LeaseHistory, AnIdGivenTwiceIsRefused) {
  lease_call(Kind::Grant, 7, 8, 7, 10);
  expect_wrong("client 3: grant lease 7", "");
}

TEST_F(LeaseHistory, AKeyThatChangedItsLeaseStays) {
  put(7, 8, "/a", "2", 2, 4);
  timed(history_.operations.back());
  timed_get(20, 21, "/b", std::nullopt);
  timed_get(22, 23, "/a", kv("/a", "2", 4, 2, 2));
  const KeyValue free = kv("/a", "2", 4, 2, 2);
  watch(2, {{{put_event(la_), put_event(lb_), put_event(free, la_), delete_event("/b", 5, lb_)}, 5}});
  expect_right();
  watch(2, {{{put_event(la_), put_event(lb_), put_event(free, la_), delete_event("/a", 5, free)}, 5}});
  EXPECT_NE(violation(history_), "");
}

TEST_F(LeaseHistory, ALeaseWithAnUnknownGrantMayBeThere) {
  lease_call(Kind::Grant, 7, kNever, 8, 5);
  leased(9, 10, "/c", 4, 8);
  timed_get(11, 12, "/c", with_lease(kv("/c", "1", 4), 8));
  EXPECT_EQ(linearizability_violation(history_), "");
  timed_get(11, 12, "/c", std::nullopt);
  EXPECT_EQ(linearizability_violation(history_), "") << "it may have ended at 12";
}

}  // namespace
}  // namespace kubernel::testing
