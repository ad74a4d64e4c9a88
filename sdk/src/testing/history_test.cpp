// SPDX-License-Identifier: Apache-2.0
//
// Histories that are right, and each way to be wrong: a checker that accepts everything would be worth nothing.

#include "history_fixture.h"

namespace kubernel::testing {
namespace {

TEST_F(HistoryChecker, NothingIsRight) {
  expect_right();
}

TEST_F(HistoryChecker, OneClientAfterAnotherIsRight) {
  put(1, 2, "/a", "1", 0, 2);
  get(3, 4, "/a", a1_);
  put(5, 6, "/a", "2", 2, 3);
  lost(7, 8, "/a", 2, 3, kv("/a", "2", 3, 2, 2));
  remove(9, 10, "/a", 3, 4, kv("/a", "2", 3, 2, 2));
  get(11, 12, "/a", std::nullopt);
  get(13, 14, "/a", a1_, 2);
  range(15, 16, 4, {});
  expect_right();
}

TEST_F(HistoryChecker, AReadDuringAWriteMaySeeEither) {
  put(1, 10, "/a", "1", 0, 2);
  get(2, 3, "/a", std::nullopt);
  get(4, 5, "/a", a1_);
  expect_right();
}

TEST_F(HistoryChecker, AReadThatGoesBackInTimeIsRefused) {
  put(1, 10, "/a", "1", 0, 2);
  get(2, 3, "/a", a1_);
  get(4, 5, "/a", std::nullopt);
  EXPECT_THAT(linearizability_violation(history_),
              AllOf(HasSubstr("key \"/a\" are not linearizable"), HasSubstr("client 2: get /a: found nothing [4, 5]")));
}

TEST_F(HistoryChecker, AStaleReadIsRefused) {
  put(1, 2, "/a", "1", 0, 2);
  put(3, 4, "/a", "2", 2, 3);
  get(5, 6, "/a", a1_);
  EXPECT_THAT(linearizability_violation(history_), HasSubstr("client 2: get /a: found /a=\"1\"@2 [5, 6]"));
  EXPECT_THAT(revision_violation(history_), HasSubstr("there was something else"));
}

TEST_F(HistoryChecker, ALostUpdateIsRefused) {
  put(1, 2, "/a", "1", 0, 2);
  put(3, 8, "/a", "2", 2, 3);
  put(4, 9, "/a", "3", 2, 4);  // Compared with a revision that was gone.
  EXPECT_THAT(linearizability_violation(history_), HasSubstr("not linearizable"));
  EXPECT_THAT(revision_violation(history_), AllOf(HasSubstr("although the key was at 3"), HasSubstr("client 2")));
}

TEST_F(HistoryChecker, TwoCreationsOfOneKeyAreRefused) {
  put(1, 8, "/a", "1", 0, 2);
  put(2, 9, "/a", "2", 0, 3);
  EXPECT_THAT(linearizability_violation(history_), HasSubstr("not linearizable"));
  EXPECT_THAT(revision_violation(history_), HasSubstr("although the key was at 2"));
}

TEST_F(HistoryChecker, LosingToNobodyIsRefused) {
  put(1, 2, "/a", "1", 0, 2);
  lost(3, 4, "/a", 2, 2, a1_);
  EXPECT_THAT(linearizability_violation(history_), HasSubstr("lost to"));
  EXPECT_THAT(revision_violation(history_), HasSubstr("nobody had changed the key"));
}

TEST_F(HistoryChecker, AWrongWinnerIsRefused) {
  put(1, 2, "/a", "1", 0, 2);
  put(3, 4, "/a", "2", 2, 3);
  lost(5, 6, "/a", 0, 3, a1_);
  EXPECT_THAT(linearizability_violation(history_), HasSubstr("not linearizable"));
  EXPECT_THAT(revision_violation(history_), HasSubstr("should have been told that /a=\"2\""));
}

TEST_F(HistoryChecker, AWriteWithAnUnknownOutcomeMayHaveHappenedOrNot) {
  put(1, kNever, "/a", "1", 0, 0);
  get(3, 4, "/a", std::nullopt);
  get(5, 6, "/a", a1_);  // Only then: it may take effect at any time.
  put(7, kNever, "/b", "2", 0, 0);
  get(8, 9, "/b", std::nullopt);
  expect_right();
}

TEST_F(HistoryChecker, AWriteWithAnUnknownOutcomeDoesNotHappenTwiceOrUndoItself) {
  put(1, kNever, "/a", "1", 0, 0);
  get(3, 4, "/a", a1_);
  get(5, 6, "/a", std::nullopt);
  EXPECT_THAT(linearizability_violation(history_), HasSubstr("client 2: get /a: found nothing"));
}

TEST_F(HistoryChecker, AnUnknownRemoveNobodySawIsFound) {
  put(1, 2, "/a", "1", 0, 2);
  remove(3, kNever, "/a", 2, 0, std::nullopt);
  put(5, 6, "/a", "2", 0, 4);
  get(7, 8, "/a", kv("/a", "2", 4));
  expect_right();
}

TEST_F(HistoryChecker, WritesNobodySawAreFoundFromWhatCameOfThem) {
  put(1, 2, "/a", "1", 0, 2);
  put(3, kNever, "/a", "2", 2, 0);  // At 3, removed at 4, and there again at 5.
  remove(4, kNever, "/a", 3, 0, std::nullopt);
  put(5, kNever, "/a", "3", 0, 0);
  put(6, 7, "/a", "4", 5, 6);
  expect_right();
  put(10, 11, "/a", "5", 4, 7);
  EXPECT_THAT(revision_violation(history_), HasSubstr("although the key was at 6"));
}

TEST_F(HistoryChecker, ARefusedWriteThatIsSeenIsRefused) {
  put(1, 2, "/a", "1", 0, 0);
  history_.operations[0].outcome = Outcome::Refused;
  get(3, 4, "/a", a1_);
  EXPECT_THAT(linearizability_violation(history_), HasSubstr("client 1: get /a"));
  EXPECT_THAT(revision_violation(history_), HasSubstr("nobody wrote it"));
}

TEST_F(HistoryChecker, ARevisionGivenTwiceIsRefused) {
  put(1, 2, "/a", "1", 0, 2);
  put(3, 4, "/b", "1", 0, 2);
  EXPECT_THAT(revision_violation(history_), HasSubstr("revision 2 was given twice"));
}

TEST_F(HistoryChecker, ARevisionGivenToNobodyIsRefused) {
  put(1, 2, "/a", "1", 0, 2);
  put(3, 4, "/b", "1", 0, 4);
  EXPECT_THAT(revision_violation(history_), HasSubstr("revision 3 was given to nobody"));
}

TEST_F(HistoryChecker, ARevisionFromBeforeTheHistoryIsRefused) {
  history_.start = 10;
  put(1, 2, "/a", "1", 0, 10);
  EXPECT_THAT(revision_violation(history_), HasSubstr("revision 10 was given again"));
}

TEST_F(HistoryChecker, RevisionsAgainstRealTimeAreRefused) {
  put(1, 2, "/a", "1", 0, 3);
  put(3, 4, "/b", "1", 0, 2);
  EXPECT_THAT(revision_violation(history_), HasSubstr("revision 2 was given after revision 3"));
}

TEST_F(HistoryChecker, ATornSnapshotIsRefused) {
  put(1, 2, "/a", "1", 0, 2);
  put(3, 4, "/b", "2", 0, 3);
  range(5, 6, 3, {b2_});
  EXPECT_THAT(revision_violation(history_), AllOf(HasSubstr("item 0"), HasSubstr("at revision 3"), HasSubstr("/a=")));
}

TEST_F(HistoryChecker, ASnapshotThatIsTooOldIsRefused) {
  put(1, 2, "/a", "1", 0, 2);
  put(3, 4, "/b", "2", 0, 3);
  range(5, 6, 2, {a1_});
  EXPECT_THAT(revision_violation(history_), HasSubstr("the write at 3 had returned before"));
}

TEST_F(HistoryChecker, ASnapshotFromTheFutureIsRefused) {
  range(1, 2, 2, {a1_});
  put(3, 4, "/a", "1", 0, 2);
  EXPECT_THAT(revision_violation(history_), HasSubstr("not written yet"));
}

TEST_F(HistoryChecker, SnapshotsThatGoBackAreRefused) {
  put(1, 20, "/a", "1", 0, 2);
  range(2, 3, 2, {a1_});
  range(4, 5, 1, {});
  EXPECT_THAT(revision_violation(history_), HasSubstr("at revision 2 before, and at 1 after"));
}

TEST_F(HistoryChecker, AnOldSnapshotAskedForIsRightAndAnOtherMomentIsNot) {
  put(1, 2, "/a", "1", 0, 2);
  put(3, 4, "/b", "2", 0, 3);
  range(5, 6, 2, {a1_}, 2);
  expect_right();
  range(7, 8, 3, {a1_, b2_}, 2);
  EXPECT_THAT(revision_violation(history_), HasSubstr("asked for another revision"));
}

TEST_F(HistoryChecker, AWrongVersionOrCreationIsRefused) {
  put(1, 2, "/a", "1", 0, 2);
  put(3, 4, "/a", "2", 2, 3);
  get(5, 6, "/a", kv("/a", "2", 3, 3, 1));
  EXPECT_THAT(revision_violation(history_),
              HasSubstr("something else, last /a=\"2\" (created 2, modified 3, version 2"));
}

TEST_F(HistoryChecker, AWrongMoreIsRefused) {
  put(1, 2, "/a", "1", 0, 2);
  range(3, 4, 2, {a1_});
  history_.operations.back().more = true;
  EXPECT_THAT(revision_violation(history_), HasSubstr("says there is more"));
}

TEST_F(HistoryChecker, AWatchThatTellsEverythingOnceIsRight) {
  three_writes();
  watch(2, {{{put_event(a1_), put_event(b2_)}, 3}, {{}, 3}, {{delete_event("/a", 4, a1_)}, 4}});
  watch(3, {{{put_event(b2_), delete_event("/a", 4, std::nullopt)}, 4}});
  WatchRecord& now = watch(0, {{{put_event(b2_), delete_event("/a", 4, a1_)}, 4}});
  now.must_follow = 2;
  expect_right();
}

TEST_F(HistoryChecker, AWatchWithAGapIsRefused) {
  three_writes();
  watch(2, {{{put_event(a1_), delete_event("/a", 4, a1_)}, 4}});
  EXPECT_THAT(watch_violation(history_), AllOf(HasSubstr("/b was never told"), HasSubstr("put /b=\"2\"")));
}

TEST_F(HistoryChecker, AWatchThatHasNotGotThereYetIsRight) {
  three_writes();
  watch(2, {{{put_event(a1_)}, 2}});
  expect_right();
}

TEST_F(HistoryChecker, ADuplicateEventIsRefused) {
  three_writes();
  watch(2, {{{put_event(a1_), put_event(a1_)}, 2}});
  EXPECT_THAT(watch_violation(history_), HasSubstr("told again"));
}

TEST_F(HistoryChecker, EventsOutOfOrderAreRefused) {
  three_writes();
  watch(2, {{{put_event(b2_), put_event(a1_)}, 3}});
  EXPECT_THAT(watch_violation(history_), HasSubstr("out of order"));
}

TEST_F(HistoryChecker, AnEventAfterItsProgressIsRefused) {
  three_writes();
  watch(2, {{{put_event(a1_)}, 4}, {{put_event(b2_)}, 4}});
  EXPECT_THAT(watch_violation(history_), HasSubstr("progress was told up to 4, and then came put /b"));
}

TEST_F(HistoryChecker, ProgressThatGoesBackIsRefused) {
  three_writes();
  watch(2, {{{put_event(a1_), put_event(b2_)}, 3}, {{}, 2}});
  EXPECT_THAT(watch_violation(history_), HasSubstr("progress went back to 2"));
}

TEST_F(HistoryChecker, AnEventNobodyWroteIsRefused) {
  three_writes();
  watch(2, {{{put_event(a1_), put_event(kv("/b", "forged", 3))}, 3}});
  EXPECT_THAT(watch_violation(history_), HasSubstr("what was told is put /b=\"forged\""));
  history_.watches.clear();
  watch(2, {{{put_event(kv("/z", "9", 9))}, 9}});
  EXPECT_THAT(watch_violation(history_), HasSubstr("nobody wrote it"));
}

TEST_F(HistoryChecker, AWrongPreviousValueIsRefused) {
  three_writes();
  watch(4, {{{delete_event("/a", 4, b2_)}, 4}});
  EXPECT_THAT(watch_violation(history_), HasSubstr("what was there before was /a=\"1\""));
}

TEST_F(HistoryChecker, ADeletionToldAsAPutIsRefused) {
  three_writes();
  watch(4, {{{put_event(kv("/a", "1", 4))}, 4}});
  EXPECT_THAT(watch_violation(history_), HasSubstr("what was written is client 2: remove /a"));
}

TEST_F(HistoryChecker, AResumedWatchThatRepeatsOrSkipsIsRefused) {
  three_writes();
  watch(2, {{{put_event(a1_)}, 2}});
  watch(3, {{{put_event(a1_)}, 2}});
  EXPECT_THAT(watch_violation(history_), HasSubstr("older than what was asked for"));
  history_.watches.pop_back();
  watch(3, {{{delete_event("/a", 4, a1_)}, 4}});
  EXPECT_THAT(watch_violation(history_), HasSubstr("never told"));
}

TEST_F(HistoryChecker, AnEventOutOfRangeIsRefused) {
  three_writes();
  watch(2, {{{put_event(a1_)}, 2}}).start = "/b";
  EXPECT_THAT(watch_violation(history_), HasSubstr("not in its range"));
}

// A long history of one key in which everybody overlaps with everybody: what was tried must be remembered.
TEST_F(HistoryChecker, ManyOverlappingCallsAreJudgedQuickly) {
  constexpr int kCalls = 400;
  for (int i = 0; i < kCalls; ++i) {
    const auto at = static_cast<Moment>(i);
    put(at * 4 + 1, at * 4 + 60, "/a", std::to_string(i), i == 0 ? 0 : i + 1, i + 2);
    get(at * 4 + 2, at * 4 + 50, "/a", kv("/a", std::to_string(i), i + 2, 2, i + 1));
  }
  expect_right();
  get(10'000, 10'001, "/a", kv("/a", "0", 2));
  EXPECT_THAT(linearizability_violation(history_), HasSubstr("[10000, 10001]"));
}

}  // namespace
}  // namespace kubernel::testing
