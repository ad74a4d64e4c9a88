// SPDX-License-Identifier: Apache-2.0
#include <kubernel/controller/work_queue.h>

#include <string>

#include <gtest/gtest.h>

#include <kubernel/testing/fake_clock.h>

namespace kubernel::controller {
namespace {

using namespace std::chrono_literals;
using testing::FakeClock;

class WorkQueueTest : public ::testing::Test {
 protected:
  std::string take() {
    const auto taken = queue_.take_ready();
    return taken ? taken->key : "";
  }
  FakeClock clock_;
  WorkQueue<std::string> queue_{clock_};
};

TEST_F(WorkQueueTest, HandsOutAKeyOnceHoweverOftenItWasAdded) {
  EXPECT_TRUE(queue_.add("a"));
  EXPECT_FALSE(queue_.add("a"));
  EXPECT_EQ(take(), "a");
  EXPECT_EQ(take(), "");
}

TEST_F(WorkQueueTest, HandsOutKeysInTheOrderTheyCame) {
  queue_.add("b");
  queue_.add("a");
  queue_.add("c");
  for (const char* expected : {"b", "a", "c"}) EXPECT_EQ(take(), expected);
}

TEST_F(WorkQueueTest, HoldsAKeyBackWhileItIsBeingWorkedOn) {
  queue_.add("a");
  ASSERT_EQ(take(), "a");
  queue_.add("a");
  EXPECT_EQ(take(), "");
  EXPECT_TRUE(queue_.finish("a"));
  EXPECT_EQ(take(), "a");
  EXPECT_FALSE(queue_.finish("a"));
  EXPECT_EQ(take(), "");
}

TEST_F(WorkQueueTest, ReleasesADelayedKeyWhenItIsDueAndNotBefore) {
  queue_.add_after("a", 300ms);
  queue_.add_after("a", 100ms);  // The earlier time wins,
  queue_.add_after("a", 400ms);  // whichever came first.
  clock_.advance(99ms);
  EXPECT_EQ(take(), "");
  clock_.advance(1ms);
  EXPECT_EQ(take(), "a");
  queue_.finish("a");
  clock_.advance(1h);
  EXPECT_EQ(take(), "");
}

TEST_F(WorkQueueTest, TellsWhenTheNextKeyIsDue) {
  EXPECT_EQ(queue_.next_due(), std::nullopt);
  queue_.add_after("a", 2s);
  queue_.add_after("b", 1s);
  EXPECT_EQ(queue_.next_due(), clock_.now() + 1s);
}

TEST_F(WorkQueueTest, ADelayOfNothingIsNow) {
  queue_.add_after("a", 0ms);
  EXPECT_EQ(take(), "a");
}

TEST(RateLimiter, DoublesTheDelayOfEachFailureUpToTheCap) {
  FakeClock clock;
  RateLimiter<std::string> limiter(clock);
  EXPECT_EQ(limiter.next_delay("a"), 5ms);
  EXPECT_EQ(limiter.next_delay("a"), 10ms);
  EXPECT_EQ(limiter.next_delay("a"), 20ms);
  EXPECT_EQ(limiter.next_delay("b"), 5ms);
  for (int i = 0; i < 70; ++i) static_cast<void>(limiter.next_delay("a"));
  EXPECT_EQ(limiter.next_delay("a"), 1000s);
  limiter.forget("a");
  EXPECT_EQ(limiter.next_delay("a"), 5ms);
}

TEST(RateLimiter, TheBucketLimitsAllKeysTogether) {
  FakeClock clock;
  RateLimiter<int> limiter(clock);
  for (int key = 0; key < 100; ++key) EXPECT_EQ(limiter.next_delay(key), 5ms);
  EXPECT_EQ(limiter.next_delay(100), 100ms);
  EXPECT_EQ(limiter.next_delay(101), 200ms);
  clock.advance(10s);
  EXPECT_EQ(limiter.next_delay(102), 5ms);
}

}  // namespace
}  // namespace kubernel::controller
