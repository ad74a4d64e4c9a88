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
#include <tuple>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/metrics.h>
#include <kubernel/scheduler/framework.h>

#include "settings.h"

namespace kubernel::plugins {

enum class Outcome : std::uint8_t { Scheduled, Unschedulable, Error };
enum class PointStatus : std::uint8_t { Success, Unschedulable, Error };
enum class PluginStatus : std::uint8_t { Success, Unschedulable, Unresolvable, Wait, Skip, Error };

// Upstream's word for what a plugin said.
PluginStatus status_of(const Result<scheduler::Verdict>& verdict);

// Of one profile. Threads: all members may be called concurrently.
class ProfileMetrics {
 public:
  // `plugins`: their names, by index.
  ProfileMetrics(Metrics& metrics, const std::string& profile, const std::vector<std::string>& plugins);

  void attempt(Outcome outcome, std::chrono::nanoseconds took) const;
  void point(Point point, PointStatus status, std::chrono::nanoseconds took) const;
  // A plugin had its say on a pod, at PreFilter, Filter, PreScore or Score.
  void evaluated(Point point, std::size_t plugin) const;
  // Of a sample of calls.
  void plugin_took(Point point, std::size_t plugin, PluginStatus status, std::chrono::nanoseconds took) const;
  // What a hint said of an event (its label, which lives as long as the process), and how long it took.
  void hinted(std::size_t plugin, std::string_view event, bool helps, std::chrono::nanoseconds took) const;
  // Pods that sleep because of the plugin.
  void refused(std::size_t plugin, std::size_t pods) const;

 private:
  struct Attempts {
    Counter* count = nullptr;
    Histogram* duration = nullptr;
  };
  std::array<Attempts, 3> attempts_;
  std::array<std::array<Histogram*, 3>, kPoints> points_{};
  Metrics& metrics_;
  const std::vector<std::string> plugins_;
  std::array<std::vector<Counter*>, kPoints> evaluations_;  // By plugin; empty where upstream counts none.
  std::vector<Gauge*> refused_;
  mutable std::mutex mutex_;  // Guards what is below.
  mutable std::map<std::tuple<Point, std::size_t, PluginStatus>, Histogram*> plugin_durations_;
  // By plugin, event and answer. Thousands of sleeping pods may be asked about one event, so that the event is known by
  // where its label is.
  mutable std::map<std::tuple<std::size_t, const char*, bool>, Histogram*> hint_durations_;
};

// Of the whole scheduler. Threads: all members may be called concurrently.
class SchedulerMetrics {
 public:
  explicit SchedulerMetrics(Metrics& metrics);

  void incoming(std::string_view queue, std::string_view event);
  void permit_waited(std::string_view result, std::chrono::nanoseconds waited);
  // From first seen to bound.
  void scheduled(int attempts, std::chrono::nanoseconds took);
  void handled(std::string_view event, std::chrono::nanoseconds took);

  Histogram& algorithm_duration;
  Gauge& active;
  Gauge& backoff;
  Gauge& unschedulable;
  Gauge& gated;
  Gauge& cached_nodes;
  Gauge& cached_pods;
  Gauge& assumed_pods;
  Gauge& binding;  // Bindings under way.

 private:
  Metrics& metrics_;
  Histogram& pod_attempts_;
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Counter*> incoming_;  // By queue and event.
  std::map<std::string, Histogram*, std::less<>> handled_;            // By event.
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
