// SPDX-License-Identifier: Apache-2.0
//
// What containers use, as the resource metrics endpoint and the summary API say it. Only what was measured appears.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

#include "server/kubelet_server.h"

namespace kubernel::kubelet {

namespace {

using nlohmann::json;

struct Measured {
  std::string container;
  runtime::Usage usage;
  std::optional<Clock::WallTime> started_at;
};

std::vector<Measured> measure(const ServerParts& parts, const api::Object& pod) {
  std::vector<Measured> out;
  for (const auto& container : parts.cache.pod(pod.uid()).containers) {
    if (container.state != runtime::State::Running) continue;
    // One that has just ended has no figures.
    if (const auto usage = parts.runtime.access().usage(parts.tasks.context(), container.id)) {
      out.push_back({container.name, *usage, container.started_at});
    }
  }
  return out;
}

double seconds(std::int64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / 1e9;
}

}  // namespace

std::string resource_metrics(const ServerParts& parts) {
  std::string cpu =
      "# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in "
      "core-seconds\n"
      "# TYPE container_cpu_usage_seconds_total counter\n";
  std::string memory =
      "# HELP container_memory_working_set_bytes [STABLE] Current working set of the container in bytes\n"
      "# TYPE container_memory_working_set_bytes gauge\n";
  std::string pod_cpu =
      "# HELP pod_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the pod in core-seconds\n"
      "# TYPE pod_cpu_usage_seconds_total counter\n";
  std::string pod_memory =
      "# HELP pod_memory_working_set_bytes [STABLE] Current working set of the pod in bytes\n"
      "# TYPE pod_memory_working_set_bytes gauge\n";
  for (const auto& pod : parts.workers.all()) {
    std::int64_t all_cpu = 0, all_memory = 0;
    const auto measured = measure(parts, pod);
    for (const auto& one : measured) {
      const std::string labels =
          fmt::format(R"({{container="{}",namespace="{}",pod="{}"}})", one.container, pod.ns(), pod.name());
      cpu += fmt::format("container_cpu_usage_seconds_total{} {}\n", labels, seconds(one.usage.cpu_nanoseconds));
      memory += fmt::format("container_memory_working_set_bytes{} {}\n", labels, one.usage.memory_working_set_bytes);
      all_cpu += one.usage.cpu_nanoseconds;
      all_memory += one.usage.memory_working_set_bytes;
    }
    if (measured.empty()) continue;
    const std::string labels = fmt::format(R"({{namespace="{}",pod="{}"}})", pod.ns(), pod.name());
    pod_cpu += fmt::format("pod_cpu_usage_seconds_total{} {}\n", labels, seconds(all_cpu));
    pod_memory += fmt::format("pod_memory_working_set_bytes{} {}\n", labels, all_memory);
  }
  return cpu + memory + pod_cpu + pod_memory;
}

std::string stats_summary(const ServerParts& parts) {
  const std::string now = api::format_time(parts.tasks.clock().wall_now());
  json out = json::object();
  out["node"]["nodeName"] = parts.node_name;
  out["pods"] = json::array();
  for (const auto& pod : parts.workers.all()) {
    json entry = json::object();
    entry["podRef"]["name"] = pod.name();
    entry["podRef"]["namespace"] = pod.ns();
    entry["podRef"]["uid"] = pod.uid();
    entry["startTime"] = pod["status"]["startTime"].string();
    entry["containers"] = json::array();
    for (const auto& one : measure(parts, pod)) {
      json container = json::object();
      container["name"] = one.container;
      if (one.started_at) container["startTime"] = api::format_time(*one.started_at);
      container["cpu"]["time"] = now;
      container["cpu"]["usageCoreNanoSeconds"] = one.usage.cpu_nanoseconds;
      container["memory"]["time"] = now;
      container["memory"]["workingSetBytes"] = one.usage.memory_working_set_bytes;
      container["memory"]["rssBytes"] = one.usage.memory_rss_bytes;
      entry["containers"].push_back(std::move(container));
    }
    out["pods"].push_back(std::move(entry));
  }
  return out.dump();
}

}  // namespace kubernel::kubelet
