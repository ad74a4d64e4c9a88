// SPDX-License-Identifier: Apache-2.0
//
// MetricsRegistry: all series of the process, and the text /metrics shows.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/metrics.h>

namespace kubernel::core {

class MetricsRegistry final : public Metrics {
 public:
  MetricsRegistry();
  ~MetricsRegistry() override;

  Counter& counter(std::string_view name, std::string_view help, const MetricLabels& labels) override;
  Gauge& gauge(std::string_view name, std::string_view help, const MetricLabels& labels) override;
  Histogram& histogram(std::string_view name, std::string_view help, std::span<const double> buckets,
                       const MetricLabels& labels) override;
  // Families in order of name, series in order of labels.
  std::string render() const override;

 private:
  struct Series;
  struct Family;
  Series& series(std::string_view type, std::string_view name, std::string_view help, std::span<const double> buckets,
                 const MetricLabels& labels);

  mutable std::mutex mutex_;
  std::map<std::string, Family, std::less<>> families_;
};

}  // namespace kubernel::core
