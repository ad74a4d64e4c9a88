// SPDX-License-Identifier: Apache-2.0
#include "core/base/metrics_registry.h"

#include <array>

#include <gtest/gtest.h>

namespace kubernel::core {
namespace {

TEST(MetricsRegistry, ShowsCountersAndGaugesInOrder) {
  MetricsRegistry metrics;
  metrics.gauge("queue_length", "Waiting.", {}).set(2.5);
  metrics.counter("requests_total", "Requests.", {{"code", "500"}}).add(1);
  metrics.counter("requests_total", "Requests.", {{"code", "200"}}).add(3);
  EXPECT_EQ(metrics.render(),
            "# HELP queue_length Waiting.\n# TYPE queue_length gauge\nqueue_length 2.5\n"
            "# HELP requests_total Requests.\n# TYPE requests_total counter\n"
            "requests_total{code=\"200\"} 3\nrequests_total{code=\"500\"} 1\n");
}

TEST(MetricsRegistry, TheSameNameAndLabelsAreTheSameSeries) {
  MetricsRegistry metrics;
  EXPECT_EQ(&metrics.counter("a", "", {{"x", "1"}}), &metrics.counter("a", "", {{"x", "1"}}));
  EXPECT_NE(&metrics.counter("a", "", {{"x", "1"}}), &metrics.counter("a", "", {{"x", "2"}}));
}

TEST(MetricsRegistry, AHistogramCountsCumulatively) {
  MetricsRegistry metrics;
  const std::array bounds = {0.1, 1.0};
  Histogram& h = metrics.histogram("seconds", "Time.", bounds, {{"verb", "get"}});
  h.observe(0.05);
  h.observe(0.1);
  h.observe(0.5);
  h.observe(7);
  EXPECT_EQ(
      metrics.render(),
      "# HELP seconds Time.\n# TYPE seconds histogram\n"
      "seconds_bucket{verb=\"get\",le=\"0.1\"} 2\nseconds_bucket{verb=\"get\",le=\"1\"} 3\n"
      "seconds_bucket{verb=\"get\",le=\"+Inf\"} 4\nseconds_sum{verb=\"get\"} 7.65\nseconds_count{verb=\"get\"} 4\n");
}

TEST(MetricsRegistry, EscapesLabelValuesAndHelp) {
  MetricsRegistry metrics;
  metrics.counter("a", "one\\two\nthree \"four\"", {{"x", "q\"b\\n\n"}}).add(1);
  EXPECT_EQ(metrics.render(), "# HELP a one\\\\two\\nthree \"four\"\n# TYPE a counter\na{x=\"q\\\"b\\\\n\\n\"} 1\n");
}

TEST(MetricsRegistryDeathTest, OneNameWithTwoTypesEndsTheProcess) {
  MetricsRegistry metrics;
  metrics.counter("a", "", {});
  EXPECT_DEATH(metrics.gauge("a", "", {}), "metric a is a counter and was asked for as a gauge");
}

}  // namespace
}  // namespace kubernel::core
