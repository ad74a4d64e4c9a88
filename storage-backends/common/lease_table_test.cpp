// SPDX-License-Identifier: Apache-2.0
#include "lease_table.h"

#include <atomic>
#include <functional>
#include <map>
#include <thread>

#include <gtest/gtest.h>

#include <kubernel/testing/fake_clock.h>

namespace kubernel::storage_common {
namespace {

using std::chrono::seconds;
using storage::LeaseId;

// What is done to leases' keys, by hand.
class LeaseTableTest : public ::testing::Test {
 protected:
  Result<std::optional<LeaseRecord>> drop(LeaseId id, const LeaseRecord* expired) {
    if (const auto act = on_drop_.extract(id)) act.mapped()();
    const bool there = expired == nullptr ? table_.exists(id) : table_.holds(*expired);
    if (!there) return lease_not_found(id);
    table_.forget(id);
    return std::optional<LeaseRecord>();
  }

  void pass(seconds time) {
    clock_.advance(time);
    while (executor_.run_all() != 0) clock_.advance(seconds(0));
  }

  testing::FakeClock clock_;
  testing::ManualExecutor executor_;
  testing::RecordingLogger log_;
  std::map<LeaseId, std::function<void()>> on_drop_;
  std::function<Result<void>()> on_save_ = [] { return Result<void>(); };
  LeaseTable table_{
      clock_,
      executor_,
      log_,
      {.save = [this](const CallContext&, const LeaseRecord&) { return on_save_(); },
       .drop = [this](const CallContext&, LeaseId id, const LeaseRecord* expired) { return drop(id, expired); },
       .keys = {},
       .renew = {},
       .all = {}},
      {}};
};

TEST_F(LeaseTableTest, ALeaseGrantedAnewIsNotEndedByTheExpiryOfTheOneBefore) {
  ASSERT_TRUE(table_.grant({}, 1, seconds(5)));
  ASSERT_TRUE(table_.grant({}, 2, seconds(5)));
  // Both are due; while the first is ended, somebody revokes the second and grants it anew.
  on_drop_[1] = [&] {
    EXPECT_TRUE(table_.revoke({}, 2));
    EXPECT_TRUE(table_.grant({}, 2, seconds(5)));
  };
  pass(seconds(5));
  EXPECT_EQ(*table_.list({}), std::vector<LeaseId>{2});
  EXPECT_TRUE(table_.renew({}, 2)) << "it is not on its way out";
  pass(seconds(4));
  EXPECT_TRUE(table_.exists(2));
  pass(seconds(1));
  EXPECT_FALSE(table_.exists(2));
}

TEST_F(LeaseTableTest, ALeaseKeepsItsTtlWhenAnOlderOneOfItsIdIsForgottenWhileItIsSaved) {
  on_save_ = [&] {
    table_.forget(7);
    return Result<void>();
  };
  ASSERT_TRUE(table_.grant({}, 7, seconds(5)));
  EXPECT_EQ(table_.find({}, 7, false)->ttl, seconds(5));
}

TEST_F(LeaseTableTest, AnIdIsTakenOrNotWhenTheGrantThatTakesItHasEnded) {
  std::atomic<bool> saving = false;
  std::atomic<bool> may_end = false;
  on_save_ = [&]() -> Result<void> {
    saving = true;
    saving.notify_all();
    may_end.wait(false);
    return Error(Reason::ServiceUnavailable, "the disk is full");
  };
  std::jthread first([&] { EXPECT_FALSE(table_.grant({}, 7, seconds(5))); });
  saving.wait(false);
  std::jthread second([&] {
    const auto granted = table_.grant({}, 7, seconds(5));
    EXPECT_FALSE(granted);
    EXPECT_EQ(granted.error().reason(), Reason::ServiceUnavailable) << "the id was never taken";
  });
  may_end = true;
  may_end.notify_all();
}

}  // namespace
}  // namespace kubernel::storage_common
