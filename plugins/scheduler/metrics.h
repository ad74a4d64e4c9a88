// SPDX-License-Identifier: Apache-2.0
//
// The scheduler's series, by upstream's names. Looked up once.
#pragma once

#include <array>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include <kubernel/base/clock.h>
#include <kubernel/base/metrics.h>

#include "settings.h"

namespace kubernel::plugins {

enum class Outcome : std::uint8_t { Scheduled, Unschedulable, Error };
enum class PointStatus : std::uint8_t { Success, Unschedulable, Error };

// Of one profile. Threads: all members may be called concurrently.
class ProfileMetrics {
 public:
  ProfileMetrics(Metrics& metrics, const std::string& profile);

  void attempt(Outcome outcome, std::chrono::nanoseconds took) const;
  void point(Point point, PointStatus status, std::chrono::nanoseconds took) const;

 private:
  struct Attempts {
    Counter* count = nullptr;
    Histogram* duration = nullptr;
  };
  std::array<Attempts, 3> attempts_;
  std::array<std::array<Histogram*, 3>, kPoints> points_{};
};

// Of the whole scheduler. Threads: all members may be called concurrently.
class SchedulerMetrics {
 public:
  explicit SchedulerMetrics(Metrics& metrics);

  void incoming(std::string_view queue, std::string_view event);
  void permit_waited(std::string_view result, std::chrono::nanoseconds waited);

  Histogram& algorithm_duration;
  Histogram& pod_attempts;  // Of pods that were scheduled.
  Histogram& sli_duration;  // From first seen to bound.
  Gauge& active;
  Gauge& backoff;
  Gauge& unschedulable;
  Gauge& gated;

 private:
  Metrics& metrics_;
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Counter*> incoming_;  // By queue and event.
};

// Measures from its making on.
class Stopwatch {
 public:
  explicit Stopwatch(const Clock& clock) : clock_(clock), start_(clock.now()) {}
  std::chrono::nanoseconds elapsed() const { return clock_.now() - start_; }

 private:
  const Clock& clock_;
  const Clock::TimePoint start_;
};

}  // namespace kubernel::plugins
