// SPDX-License-Identifier: Apache-2.0
#include <kubernel/base/executor.h>

#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include <kubernel/testing/fake_clock.h>

namespace kubernel {
namespace {

// Accepts `room` tasks, then refuses.
class Narrow final : public Executor {
 public:
  explicit Narrow(int room) : room_(room) {}
  Result<void> submit(std::function<void()> task) override {
    if (room_-- <= 0) return Error(Reason::TooManyRequests, "full");
    return inner.submit(std::move(task));
  }
  testing::ManualExecutor inner;

 private:
  int room_;
};

TEST(Strand, RunsTasksInOrderInOneTaskOfTheExecutor) {
  testing::ManualExecutor executor;
  const auto strand = make_strand(executor);
  std::vector<int> order;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(strand->submit([&order, i] { order.push_back(i); }));
  EXPECT_EQ(executor.pending(), 1U);
  EXPECT_EQ(executor.run_all(), 1U);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

TEST(Strand, ATaskMaySubmitAnother) {
  testing::ManualExecutor executor;
  const auto strand = make_strand(executor);
  std::vector<int> order;
  ASSERT_TRUE(strand->submit([&] {
    ASSERT_TRUE(strand->submit([&] { order.push_back(2); }));
    order.push_back(1);
  }));
  executor.run_all();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(Strand, GivesItsThreadToOthersNowAndThen) {
  testing::ManualExecutor executor;
  const auto strand = make_strand(executor);
  int ran = 0;
  int when_other_ran = 0;
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(strand->submit([&] { ++ran; }));
  ASSERT_TRUE(executor.submit([&] { when_other_ran = ran; }));
  executor.run_all();
  EXPECT_EQ(ran, 100);
  EXPECT_LT(when_other_ran, 100);
}

TEST(Strand, WhatWasQueuedRunsEvenAfterItsDestruction) {
  testing::ManualExecutor executor;
  int ran = 0;
  {
    const auto strand = make_strand(executor);
    ASSERT_TRUE(strand->submit([&] { ++ran; }));
  }
  executor.run_all();
  EXPECT_EQ(ran, 1);
}

TEST(Strand, RefusesWhenTheExecutorDoesAndForgetsTheTask) {
  Narrow executor(0);
  const auto strand = make_strand(executor);
  const auto refused = strand->submit([] { FAIL(); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::TooManyRequests);
}

TEST(Strand, WhatItAcceptedRunsAlsoWhenTheExecutorHasNoRoomForASecondTurn) {
  Narrow executor(1);
  const auto strand = make_strand(executor);
  int ran = 0;
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(strand->submit([&] { ++ran; }));
  executor.inner.run_all();
  EXPECT_EQ(ran, 100);
}

TEST(Strand, AnExceptionReachesTheExecutorAndHoldsUpNobody) {
  testing::ManualExecutor executor;
  const auto strand = make_strand(executor);
  int ran = 0;
  ASSERT_TRUE(strand->submit([] { throw std::runtime_error("boom"); }));
  ASSERT_TRUE(strand->submit([&] { ++ran; }));
  EXPECT_THROW(executor.run_all(), std::runtime_error);
  executor.run_all();
  EXPECT_EQ(ran, 1);
}

}  // namespace
}  // namespace kubernel
