// SPDX-License-Identifier: Apache-2.0
#include "core/base/process_metrics.h"

#include <chrono>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

namespace kubernel::core {
namespace {

double sample(const std::string& text, const std::string& name) {
  const auto at = text.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::strtod(text.c_str() + at + name.size() + 2, nullptr);
}

TEST(ProcessMetrics, ShowsThisProcessAfterItsOwnSeries) {
  ProcessMetrics metrics;
  metrics.counter("requests_total", "Requests.", {}).add(1);
  const std::string text = metrics.render();
  EXPECT_EQ(text.rfind("# HELP requests_total", 0), 0U);
  EXPECT_GT(sample(text, "process_resident_memory_bytes"), 1e6);
  EXPECT_LT(sample(text, "process_resident_memory_bytes"), sample(text, "process_virtual_memory_bytes"));
  EXPECT_GE(sample(text, "process_threads"), 1);
  EXPECT_GE(sample(text, "process_open_fds"), 3);
  EXPECT_GE(sample(text, "process_cpu_seconds_total"), 0);
  const auto now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_NEAR(sample(text, "process_start_time_seconds"), now, 60);
}

TEST(SinceExec, IsSmallAndNotNegative) {
  EXPECT_GE(since_exec().count(), 0);
  EXPECT_LT(since_exec(), std::chrono::minutes(1));
}

}  // namespace
}  // namespace kubernel::core
