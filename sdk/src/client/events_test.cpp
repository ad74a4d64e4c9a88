// SPDX-License-Identifier: Apache-2.0
#include <kubernel/client/events.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/fake_clock.h>
#include <kubernel/testing/fake_cluster.h>

namespace kubernel::client {
namespace {

using namespace std::chrono_literals;
using api::resources::kEvents;
using api::resources::kPods;
using nlohmann::json;

class EventRecorderTest : public ::testing::Test {
 protected:
  std::vector<api::Object> events() {
    executor_.run_all();
    return cluster_.all(kEvents);
  }

  testing::FakeClock clock_;
  testing::ManualExecutor executor_;
  testing::RecordingLogger log_;
  testing::SeededRandom random_{1};
  testing::FakeCluster cluster_{clock_};
  api::Object pod_ = cluster_.put(kPods, {{"metadata", {{"name", "web-0"}, {"namespace", "shop"}}}});
  std::unique_ptr<EventRecorder> recorder_ =
      make_event_recorder(cluster_, {"kubelet", "n1"}, log_, clock_, random_, executor_);
};

TEST_F(EventRecorderTest, WritesAnEventAboutTheObjectInItsNamespace) {
  recorder_->record(pod_, "Normal", "Started", "Started container");
  ASSERT_EQ(events().size(), 1U);
  const auto event = events().at(0);
  EXPECT_EQ(event.ns(), "shop");
  EXPECT_THAT(event.name(), ::testing::StartsWith("web-0."));
  EXPECT_EQ(event.pointer("/involvedObject/kind").string(), "Pod");
  EXPECT_EQ(event.pointer("/involvedObject/uid").string(), pod_.uid());
  EXPECT_EQ(event["reason"].string(), "Started");
  EXPECT_EQ(event["message"].string(), "Started container");
  EXPECT_EQ(event["count"].integer(), 1);
  EXPECT_EQ(event.pointer("/source/component").string(), "kubelet");
  EXPECT_EQ(event.pointer("/source/host").string(), "n1");
  EXPECT_EQ(event["firstTimestamp"].string(), "2026-01-01T00:00:00Z");
}

TEST_F(EventRecorderTest, AnEqualEventOnlyCountsUp) {
  for (int i = 0; i < 3; ++i) {
    recorder_->record(pod_, "Warning", "BackOff", "Back-off restarting failed container");
    clock_.advance(1s);
  }
  ASSERT_EQ(events().size(), 1U);
  EXPECT_EQ(events().at(0)["count"].integer(), 3);
  EXPECT_EQ(events().at(0)["firstTimestamp"].string(), "2026-01-01T00:00:00Z");
  EXPECT_EQ(events().at(0)["lastTimestamp"].string(), "2026-01-01T00:00:02Z");
}

TEST_F(EventRecorderTest, ManySimilarMessagesBecomeOne) {
  for (int i = 0; i < 15; ++i) recorder_->record(pod_, "Normal", "Pulled", "message " + std::to_string(i));
  const auto all = events();
  ASSERT_EQ(all.size(), 10U);  // Nine of their own and the combined one.
  const auto combined = std::ranges::find_if(
      all, [](const auto& e) { return e["message"].string() == "(combined from similar events): message 14"; });
  ASSERT_NE(combined, all.end());
  EXPECT_EQ((*combined)["count"].integer(), 6);
}

TEST_F(EventRecorderTest, HoldsAStormAboutOneObjectDown) {
  for (int i = 0; i < 60; ++i) recorder_->record(pod_, "Normal", "R" + std::to_string(i), "m");
  EXPECT_EQ(events().size(), 25U);
  clock_.advance(300s);
  recorder_->record(pod_, "Normal", "Later", "m");
  EXPECT_EQ(events().size(), 26U);
}

TEST_F(EventRecorderTest, BeginsAnewWhenTheEventHasExpired) {
  recorder_->record(pod_, "Normal", "Started", "m");
  cluster_.erase(kEvents, events().at(0).key());
  recorder_->record(pod_, "Normal", "Started", "m");
  ASSERT_EQ(events().size(), 1U);
  EXPECT_EQ(events().at(0)["count"].integer(), 1);
}

TEST_F(EventRecorderTest, TriesAgainWhileTheServerIsAway) {
  cluster_.fail_next("create", kEvents, Error(Reason::ServiceUnavailable, "away"), 2);
  recorder_->record(pod_, "Normal", "Started", "m");
  EXPECT_EQ(events().size(), 0U);
  clock_.advance(10s);
  EXPECT_EQ(events().size(), 0U);
  clock_.advance(10s);
  EXPECT_EQ(events().size(), 1U);
}

TEST_F(EventRecorderTest, GivesUpOnAnEventThatIsRefused) {
  cluster_.fail_next("create", kEvents, Error(Reason::Invalid, "no"));
  recorder_->record(pod_, "Normal", "Started", "m");
  recorder_->record(pod_, "Normal", "Next", "m");
  ASSERT_EQ(events().size(), 1U);
  EXPECT_EQ(events().at(0)["reason"].string(), "Next");
  EXPECT_EQ(log_.lines().size(), 1U);
}

TEST_F(EventRecorderTest, WritesWhatIsQueuedWhenItGoes) {
  recorder_->record(pod_, "Normal", "Killing", "m");
  recorder_.reset();
  EXPECT_EQ(cluster_.all(kEvents).size(), 1U);
}

}  // namespace
}  // namespace kubernel::client
