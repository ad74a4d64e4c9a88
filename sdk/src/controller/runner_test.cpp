// SPDX-License-Identifier: Apache-2.0
#include <kubernel/controller/runner.h>

#include <stdexcept>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <kubernel/testing/fake_clock.h>

namespace kubernel::controller {
namespace {

using namespace std::chrono_literals;
using api::ObjectKey;
using ::testing::ElementsAre;

// Does what a test tells it to, and remembers the keys it saw.
class Scripted final : public Reconciler {
 public:
  Result<void> watch(client::InformerFactory&, KeyQueue&) override { return {}; }
  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    seen.push_back(key.name);
    return act(ctx, key);
  }
  std::vector<std::string> seen;
  std::function<Result<Next>(const CallContext&, const ObjectKey&)> act = [](const CallContext&, const ObjectKey&) {
    return Next::done();
  };
};

class RunnerTest : public ::testing::Test {
 protected:
  void fail_with(Reason reason) {
    reconciler_.act = [reason](const CallContext&, const ObjectKey&) -> Result<Next> { return Error(reason, "no"); };
  }

  testing::FakeClock clock_;
  testing::ManualExecutor executor_;
  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  Scripted reconciler_;
  std::unique_ptr<Runner> runner_ = make_runner({log_, metrics_, clock_, executor_}, {"web", 2});
};

TEST_F(RunnerTest, KeepsKeysUntilItIsStarted) {
  runner_->add({"", "a"});
  executor_.run_all();
  EXPECT_TRUE(reconciler_.seen.empty());
  runner_->start(reconciler_);
  executor_.run_all();
  EXPECT_THAT(reconciler_.seen, ElementsAre("a"));
  EXPECT_EQ(metrics_.value("workqueue_adds_total{name=\"web\"}"), 1);
  EXPECT_EQ(metrics_.value("workqueue_depth{name=\"web\"}"), 0);
}

TEST_F(RunnerTest, KeepsNoMoreThanItsWorkersInFlight) {
  runner_->start(reconciler_);
  for (const char* name : {"a", "b", "c", "d"}) runner_->add({"", name});
  EXPECT_EQ(executor_.pending(), 2U);
  EXPECT_EQ(metrics_.value("workqueue_depth{name=\"web\"}"), 2);
  executor_.run_all();
  EXPECT_THAT(reconciler_.seen, ElementsAre("a", "b", "c", "d"));
}

TEST_F(RunnerTest, LooksAgainWhenTheReconcilerAsksForIt) {
  reconciler_.act = [](const CallContext&, const ObjectKey&) { return Next::after(30s); };
  runner_->start(reconciler_);
  runner_->add({"", "a"});
  executor_.run_all();
  clock_.advance(29s);
  EXPECT_EQ(executor_.run_all(), 0U);
  clock_.advance(1s);
  EXPECT_EQ(executor_.run_all(), 1U);
}

TEST_F(RunnerTest, RetriesAFailureWithGrowingDelay) {
  fail_with(Reason::Conflict);
  runner_->start(reconciler_);
  runner_->add({"", "a"});
  executor_.run_all();
  for (const auto delay : {5ms, 10ms, 20ms}) {
    clock_.advance(delay - 1ms);
    EXPECT_EQ(executor_.run_all(), 0U);
    clock_.advance(1ms);
    EXPECT_EQ(executor_.run_all(), 1U);
  }
  EXPECT_EQ(metrics_.value("workqueue_retries_total{name=\"web\"}"), 4);
}

TEST_F(RunnerTest, RetriesWhatAQuotaForbids) {
  fail_with(Reason::Forbidden);
  runner_->start(reconciler_);
  runner_->add({"", "a"});
  executor_.run_all();
  clock_.advance(5ms);
  EXPECT_EQ(executor_.run_all(), 1U);
}

TEST_F(RunnerTest, ParksWhatOnlyAChangeOfTheObjectCanMend) {
  fail_with(Reason::Invalid);
  runner_->start(reconciler_);
  runner_->add({"", "a"});
  executor_.run_all();
  clock_.advance(1h);
  EXPECT_EQ(executor_.run_all(), 0U);
  EXPECT_EQ(metrics_.value("controller_parked_keys_total{controller=\"web\"}"), 1);
  runner_->add({"", "a"});
  EXPECT_EQ(executor_.run_all(), 1U);
}

TEST_F(RunnerTest, ContainsAnExceptionAndRetries) {
  reconciler_.act = [](const CallContext&, const ObjectKey&) -> Result<Next> { throw std::runtime_error("boom"); };
  runner_->start(reconciler_);
  runner_->add({"", "a"});
  executor_.run_all();
  EXPECT_EQ(metrics_.value("plugin_exceptions_total{plugin=\"web\"}"), 1);
  clock_.advance(5ms);
  EXPECT_EQ(executor_.run_all(), 1U);
  EXPECT_THAT(log_.lines().at(0), ::testing::HasSubstr("boom"));
}

TEST_F(RunnerTest, RunsAKeyAgainThatWasAddedMeanwhile) {
  reconciler_.act = [&](const CallContext&, const ObjectKey& key) {
    if (reconciler_.seen.size() == 1) runner_->add(key);
    return Next::done();
  };
  runner_->start(reconciler_);
  runner_->add({"", "a"});
  executor_.run_all();
  EXPECT_EQ(reconciler_.seen.size(), 2U);
}

TEST_F(RunnerTest, AfterAStopNothingRunsNotEvenWhatWasSubmitted) {
  runner_->start(reconciler_);
  runner_->add({"", "a"});
  ASSERT_TRUE(runner_->stop({}));
  executor_.run_all();
  runner_->add({"", "b"});
  clock_.advance(1h);
  executor_.run_all();
  EXPECT_TRUE(reconciler_.seen.empty());
}

TEST_F(RunnerTest, TellsARunningReconcileToStop) {
  bool told = false;
  reconciler_.act = [&](const CallContext& ctx, const ObjectKey&) -> Result<Next> {
    CallContext now;
    now.deadline = CallContext::Clock::time_point::min();
    const auto stopped = runner_->stop(now);
    EXPECT_FALSE(stopped);  // This very reconcile still runs.
    told = ctx.stopping();
    return Error(Reason::Cancelled, "stopping");
  };
  runner_->start(reconciler_);
  runner_->add({"", "a"});
  executor_.run_all();
  EXPECT_TRUE(told);
  EXPECT_TRUE(runner_->stop({}));
}

}  // namespace
}  // namespace kubernel::controller
