// SPDX-License-Identifier: Apache-2.0
#include "lease_table.h"

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

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

// Two processes with a table each on one store.
class SharedLeases : public ::testing::Test {
 protected:
  LeaseHooks hooks(std::unique_ptr<LeaseTable>& own) {
    return {.save = [this](const CallContext&, const LeaseRecord& lease) -> Result<void> {
              if (on_save_) std::exchange(on_save_, nullptr)();
              if (!records_.emplace(lease.id, lease).second) return lease_exists(lease.id);
              return {};
            },
            .drop = [this, &own](const CallContext&, LeaseId id,
                                 const LeaseRecord* expired) -> Result<std::optional<LeaseRecord>> {
              const auto found = records_.find(id);
              if (found != records_.end() && expired != nullptr && found->second.renewals != expired->renewals) {
                return std::optional(found->second);
              }
              own->forget(id);
              if (found == records_.end()) return lease_not_found(id);
              records_.erase(found);
              return std::optional<LeaseRecord>();
            },
            .keys = {},
            .renew = [this](const CallContext&, LeaseId id, bool count) -> Result<LeaseRecord> {
              const auto found = records_.find(id);
              if (found == records_.end()) return lease_not_found(id);
              if (count) ++found->second.renewals;
              return found->second;
            },
            .all = {}};
  }

  void pass(seconds time) {
    clock_.advance(time);
    while (executor_.run_all() != 0) clock_.advance(seconds(0));
  }

  testing::FakeClock clock_;
  testing::ManualExecutor executor_;
  testing::RecordingLogger log_;
  std::map<LeaseId, LeaseRecord> records_;
  std::function<void()> on_save_;
  std::unique_ptr<LeaseTable> one_ =
      std::make_unique<LeaseTable>(clock_, executor_, log_, hooks(one_), std::vector<LeaseRecord>());
  std::unique_ptr<LeaseTable> other_ =
      std::make_unique<LeaseTable>(clock_, executor_, log_, hooks(other_), std::vector<LeaseRecord>());
};

TEST_F(SharedLeases, ALeaseIsNotEndedByTheExpiryOfOneBeforeItThatWasRenewedOften) {
  ASSERT_TRUE(one_->grant({}, 1, seconds(5)));
  for (int renewals = 0; renewals < 3; ++renewals) ASSERT_TRUE(one_->renew({}, 1));
  ASSERT_TRUE(other_->revoke({}, 1));
  pass(seconds(3));
  for (LeaseId id = 2; id < 9; ++id) ASSERT_TRUE(one_->grant({}, id, seconds(60)));
  ASSERT_TRUE(other_->grant({}, 1, seconds(5)));
  pass(seconds(2));  // The first process has not heard of any of this.
  EXPECT_TRUE(other_->find({}, 1, false)) << "its time is not up";
  pass(seconds(3));
  EXPECT_FALSE(other_->find({}, 1, false));
}

TEST_F(SharedLeases, AnIdThatAnotherProcessGaveUpIsFree) {
  ASSERT_TRUE(one_->grant({}, 1, seconds(5)));
  ASSERT_TRUE(other_->revoke({}, 1));
  EXPECT_TRUE(one_->grant({}, 1, seconds(5)));
  // Also when the table hears of the old one while the new one is granted.
  ASSERT_TRUE(other_->revoke({}, 1));
  const LeaseRecord heard{.id = 1, .ttl = seconds(5), .renewals = 7};
  on_save_ = [&] { one_->learn(heard); };
  EXPECT_TRUE(one_->grant({}, 1, seconds(5)));
}

TEST_F(SharedLeases, AGrantThatIsRefusedLeavesTheLeaseAsItWas) {
  ASSERT_TRUE(one_->grant({}, 1, seconds(5)));
  pass(seconds(3));
  EXPECT_EQ(one_->grant({}, 1, seconds(50)).error().reason(), Reason::AlreadyExists);
  EXPECT_EQ(one_->find({}, 1, false)->remaining, seconds(2));
  pass(seconds(2));
  EXPECT_FALSE(one_->find({}, 1, false));
}

}  // namespace
}  // namespace kubernel::storage_common
