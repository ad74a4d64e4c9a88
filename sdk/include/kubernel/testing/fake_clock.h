// SPDX-License-Identifier: Apache-2.0
//
// FakeClock, InlineExecutor and the other stand-ins for the process's surroundings that make a test deterministic.

#pragma once

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>
#include <kubernel/base/random.h>

namespace kubernel::testing {

/// Time that moves only when a test says so. Starts at 2026-01-01T00:00:00Z. Timers fire inside advance(), in order of
/// their due times. A timer already due fires at the next advance(), also advance(0).
///
/// Threads: all members may be called concurrently.
class FakeClock final : public Clock {
 public:
  FakeClock();
  ~FakeClock() override;

  TimePoint now() const override;
  WallTime wall_now() const override;
  std::unique_ptr<Subscription> call_at(TimePoint due, std::function<void()> callback) override;

  void advance(std::chrono::nanoseconds by);
  /// Makes calendar time jump, as an operator or NTP would.
  void set_wall(WallTime wall);
  std::optional<TimePoint> next_timer() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Keeps tasks until run_all(), which runs them on the caller's thread, and the tasks they submit. Threads: submit()
/// from any.
class ManualExecutor final : public Executor {
 public:
  Result<void> submit(std::function<void()> task) override;
  /// Returns how many ran.
  std::size_t run_all();
  std::size_t pending() const;

 private:
  mutable std::mutex mutex_;
  std::deque<std::function<void()>> tasks_;
};

/// Refuses every descriptor: for backends that wait for none.
class NoPoller final : public Poller {
 public:
  Result<std::unique_ptr<Subscription>> when_readable(int, std::function<void()>) override {
    return Error(Reason::BadRequest, "this test has no poller");
  }
};

/// A seeded source (splitmix64): the same seed gives the same sequence.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() override;

 private:
  std::mutex mutex_;
  std::uint64_t state_;
};

/// Keeps log lines for a test to look at: "warning: message key=value".
class RecordingLogger final : public Logger {
 public:
  bool enabled(LogLevel) const override { return true; }
  void write(LogLevel level, std::string_view message, const std::vector<LogField>& fields) override;
  std::vector<std::string> lines() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

/// Series that can be read back by name and labels ("requests_total{code=\"200\"}"); 0 when there is none.
class RecordingMetrics final : public Metrics {
 public:
  RecordingMetrics();
  ~RecordingMetrics();
  Counter& counter(std::string_view name, std::string_view help, const MetricLabels& labels) override;
  Gauge& gauge(std::string_view name, std::string_view help, const MetricLabels& labels) override;
  Histogram& histogram(std::string_view name, std::string_view help, std::span<const double> buckets,
                       const MetricLabels& labels) override;
  std::string render() const override;
  /// A counter's or gauge's value, a histogram's number of observations.
  double value(std::string_view series) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kubernel::testing
