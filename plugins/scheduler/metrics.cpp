// SPDX-License-Identifier: Apache-2.0
#include "metrics.h"

#include <vector>

namespace kubernel::plugins {
namespace {

std::vector<double> exponential(double start, double factor, int count) {
  std::vector<double> out;
  for (double bound = start; count > 0; --count, bound *= factor) out.push_back(bound);
  return out;
}

constexpr std::array<const char*, 3> kOutcomes = {"scheduled", "unschedulable", "error"};
constexpr std::array<const char*, 3> kStatuses = {"Success", "Unschedulable", "Error"};
// Upstream's labels of extension points, in the order of Point.
constexpr std::array<const char*, kPoints> kPointLabels = {"PreEnqueue", "QueueSort", "PreFilter", "Filter",  "PostFilter", "PreScore",
                                                           "Score",      "Reserve",   "Permit",    "PreBind", "Bind",       "PostBind"};

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

Gauge& pending(Metrics& metrics, const char* queue) {
  return metrics.gauge("scheduler_pending_pods",
                       "Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' means number of pods in backoffQ; "
                       "'unschedulable' means number of pods in unschedulablePods that the scheduler attempted to schedule and failed; 'gated' is the "
                       "number of unschedulable pods that the scheduler never attempted to schedule because they are gated.",
                       {{"queue", queue}});
}

}  // namespace

ProfileMetrics::ProfileMetrics(Metrics& metrics, const std::string& profile) {
  const auto attempt_buckets = exponential(0.001, 2, 15);
  for (std::size_t i = 0; i < attempts_.size(); ++i) {
    const MetricLabels labels = {{"profile", profile}, {"result", kOutcomes[i]}};
    attempts_[i].count = &metrics.counter("scheduler_schedule_attempts_total",
                                          "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, "
                                          "while 'error' means an internal scheduler problem.",
                                          labels);
    attempts_[i].duration = &metrics.histogram("scheduler_scheduling_attempt_duration_seconds",
                                               "Scheduling attempt latency in seconds (scheduling algorithm + binding)", attempt_buckets, labels);
  }
  const auto point_buckets = exponential(0.0001, 2, 12);
  for (std::size_t i = 0; i < kPoints; ++i) {
    for (std::size_t status = 0; status < kStatuses.size(); ++status) {
      points_[i][status] = &metrics.histogram("scheduler_framework_extension_point_duration_seconds",
                                              "Latency for running all plugins of a specific extension point.", point_buckets,
                                              {{"extension_point", kPointLabels[i]}, {"profile", profile}, {"status", kStatuses[status]}});
    }
  }
}

void ProfileMetrics::attempt(Outcome outcome, std::chrono::nanoseconds took) const {
  const Attempts& attempts = attempts_[static_cast<std::size_t>(outcome)];
  attempts.count->add(1);
  attempts.duration->observe(seconds(took));
}

void ProfileMetrics::point(Point point, PointStatus status, std::chrono::nanoseconds took) const {
  points_[static_cast<std::size_t>(point)][static_cast<std::size_t>(status)]->observe(seconds(took));
}

SchedulerMetrics::SchedulerMetrics(Metrics& metrics)
    : algorithm_duration(metrics.histogram("scheduler_scheduling_algorithm_duration_seconds", "Scheduling algorithm latency in seconds",
                                           exponential(0.001, 2, 15), {})),
      pod_attempts(metrics.histogram("scheduler_pod_scheduling_attempts", "Number of attempts to successfully schedule a pod.",
                                     exponential(1, 2, 5), {})),
      sli_duration(metrics.histogram("scheduler_pod_scheduling_sli_duration_seconds",
                                     "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve "
                                     "multiple scheduling attempts.",
                                     exponential(0.01, 2, 20), {})),
      active(pending(metrics, "active")),
      backoff(pending(metrics, "backoff")),
      unschedulable(pending(metrics, "unschedulable")),
      gated(pending(metrics, "gated")),
      metrics_(metrics) {}

void SchedulerMetrics::incoming(std::string_view queue, std::string_view event) {
  const std::lock_guard lock(mutex_);
  Counter*& counter = incoming_[{std::string(queue), std::string(event)}];
  if (counter == nullptr) {
    counter = &metrics_.counter("scheduler_queue_incoming_pods_total", "Number of pods added to scheduling queues by event and queue type.",
                                {{"event", std::string(event)}, {"queue", std::string(queue)}});
  }
  counter->add(1);
}

void SchedulerMetrics::permit_waited(std::string_view result, std::chrono::nanoseconds waited) {
  metrics_.histogram("scheduler_permit_wait_duration_seconds", "Duration of waiting on permit.", exponential(0.001, 2, 15),
                     {{"result", std::string(result)}})
      .observe(seconds(waited));
}

}  // namespace kubernel::plugins
