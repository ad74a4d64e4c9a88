// SPDX-License-Identifier: Apache-2.0
#include "job.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>
#include <kubernel/controller/conditions.h>
#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::job {
namespace {

using namespace std::chrono_literals;
using api::Object;
using api::ObjectKey;
using api::Value;
using api::resources::kJobs;
using api::resources::kPods;
using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class JobTest : public ::testing::Test {
 protected:
  const ObjectKey kSum{"shop", "sum"};

  void submit(const json& spec) {
    json job = {{"metadata", {{"name", "sum"}, {"namespace", "shop"}}},
                {"spec",
                 {{"backoffLimit", 6},
                  {"parallelism", 1},
                  {"selector", {{"matchLabels", {{"job", "sum"}}}}},
                  {"template",
                   {{"metadata", {{"labels", {{"job", "sum"}}}}},
                    {"spec", {{"restartPolicy", "Never"}, {"containers", {{{"name", "c"}, {"image", "i"}}}}}}}}}}};
    job["spec"].merge_patch(spec);
    bench_.cluster.put(kJobs, job);
  }
  void edit(const std::function<void(json&)>& change) {
    bench_.cluster.edit(kJobs, kSum, change);
    bench_.settle();
  }
  Object job() const { return *bench_.cluster.find(kJobs, kSum); }
  json status() const { return job()["status"].to_json(); }
  std::string reason(const char* type) const {
    const Object j = job();
    const Value condition = controller::find_condition(j.pointer("/status/conditions"), type);
    return condition["status"].string() == "True" ? std::string(condition["reason"].string()) : std::string();
  }
  std::vector<Object> pods() const { return bench_.cluster.all(kPods); }
  std::vector<Object> active() const {
    auto all = pods();
    std::erase_if(all, [](const Object& p) {
      const auto phase = p.pointer("/status/phase").string();
      return p.head().deleting || phase == "Succeeded" || phase == "Failed";
    });
    return all;
  }
  void end(const Object& pod, const char* phase) {
    bench_.cluster.edit(kPods, pod.key(), [&](json& p) {
      p["status"] = {{"phase", phase},
                     {"containerStatuses",
                      {{{"state", {{"terminated", {{"finishedAt", api::format_time(bench_.clock.wall_now())}}}}}}}}};
    });
    bench_.settle();
  }
  void end_one(const char* phase) {
    ASSERT_FALSE(active().empty());
    end(active().front(), phase);
  }
  static bool held(const Object& pod) { return !pod.pointer("/metadata/finalizers").empty(); }

  testing::ControllerBench bench_{make_reconciler};
};

TEST_F(JobTest, RunsOnePodAndIsComplete) {
  submit({{"completions", 1}});
  bench_.start();
  ASSERT_EQ(pods().size(), 1U);
  const Object pod = pods().at(0);
  EXPECT_EQ(pod.pointer("/metadata/finalizers/0").string(), "batch.kubernetes.io/job-tracking");
  EXPECT_EQ(pod.head().controller_uid, job().uid());
  EXPECT_EQ(status()["active"], 1);
  EXPECT_EQ(status()["startTime"], "2026-01-01T00:00:00Z");
  bench_.advance(7s);
  end(pod, "Succeeded");
  EXPECT_EQ(reason("SuccessCriteriaMet"), "CompletionsReached");
  EXPECT_EQ(reason("Complete"), "CompletionsReached");
  EXPECT_EQ(status()["succeeded"], 1);
  EXPECT_FALSE(status().contains("active"));
  EXPECT_EQ(status()["completionTime"], "2026-01-01T00:00:07Z");
  EXPECT_EQ(status()["uncountedTerminatedPods"], json::object());
  EXPECT_FALSE(held(pods().at(0)));
  EXPECT_THAT(bench_.events.lines(), Contains("Normal Completed Job completed"));
}

TEST_F(JobTest, RunsNoMoreThanItsParallelismAndNoMoreThanAreMissing) {
  submit({{"completions", 5}, {"parallelism", 3}});
  bench_.start();
  EXPECT_EQ(active().size(), 3U);
  for (int i = 0; i < 3; ++i) end_one("Succeeded");
  EXPECT_EQ(active().size(), 2U);
  end_one("Succeeded");
  end_one("Succeeded");
  EXPECT_EQ(reason("Complete"), "CompletionsReached");
  EXPECT_EQ(pods().size(), 5U);
}

TEST_F(JobTest, WithoutCompletionsOneSuccessLetsTheOthersFinish) {
  submit({{"parallelism", 3}});
  bench_.start();
  EXPECT_EQ(active().size(), 3U);
  end_one("Succeeded");
  EXPECT_EQ(active().size(), 2U);
  EXPECT_EQ(reason("Complete"), "");
  end_one("Succeeded");
  end_one("Failed");
  EXPECT_EQ(reason("Complete"), "CompletionsReached");
  EXPECT_EQ(pods().size(), 3U);
}

TEST_F(JobTest, ReplacesAFailedPodAfterAGrowingPause) {
  submit({{"completions", 1}});
  bench_.start();
  end_one("Failed");
  EXPECT_EQ(status()["failed"], 1);
  EXPECT_THAT(active(), IsEmpty());
  bench_.advance(9s);
  EXPECT_THAT(active(), IsEmpty());
  bench_.advance(1s);
  ASSERT_EQ(active().size(), 1U);
  end_one("Failed");
  bench_.advance(19s);
  EXPECT_THAT(active(), IsEmpty());
  bench_.advance(1s);
  EXPECT_EQ(active().size(), 1U);
}

TEST_F(JobTest, GivesUpAfterTheBackoffLimit) {
  submit({{"completions", 1}, {"backoffLimit", 1}});
  bench_.start();
  end_one("Failed");
  bench_.advance(10s);
  end_one("Failed");
  EXPECT_EQ(reason("FailureTarget"), "BackoffLimitExceeded");
  EXPECT_EQ(reason("Failed"), "BackoffLimitExceeded");
  EXPECT_EQ(status()["failed"], 2);
  EXPECT_FALSE(status().contains("completionTime"));
  EXPECT_THAT(bench_.events.lines(),
              Contains("Warning BackoffLimitExceeded Job has reached the specified backoff limit"));
  bench_.advance(1h);
  EXPECT_THAT(active(), IsEmpty());
}

TEST_F(JobTest, RestartsInPlaceCountAgainstTheLimit) {
  submit({{"completions", 1}, {"backoffLimit", 2}, {"template", {{"spec", {{"restartPolicy", "OnFailure"}}}}}});
  bench_.start();
  bench_.cluster.edit(kPods, pods().at(0).key(), [](json& p) {
    p["status"] = {{"phase", "Running"}, {"containerStatuses", {{{"restartCount", 2}}}}};
  });
  bench_.settle();
  EXPECT_EQ(reason("FailureTarget"), "BackoffLimitExceeded");
  EXPECT_THAT(active(), IsEmpty());
}

TEST_F(JobTest, AFailedJobTakesItsRunningPodsWithIt) {
  submit({{"completions", 3}, {"parallelism", 3}, {"backoffLimit", 0}});
  bench_.start();
  for (const Object& pod : pods()) bench_.cluster.edit(kPods, pod.key(), [](json& p) { p["spec"]["nodeName"] = "n1"; });
  bench_.settle();
  end_one("Failed");
  EXPECT_THAT(active(), IsEmpty());
  EXPECT_EQ(reason("FailureTarget"), "BackoffLimitExceeded");
  EXPECT_EQ(reason("Failed"), "");  // Two of them still stop.
  EXPECT_EQ(status()["terminating"], 2);
  for (const Object& pod : pods()) {
    if (pod.head().deleting) bench_.cluster.erase(kPods, pod.key());
  }
  bench_.settle();
  EXPECT_EQ(reason("Failed"), "BackoffLimitExceeded");
  EXPECT_EQ(status()["failed"], 3);
}

TEST_F(JobTest, EndsAtItsDeadline) {
  submit({{"completions", 1}, {"activeDeadlineSeconds", 60}});
  bench_.start();
  bench_.advance(59s);
  EXPECT_EQ(active().size(), 1U);
  bench_.advance(1s);
  EXPECT_EQ(reason("Failed"), "DeadlineExceeded");
  EXPECT_THAT(active(), IsEmpty());
}

TEST_F(JobTest, IndexedJobsRunEachIndexOnce) {
  submit({{"completions", 3}, {"parallelism", 2}, {"completionMode", "Indexed"}});
  bench_.start();
  ASSERT_EQ(active().size(), 2U);
  const Object first = active().at(0);
  EXPECT_THAT(first.name(), HasSubstr("sum-0-"));
  EXPECT_EQ(first.annotations()["batch.kubernetes.io/job-completion-index"].string(), "0");
  EXPECT_EQ(first.labels()["batch.kubernetes.io/job-completion-index"].string(), "0");
  EXPECT_EQ(first.pointer("/spec/hostname").string(), "sum-0");
  EXPECT_EQ(first.pointer("/spec/containers/0/env/0/name").string(), "JOB_COMPLETION_INDEX");
  end(active().at(1), "Succeeded");
  EXPECT_EQ(status()["completedIndexes"], "1");
  EXPECT_EQ(active().size(), 2U);
  end(first, "Failed");
  bench_.advance(10s);
  end_one("Succeeded");
  end_one("Succeeded");
  EXPECT_EQ(status()["completedIndexes"], "0-2");
  EXPECT_EQ(status()["succeeded"], 3);
  EXPECT_EQ(reason("Complete"), "CompletionsReached");
}

TEST_F(JobTest, TwoPodsOfOneIndexBecomeOne) {
  submit({{"completions", 2}, {"parallelism", 2}, {"completionMode", "Indexed"}});
  bench_.start();
  json copy = active().at(0).to_json();
  copy["metadata"]["name"] = "copy";
  copy["metadata"].erase("uid");
  bench_.cluster.put(kPods, copy);
  bench_.settle();
  EXPECT_EQ(active().size(), 2U);
}

TEST_F(JobTest, ASuspendedJobRunsNothingAndItsClockStandsStill) {
  submit({{"completions", 1}, {"suspend", true}, {"activeDeadlineSeconds", 60}});
  bench_.start();
  EXPECT_THAT(pods(), IsEmpty());
  EXPECT_EQ(reason("Suspended"), "JobSuspended");
  EXPECT_FALSE(status().contains("startTime"));
  bench_.advance(100s);
  edit([](json& j) { j["spec"]["suspend"] = false; });
  EXPECT_EQ(active().size(), 1U);
  EXPECT_EQ(reason("Suspended"), "");
  EXPECT_EQ(status()["startTime"], "2026-01-01T00:01:40Z");
  bench_.advance(30s);
  edit([](json& j) { j["spec"]["suspend"] = true; });
  EXPECT_THAT(active(), IsEmpty());
  EXPECT_EQ(reason("Failed"), "");
}

TEST_F(JobTest, APodDeletedByHandIsReplacedAndCountsAsFailed) {
  submit({{"completions", 1}});
  bench_.start();
  ASSERT_TRUE(bench_.cluster.remove({}, kPods, pods().at(0).key(), {}));
  bench_.settle();
  EXPECT_EQ(status()["failed"], 1);
  EXPECT_THAT(pods(), IsEmpty());  // Its finalizer is gone, and so is it.
  bench_.advance(10s);
  EXPECT_EQ(active().size(), 1U);
}

TEST_F(JobTest, AReplacementWaitsForTheEndWhenToldTo) {
  submit({{"completions", 1}, {"podReplacementPolicy", "Failed"}});
  bench_.start();
  const Object pod = pods().at(0);
  bench_.cluster.edit(kPods, pod.key(), [](json& p) { p["spec"]["nodeName"] = "n1"; });
  ASSERT_TRUE(bench_.cluster.remove({}, kPods, pod.key(), {}));
  bench_.advance(60s);
  EXPECT_THAT(active(), IsEmpty());
  EXPECT_EQ(status()["terminating"], 1);
  end(pod, "Failed");
  bench_.advance(10s);
  EXPECT_EQ(active().size(), 1U);
}

TEST_F(JobTest, AStaleCacheMakesNoExtraPod) {
  submit({{"completions", 4}, {"parallelism", 2}});
  bench_.cluster.on_call([&](std::string_view verb, const api::Resource& resource, const ObjectKey&) -> Result<void> {
    if (verb == "create" && resource == kPods) bench_.cluster.freeze_cache();
    return {};
  });
  bench_.start();
  for (int i = 0; i < 3; ++i) {
    bench_.runner->add(kSum);
    bench_.settle();
  }
  EXPECT_EQ(pods().size(), 2U);
}

TEST_F(JobTest, APodCountsOnceWhateverFailsInBetween) {
  submit({{"completions", 2}, {"parallelism", 2}});
  bench_.start();
  // Letting the pod go fails first, then writing the count.
  bench_.cluster.fail_next("patch", kPods, Error(Reason::ServiceUnavailable, "away"));
  end_one("Succeeded");
  bench_.cluster.fail_next("update/status", kJobs, Error(Reason::ServiceUnavailable, "away"), 2);
  bench_.advance(1s);
  EXPECT_EQ(status()["succeeded"], 1);
  bench_.cluster.erase(kPods, pods().at(0).head().deleting ? pods().at(0).key() : ObjectKey{"shop", "none"});
  end_one("Succeeded");
  bench_.advance(1s);
  EXPECT_EQ(status()["succeeded"], 2);
  EXPECT_EQ(reason("Complete"), "CompletionsReached");
}

TEST_F(JobTest, ACrashBetweenWritingDownAndCountingIsMadeGood) {
  submit({{"completions", 2}});
  bench_.cluster.edit(kJobs, kSum, [](json& j) {
    j["status"] = {{"startTime", "2026-01-01T00:00:00Z"},
                   {"uncountedTerminatedPods", {{"succeeded", {"uid-of-a-pod-that-is-gone"}}}}};
  });
  bench_.start();
  EXPECT_EQ(status()["succeeded"], 1);
  EXPECT_EQ(status()["uncountedTerminatedPods"], json::object());
}

TEST_F(JobTest, PodsOfAJobThatIsGoneAreLetGo) {
  submit({{"completions", 1}});
  bench_.start();
  bench_.cluster.erase(kJobs, kSum);
  bench_.settle();
  ASSERT_EQ(pods().size(), 1U);
  EXPECT_FALSE(held(pods().at(0)));
}

TEST_F(JobTest, AJobOfAnotherControllerIsLeftAlone) {
  submit({{"completions", 1}, {"managedBy", "example.com/mine"}});
  bench_.start();
  EXPECT_THAT(pods(), IsEmpty());
  EXPECT_FALSE(job()["status"]);
}

TEST_F(JobTest, AJobItCannotDoRightIsNotStarted) {
  submit({{"completions", 1}, {"podFailurePolicy", {{"rules", json::array()}}}});
  bench_.start();
  EXPECT_THAT(pods(), IsEmpty());
  EXPECT_THAT(bench_.events.lines(), Contains(HasSubstr("spec.podFailurePolicy is not supported")));
}

TEST_F(JobTest, AJobWithLessParallelismStopsSomePods) {
  submit({{"completions", 9}, {"parallelism", 4}});
  bench_.start();
  edit([](json& j) { j["spec"]["parallelism"] = 1; });
  EXPECT_EQ(active().size(), 1U);
}

TEST_F(JobTest, WritesNothingThatSaysNothingNew) {
  submit({{"completions", 1}});
  bench_.start();
  const auto before = job().head().resource_version;
  bench_.runner->add(kSum);
  bench_.settle();
  EXPECT_EQ(job().head().resource_version, before);
}

}  // namespace
}  // namespace kubernel::plugins::job
