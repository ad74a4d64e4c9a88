// SPDX-License-Identifier: Apache-2.0
#include "core/base/system_clock.h"

#include <atomic>
#include <future>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

namespace kubernel::core {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST(SystemClock, FiresATimerThatIsAlreadyDue) {
  SystemClock clock;
  std::promise<void> fired;
  const auto timer = clock.call_at(clock.now() - hours(1), [&] { fired.set_value(); });
  fired.get_future().get();
}

TEST(SystemClock, FiresInOrderOfDueTimesNotOfCalls) {
  SystemClock clock;
  std::vector<int> order;
  std::promise<void> done;
  const auto start = clock.now();
  // The first keeps the timer thread busy until all are there.
  std::promise<void> all_there;
  const auto gate = clock.call_at(start, [&] { all_there.get_future().get(); });
  const auto late = clock.call_at(start + milliseconds(3), [&] {
    order.push_back(3);
    done.set_value();
  });
  const auto middle = clock.call_at(start + milliseconds(2), [&] { order.push_back(2); });
  const auto early = clock.call_at(start + milliseconds(1), [&] { order.push_back(1); });
  all_there.set_value();
  done.get_future().get();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(SystemClock, AnEarlierTimerIsNotHeldUpByALaterOne) {
  SystemClock clock;
  const auto far = clock.call_at(clock.now() + hours(1), [] { FAIL(); });
  std::promise<void> fired;
  const auto near = clock.call_at(clock.now() + milliseconds(1), [&] { fired.set_value(); });
  fired.get_future().get();
}

TEST(SystemClock, ADestroyedTimerDoesNotFire) {
  SystemClock clock;
  std::promise<void> gate;
  std::promise<void> done;
  const auto first = clock.call_at(clock.now(), [&] { gate.get_future().get(); });
  auto cancelled = clock.call_at(clock.now(), [] { FAIL(); });
  const auto last = clock.call_at(clock.now(), [&] { done.set_value(); });
  cancelled.reset();
  gate.set_value();
  done.get_future().get();
}

TEST(SystemClock, DestroyingATimerWaitsForItsCallback) {
  SystemClock clock;
  std::promise<void> started;
  std::atomic<bool> returned = false;
  auto timer = clock.call_at(clock.now(), [&] {
    started.set_value();
    // Long enough that a destructor that does not wait would be seen; the result does not depend on it.
    std::promise<void>().get_future().wait_for(milliseconds(20));
    returned = true;
  });
  started.get_future().get();
  timer.reset();
  EXPECT_TRUE(returned);
}

TEST(SystemClock, ACallbackMayDestroyItsOwnTimer) {
  std::unique_ptr<Subscription> timer;
  std::promise<void> made;
  std::promise<void> done;
  SystemClock clock;  // Last: its end waits for the callback.
  timer = clock.call_at(clock.now(), [&] {
    made.get_future().get();
    timer.reset();
    done.set_value();
  });
  made.set_value();
  done.get_future().get();
}

TEST(SystemClock, ATimerMayOutliveTheClock) {
  auto clock = std::make_unique<SystemClock>();
  auto timer = clock->call_at(clock->now() + hours(1), [] { FAIL(); });
  clock.reset();
  timer.reset();
}

TEST(SystemClock, WallTimeIsThisCentury) {
  const SystemClock clock;
  EXPECT_GT(clock.wall_now().time_since_epoch(), hours(24 * 365 * 50));
}

}  // namespace
}  // namespace kubernel::core
