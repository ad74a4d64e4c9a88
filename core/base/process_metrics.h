// SPDX-License-Identifier: Apache-2.0
//
// ProcessMetrics: a registry that also shows the process itself, as Prometheus' own libraries do.

#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "core/base/metrics_registry.h"

namespace kubernel::core {

// process_resident_memory_bytes, process_virtual_memory_bytes, process_cpu_seconds_total, process_open_fds,
// process_threads, process_start_time_seconds: read when render() is called.
class ProcessMetrics final : public Metrics {
 public:
  Counter& counter(std::string_view name, std::string_view help, const MetricLabels& labels) override {
    return registry_.counter(name, help, labels);
  }
  Gauge& gauge(std::string_view name, std::string_view help, const MetricLabels& labels) override {
    return registry_.gauge(name, help, labels);
  }
  Histogram& histogram(std::string_view name, std::string_view help, std::span<const double> buckets,
                       const MetricLabels& labels) override {
    return registry_.histogram(name, help, buckets, labels);
  }
  std::string render() const override;

 private:
  MetricsRegistry registry_;
};

// How long ago the kernel started this process, in steps of a clock tick (usually 10 ms), rounded up.
std::chrono::milliseconds since_exec();

}  // namespace kubernel::core
