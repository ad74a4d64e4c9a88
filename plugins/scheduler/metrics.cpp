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
constexpr std::array<const char*, 6> kPluginStatuses = {"Success", "Unschedulable", "UnschedulableAndUnresolvable",
                                                        "Wait",    "Skip",          "Error"};
constexpr std::array<const char*, 3> kStatuses = {"Success", "Unschedulable", "Error"};
// Upstream's labels of extension points, in the order of Point.
constexpr std::array<const char*, kPoints> kPointLabels = {"PreEnqueue", "QueueSort", "PreFilter", "Filter",
                                                           "PostFilter", "PreScore",  "Score",     "Reserve",
                                                           "Permit",     "PreBind",   "Bind",      "PostBind"};

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

Gauge& pending(Metrics& metrics, const char* queue) {
  return metrics.gauge(
      "scheduler_pending_pods",
      "Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' means number of "
      "pods in backoffQ; "
      "'unschedulable' means number of pods in unschedulablePods that the scheduler attempted to schedule and failed; "
      "'gated' is the "
      "number of unschedulable pods that the scheduler never attempted to schedule because they are gated.",
      {{"queue", queue}});
}

Gauge& cached(Metrics& metrics, const char* type) {
  return metrics.gauge("scheduler_cache_size",
                       "Number of nodes, pods, and assumed (bound) pods in the scheduler cache.", {{"type", type}});
}

}  // namespace

PluginStatus status_of(const Result<scheduler::Verdict>& verdict) {
  if (!verdict) return PluginStatus::Error;
  switch (verdict->kind()) {
    case scheduler::Verdict::Kind::Fits: return PluginStatus::Success;
    case scheduler::Verdict::Kind::Unschedulable: return PluginStatus::Unschedulable;
    case scheduler::Verdict::Kind::Unresolvable: return PluginStatus::Unresolvable;
    case scheduler::Verdict::Kind::Skip: return PluginStatus::Skip;
    case scheduler::Verdict::Kind::Wait: return PluginStatus::Wait;
  }
  return PluginStatus::Error;
}

ProfileMetrics::ProfileMetrics(Metrics& metrics, const std::string& profile, const std::vector<std::string>& plugins)
    : metrics_(metrics), plugins_(plugins) {
  for (const std::string& plugin : plugins) {
    for (const Point point : {Point::PreFilter, Point::Filter, Point::PreScore, Point::Score}) {
      const char* const label = kPointLabels[static_cast<std::size_t>(point)];
      evaluations_[static_cast<std::size_t>(point)].push_back(
          &metrics.counter("scheduler_plugin_evaluation_total",
                           "Number of attempts to schedule pods by each plugin and the extension point (available only "
                           "in PreFilter, Filter, PreScore, and Score).",
                           {{"extension_point", label}, {"plugin", plugin}, {"profile", profile}}));
    }
    refused_.push_back(
        &metrics.gauge("scheduler_unschedulable_pods",
                       "The number of unschedulable pods broken down by plugin name. A pod will increment the gauge "
                       "for all plugins that "
                       "caused it to not schedule and so this metric have meaning only when broken down by plugin.",
                       {{"plugin", plugin}, {"profile", profile}}));
  }
  const auto attempt_buckets = exponential(0.001, 2, 15);
  for (std::size_t i = 0; i < attempts_.size(); ++i) {
    const MetricLabels labels = {{"profile", profile}, {"result", kOutcomes[i]}};
    attempts_[i].count = &metrics.counter(
        "scheduler_schedule_attempts_total",
        "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, "
        "while 'error' means an internal scheduler problem.",
        labels);
    attempts_[i].duration = &metrics.histogram("scheduler_scheduling_attempt_duration_seconds",
                                               "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
                                               attempt_buckets, labels);
  }
  const auto point_buckets = exponential(0.0001, 2, 12);
  for (std::size_t i = 0; i < kPoints; ++i) {
    for (std::size_t status = 0; status < kStatuses.size(); ++status) {
      points_[i][status] = &metrics.histogram(
          "scheduler_framework_extension_point_duration_seconds",
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

void ProfileMetrics::evaluated(Point point, std::size_t plugin) const {
  const auto& counters = evaluations_[static_cast<std::size_t>(point)];
  if (plugin < counters.size()) counters[plugin]->add(1);
}

void ProfileMetrics::refused(std::size_t plugin, std::size_t pods) const {
  if (plugin < refused_.size()) refused_[plugin]->set(static_cast<double>(pods));
}

void ProfileMetrics::plugin_took(Point point, std::size_t plugin, PluginStatus status,
                                 std::chrono::nanoseconds took) const {
  if (plugin >= plugins_.size()) return;
  const std::lock_guard lock(mutex_);
  Histogram*& histogram = plugin_durations_[{point, plugin, status}];
  if (histogram == nullptr) {
    histogram = &metrics_.histogram("scheduler_plugin_execution_duration_seconds",
                                    "Duration for running a plugin at a specific extension point.",
                                    exponential(0.00001, 1.5, 20),
                                    {{"extension_point", kPointLabels[static_cast<std::size_t>(point)]},
                                     {"plugin", plugins_[plugin]},
                                     {"status", kPluginStatuses[static_cast<std::size_t>(status)]}});
  }
  histogram->observe(seconds(took));
}

void ProfileMetrics::hinted(std::size_t plugin, std::string_view event, bool helps,
                            std::chrono::nanoseconds took) const {
  if (plugin >= plugins_.size()) return;
  const std::lock_guard lock(mutex_);
  Histogram*& histogram = hint_durations_[{plugin, event.data(), helps}];
  if (histogram == nullptr) {
    histogram = &metrics_.histogram(
        "scheduler_queueing_hint_execution_duration_seconds",
        "Duration for running a queueing hint function of a plugin.", exponential(0.00001, 1.5, 20),
        {{"event", std::string(event)}, {"hint", helps ? "Queue" : "QueueSkip"}, {"plugin", plugins_[plugin]}});
  }
  histogram->observe(seconds(took));
}

SchedulerMetrics::SchedulerMetrics(Metrics& metrics)
    : algorithm_duration(metrics.histogram("scheduler_scheduling_algorithm_duration_seconds",
                                           "Scheduling algorithm latency in seconds", exponential(0.001, 2, 15), {})),
      active(pending(metrics, "active")),
      backoff(pending(metrics, "backoff")),
      unschedulable(pending(metrics, "unschedulable")),
      gated(pending(metrics, "gated")),
      cached_nodes(cached(metrics, "nodes")),
      cached_pods(cached(metrics, "pods")),
      assumed_pods(cached(metrics, "assumed_pods")),
      binding(metrics.gauge("scheduler_goroutines",
                            "Number of running goroutines split by the work they do such as binding.",
                            {{"operation", "binding"}})),
      metrics_(metrics),
      pod_attempts_(metrics.histogram("scheduler_pod_scheduling_attempts",
                                      "Number of attempts to successfully schedule a pod.", exponential(1, 2, 5), {})) {
}

void SchedulerMetrics::incoming(std::string_view queue, std::string_view event) {
  const std::lock_guard lock(mutex_);
  Counter*& counter = incoming_[{std::string(queue), std::string(event)}];
  if (counter == nullptr) {
    counter = &metrics_.counter("scheduler_queue_incoming_pods_total",
                                "Number of pods added to scheduling queues by event and queue type.",
                                {{"event", std::string(event)}, {"queue", std::string(queue)}});
  }
  counter->add(1);
}

void SchedulerMetrics::permit_waited(std::string_view result, std::chrono::nanoseconds waited) {
  metrics_
      .histogram("scheduler_permit_wait_duration_seconds", "Duration of waiting on permit.", exponential(0.001, 2, 15),
                 {{"result", std::string(result)}})
      .observe(seconds(waited));
}

// Many attempts are one series, so that their number stays small.
void SchedulerMetrics::scheduled(int attempts, std::chrono::nanoseconds took) {
  constexpr int kCounted = 15;
  pod_attempts_.observe(attempts);
  metrics_
      .histogram("scheduler_pod_scheduling_sli_duration_seconds",
                 "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might "
                 "involve multiple scheduling attempts.",
                 exponential(0.01, 2, 20),
                 {{"attempts", attempts >= kCounted ? std::to_string(kCounted) + "+" : std::to_string(attempts)}})
      .observe(seconds(took));
}

void SchedulerMetrics::handled(std::string_view event, std::chrono::nanoseconds took) {
  const std::lock_guard lock(mutex_);
  auto known = handled_.find(event);
  if (known == handled_.end()) {
    auto& histogram =
        metrics_.histogram("scheduler_event_handling_duration_seconds", "Event handling latency in seconds.",
                           exponential(0.0001, 2, 12), {{"event", std::string(event)}});
    known = handled_.emplace(event, &histogram).first;
  }
  known->second->observe(seconds(took));
}

}  // namespace kubernel::plugins
