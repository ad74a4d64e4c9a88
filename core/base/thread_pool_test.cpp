// SPDX-License-Identifier: Apache-2.0
#include "core/base/thread_pool.h"

#include <atomic>
#include <future>
#include <memory>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include <kubernel/testing/fake_clock.h>

namespace kubernel::core {
namespace {

class ThreadPoolTest : public ::testing::Test {
 protected:
  ThreadPool& pool(ThreadPoolOptions options) {
    options.name = "test";
    pool_ = std::make_unique<ThreadPool>(std::move(options), log_, metrics_);
    return *pool_;
  }

  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  std::unique_ptr<ThreadPool> pool_;
};

TEST_F(ThreadPoolTest, StartsNoThreadBeforeThereIsWork) {
  EXPECT_EQ(pool({}).thread_count(), 0U);
}

TEST_F(ThreadPoolTest, RunsTasksConcurrentlyUpToItsLimit) {
  ThreadPool& two = pool({.threads = 2});
  std::promise<void> a;
  std::promise<void> b;
  std::promise<void> done;
  ASSERT_TRUE(two.submit([&] {
    a.set_value();
    b.get_future().get();
    done.set_value();
  }));
  ASSERT_TRUE(two.submit([&] {
    a.get_future().get();
    b.set_value();
  }));
  done.get_future().get();
  EXPECT_LE(two.thread_count(), 2U);
}

TEST_F(ThreadPoolTest, TasksStartInOrderOfSubmission) {
  ThreadPool& one = pool({.threads = 1});
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(one.submit([&order, i] { order.push_back(i); }));
  one.stop();
  ASSERT_EQ(order.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST_F(ThreadPoolTest, RefusesWhenTheQueueIsFull) {
  ThreadPool& one = pool({.threads = 1, .queue_limit = 2});
  std::promise<void> started;
  std::promise<void> gate;
  ASSERT_TRUE(one.submit([&] {
    started.set_value();
    gate.get_future().get();
  }));
  started.get_future().get();
  std::atomic<int> ran = 0;
  ASSERT_TRUE(one.submit([&] { ++ran; }));
  ASSERT_TRUE(one.submit([&] { ++ran; }));
  const auto refused = one.submit([&] { ++ran; });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::TooManyRequests);
  EXPECT_EQ(metrics_.value("executor_refused_total{executor=\"test\"}"), 1);
  gate.set_value();
  one.stop();
  EXPECT_EQ(ran, 2);
}

TEST_F(ThreadPoolTest, StopRunsWhatIsQueuedAndRefusesTheRest) {
  ThreadPool& one = pool({.threads = 1});
  std::atomic<int> ran = 0;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(one.submit([&] { ++ran; }));
  one.stop();
  EXPECT_EQ(ran, 10);
  const auto refused = one.submit([] {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::Cancelled);
  EXPECT_EQ(one.thread_count(), 0U);
}

TEST_F(ThreadPoolTest, ATaskThatThrowsIsLoggedAndCounted) {
  ThreadPool& one = pool({.threads = 1});
  ASSERT_TRUE(one.submit([] { throw std::runtime_error("boom"); }));
  std::promise<void> lives;
  ASSERT_TRUE(one.submit([&] { lives.set_value(); }));
  lives.get_future().get();
  EXPECT_EQ(metrics_.value("executor_task_exceptions_total{executor=\"test\"}"), 1);
  ASSERT_EQ(log_.lines().size(), 1U);
  EXPECT_EQ(log_.lines().front(), "error: a task threw an exception executor=test error=boom");
}

TEST_F(ThreadPoolTest, AThreadThatWasIdleLongEnoughEndsAndAnotherTakesItsPlace) {
  ThreadPool& one = pool({.threads = 1, .idle = std::chrono::milliseconds(0)});
  for (int i = 0; i < 200; ++i) {
    std::promise<void> ran;
    ASSERT_TRUE(one.submit([&] { ran.set_value(); }));
    ran.get_future().get();
  }
}

TEST_F(ThreadPoolTest, ManySubmittersLoseNothing) {
  ThreadPool& four = pool({.threads = 4, .queue_limit = 100000, .idle = std::chrono::milliseconds(0)});
  std::atomic<int> ran = 0;
  std::vector<std::future<void>> submitters;
  for (int s = 0; s < 3; ++s) {
    submitters.push_back(std::async(std::launch::async, [&] {
      for (int i = 0; i < 2000; ++i) EXPECT_TRUE(four.submit([&] { ++ran; }));
    }));
  }
  for (auto& submitter : submitters) submitter.get();
  four.stop();
  EXPECT_EQ(ran, 6000);
}

}  // namespace
}  // namespace kubernel::core
