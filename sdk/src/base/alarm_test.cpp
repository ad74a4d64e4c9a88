// SPDX-License-Identifier: Apache-2.0
#include <kubernel/base/alarm.h>

#include <utility>

#include <gtest/gtest.h>

namespace kubernel {
namespace {

// Counts the timers that are set.
class Timer final : public Subscription {
 public:
  explicit Timer(int& set) : set_(set) { ++set_; }
  ~Timer() override { --set_; }

 private:
  int& set_;
};

class AlarmTest : public ::testing::Test {
 protected:
  int set_ = 0;
  Alarm alarm_;
  std::unique_ptr<Subscription> timer() { return std::make_unique<Timer>(set_); }
};

TEST_F(AlarmTest, ANewTimerReplacesTheEarlierOne) {
  alarm_.set([this] { return timer(); });
  alarm_.set([this] { return timer(); });
  EXPECT_EQ(set_, 1);
}

TEST_F(AlarmTest, ATimerThatFiredAndWasSetAgainBeforeItWasStoredDoesNotCancelItsSuccessor) {
  bool second_is_set = false;
  alarm_.set([&] {
    auto first = timer();
    alarm_.set([&] { return timer(); });  // What the first one's callback does on the timer's thread.
    second_is_set = set_ == 2;
    return first;
  });
  EXPECT_TRUE(second_is_set);
  EXPECT_EQ(set_, 1);
  alarm_.cancel();
  EXPECT_EQ(set_, 0);
}

TEST_F(AlarmTest, CancelWinsOverASetThatHasBegun) {
  alarm_.set([&] {
    auto first = timer();
    alarm_.cancel();
    return first;
  });
  EXPECT_EQ(set_, 0);
}

}  // namespace
}  // namespace kubernel
