// SPDX-License-Identifier: Apache-2.0
//
// Metrics: counters, gauges and histograms with labels, shown in Prometheus' text format 0.0.4.
//
// A series is looked up once, when a component starts, and then costs one atomic operation per
// update. Names are upstream's where upstream has the metric.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kubernel/base/export.h>

namespace kubernel {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

/// Threads: all members of these three may be called concurrently.
class KUBERNEL_EXPORT Counter {
 public:
  virtual ~Counter() = default;
  virtual void add(double amount) = 0;  ///< Precondition: amount >= 0.
};
class KUBERNEL_EXPORT Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void set(double value) = 0;
  virtual void add(double amount) = 0;
};
class KUBERNEL_EXPORT Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void observe(double value) = 0;
};

/// Makes series. The same name and labels give the same series; it lives as long as the registry.
/// Using one name with two types ends the process: it is a bug of ours.
///
/// Threads: all members may be called concurrently.
class KUBERNEL_EXPORT Metrics {
 public:
  virtual ~Metrics() = default;
  virtual Counter& counter(std::string_view name, std::string_view help, const MetricLabels& labels) = 0;
  virtual Gauge& gauge(std::string_view name, std::string_view help, const MetricLabels& labels) = 0;
  /// `buckets`: ascending upper bounds; +Inf is added.
  virtual Histogram& histogram(std::string_view name, std::string_view help, std::span<const double> buckets,
                               const MetricLabels& labels) = 0;
  /// All series, text format 0.0.4.
  virtual std::string render() const = 0;
};

}  // namespace kubernel
