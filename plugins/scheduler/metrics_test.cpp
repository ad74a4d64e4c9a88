// SPDX-License-Identifier: Apache-2.0
//
// The names, types, labels and buckets that dashboards and alerts written for upstream's scheduler rely on.
#include "metrics.h"

#include <set>
#include <sstream>

#include <gmock/gmock.h>

#include "core/base/process_metrics.h"

namespace kubernel::plugins {
namespace {

using namespace std::chrono_literals;

// What /metrics shows of one name.
struct Shown {
  std::string type;
  std::set<std::string> labels;  // Without le.
  std::vector<double> bounds;    // Of a histogram, without +Inf.
};

std::map<std::string, Shown> read(const std::string& text) {
  std::map<std::string, Shown> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string hash, what, name, type;
    if (line.starts_with("# TYPE")) {
      words >> hash >> what >> name >> type;
      out[name].type = type;
      continue;
    }
    if (line.starts_with("#") || line.empty()) continue;
    const auto brace = line.find('{');
    name = line.substr(0, std::min(brace, line.find(' ')));
    for (const char* suffix : {"_bucket", "_sum", "_count"}) {
      const std::string base = name.ends_with(suffix) ? name.substr(0, name.size() - std::string(suffix).size()) : "";
      if (out.contains(base) && out[base].type == "histogram") name = base;
    }
    Shown& shown = out[name];
    for (auto at = brace; at != std::string::npos && line[at] != '}';) {
      const auto equals = line.find("=\"", at);
      const auto end = line.find('"', equals + 2);
      const std::string label = line.substr(at + 1, equals - at - 1);
      const std::string value = line.substr(equals + 2, end - equals - 2);
      if (label != "le") shown.labels.insert(label);
      if (label == "le" && value != "+Inf") {
        const double bound = std::stod(value);
        if (shown.bounds.empty() || bound > shown.bounds.back()) shown.bounds.push_back(bound);
      }
      at = end + 1;
    }
  }
  return out;
}

struct Row {
  std::string name, type;
  std::set<std::string> labels;
  double first = 0, factor = 0;  // Of the buckets.
  std::size_t buckets = 0;
};

// pkg/scheduler/metrics/metrics.go of 1.36. DefaultPreemption's own are in its test. Left out: what belongs to gates
// and features that are not here (batching, the dispatcher of asynchronous API calls, claims made for extended
// resources).
const Row kRows[] = {
    {"scheduler_schedule_attempts_total", "counter", {"profile", "result"}},
    {"scheduler_scheduling_attempt_duration_seconds", "histogram", {"profile", "result"}, 0.001, 2, 15},
    {"scheduler_scheduling_algorithm_duration_seconds", "histogram", {}, 0.001, 2, 15},
    {"scheduler_event_handling_duration_seconds", "histogram", {"event"}, 0.0001, 2, 12},
    {"scheduler_pending_pods", "gauge", {"queue"}},
    {"scheduler_goroutines", "gauge", {"operation"}},
    {"scheduler_pod_scheduling_sli_duration_seconds", "histogram", {"attempts"}, 0.01, 2, 20},
    {"scheduler_pod_scheduling_attempts", "histogram", {}, 1, 2, 5},
    {"scheduler_framework_extension_point_duration_seconds",
     "histogram",
     {"extension_point", "profile", "status"},
     0.0001,
     2,
     12},
    {"scheduler_plugin_execution_duration_seconds",
     "histogram",
     {"extension_point", "plugin", "status"},
     0.00001,
     1.5,
     20},
    {"scheduler_queueing_hint_execution_duration_seconds", "histogram", {"event", "hint", "plugin"}, 0.00001, 1.5, 20},
    {"scheduler_queue_incoming_pods_total", "counter", {"event", "queue"}},
    {"scheduler_permit_wait_duration_seconds", "histogram", {"result"}, 0.001, 2, 15},
    {"scheduler_cache_size", "gauge", {"type"}},
    {"scheduler_unschedulable_pods", "gauge", {"plugin", "profile"}},
    {"scheduler_plugin_evaluation_total", "counter", {"extension_point", "plugin", "profile"}},
};

class UpstreamsMetrics : public ::testing::TestWithParam<Row> {};

TEST_P(UpstreamsMetrics, AreShownUnderTheirNamesWithTheirLabelsAndBuckets) {
  core::ProcessMetrics registry;
  const ProfileMetrics profile(registry, "default-scheduler", {"NodeName"});
  SchedulerMetrics scheduler(registry);
  profile.plugin_took(Point::Filter, 0, PluginStatus::Success, 1us);
  profile.hinted(0, "NodeAdd", true, 1us);
  scheduler.incoming("active", "UnschedulablePodAdd");
  scheduler.permit_waited("Success", 1ms);
  scheduler.scheduled(1, 1ms);
  scheduler.handled("NodeAdd", 1ms);
  const Row& row = GetParam();
  const auto all = read(registry.render());
  ASSERT_TRUE(all.contains(row.name));
  const Shown& shown = all.at(row.name);
  EXPECT_EQ(shown.type, row.type);
  EXPECT_EQ(shown.labels, row.labels);
  ASSERT_EQ(shown.bounds.size(), row.buckets);
  double bound = row.first;
  for (const double is : shown.bounds) {
    EXPECT_NEAR(is, bound, bound / 1e6);
    bound *= row.factor;
  }
}

INSTANTIATE_TEST_SUITE_P(Names, UpstreamsMetrics, ::testing::ValuesIn(kRows),
                         [](const auto& test) { return test.param.name; });

TEST(SchedulerMetrics, ManyAttemptsAreOneSeries) {
  core::ProcessMetrics registry;
  SchedulerMetrics metrics(registry);
  metrics.scheduled(14, 1ms);
  metrics.scheduled(15, 1ms);
  metrics.scheduled(99, 1ms);
  const std::string text = registry.render();
  EXPECT_THAT(text, ::testing::HasSubstr(R"(scheduler_pod_scheduling_sli_duration_seconds_count{attempts="14"} 1)"));
  EXPECT_THAT(text, ::testing::HasSubstr(R"(scheduler_pod_scheduling_sli_duration_seconds_count{attempts="15+"} 2)"));
}

}  // namespace
}  // namespace kubernel::plugins
