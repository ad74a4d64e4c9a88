// SPDX-License-Identifier: Apache-2.0
#include "schema/table/pod_columns.h"

#include <optional>

namespace kubernel::schema::table {

using api::Value;

namespace {

bool is_restartable_init(Value container) {
  return container["restartPolicy"].string() == "Always";
}

Value init_container(Value pod, std::string_view name) {
  for (const Value container : pod["spec"]["initContainers"]) {
    if (container["name"].string() == name) return container;
  }
  return {};
}

std::string terminated_text(Value terminated) {
  if (const auto reason = terminated["reason"].string(); !reason.empty()) return std::string(reason);
  if (const auto signal = terminated["signal"].integer(); signal != 0) return "Signal:" + std::to_string(signal);
  return "ExitCode:" + std::to_string(terminated["exitCode"].integer());
}

// What one pass over the containers finds out; the Status, Ready and Restarts columns share it.
struct Summary {
  std::int64_t total = 0;
  std::int64_t ready = 0;
  std::int64_t restarts = 0;
  std::optional<api::WallTime> last_restart;
  std::string status;
};

void note_restart(Summary& summary, Value container_status) {
  summary.restarts += container_status["restartCount"].integer();
  const auto finished = api::read_time(container_status["lastState"]["terminated"]["finishedAt"]);
  if (finished && (!summary.last_restart || *finished > *summary.last_restart)) summary.last_restart = finished;
}

// Restartable init containers that run do not keep the pod initializing. Returns whether it still is.
bool summarize_init(Value pod, Summary& summary) {
  Summary sidecars;
  const std::size_t count = pod["spec"]["initContainers"].size();
  std::size_t index = 0;
  bool initializing = false;
  Summary during;
  for (const Value status : pod["status"]["initContainerStatuses"]) {
    note_restart(during, status);
    const bool restartable = is_restartable_init(init_container(pod, status["name"].string()));
    if (restartable) note_restart(sidecars, status);
    const Value terminated = status["state"]["terminated"];
    const Value waiting = status["state"]["waiting"];
    if (terminated && terminated["exitCode"].integer() == 0) {
      ++index;
      continue;
    }
    if (restartable && status["started"].boolean()) {
      if (status["ready"].boolean()) ++summary.ready;
      ++index;
      continue;
    }
    if (terminated) {
      summary.status = "Init:" + terminated_text(terminated);
    } else if (const auto reason = waiting["reason"].string(); !reason.empty() && reason != "PodInitializing") {
      summary.status = "Init:" + std::string(reason);
    } else {
      summary.status = "Init:" + std::to_string(index) + "/" + std::to_string(count);
    }
    initializing = true;
    break;
  }
  const Summary& counted = initializing ? during : sidecars;
  summary.restarts = counted.restarts;
  summary.last_restart = counted.last_restart;
  return initializing;
}

bool pod_is_ready(Value pod) {
  for (const Value condition : pod["status"]["conditions"]) {
    if (condition["type"].string() == "Ready") return condition["status"].string() == "True";
  }
  return false;
}

void summarize_containers(Value pod, Summary& summary) {
  bool running = false;
  const Value statuses = pod["status"]["containerStatuses"];
  for (std::size_t i = statuses.size(); i-- > 0;) {
    const Value status = statuses.at(i);
    note_restart(summary, status);
    const Value state = status["state"];
    if (const auto reason = state["waiting"]["reason"].string(); !reason.empty()) {
      summary.status = std::string(reason);
    } else if (state["terminated"]) {
      summary.status = terminated_text(state["terminated"]);
    } else if (state["running"] && status["ready"].boolean()) {
      running = true;
      ++summary.ready;
    }
  }
  if (summary.status == "Completed" && running) summary.status = pod_is_ready(pod) ? "Running" : "NotReady";
}

Summary summarize(Value pod) {
  Summary summary;
  summary.total = static_cast<std::int64_t>(pod["spec"]["containers"].size());
  for (const Value container : pod["spec"]["initContainers"]) summary.total += is_restartable_init(container) ? 1 : 0;

  const std::string phase(pod["status"]["phase"].string());
  const std::string reason(pod["status"]["reason"].string());
  summary.status = reason.empty() ? phase : reason;
  for (const Value condition : pod["status"]["conditions"]) {
    const bool scheduled = condition["type"].string() == "PodScheduled";
    if (scheduled && condition["reason"].string() == "SchedulingGated") summary.status = "SchedulingGated";
  }
  if (!summarize_init(pod, summary)) summarize_containers(pod, summary);

  const bool terminal = phase == "Failed" || phase == "Succeeded";
  if (pod["metadata"]["deletionTimestamp"]) {
    if (reason == "NodeLost") {
      summary.status = "Unknown";
    } else if (!terminal) {
      summary.status = "Terminating";
    }
  }
  return summary;
}

}  // namespace

nlohmann::json pod_ready(const Row& row) {
  const Summary summary = summarize(row.body);
  return std::to_string(summary.ready) + "/" + std::to_string(summary.total);
}

nlohmann::json pod_status(const Row& row) {
  return summarize(row.body).status;
}

nlohmann::json pod_restarts(const Row& row) {
  const Summary summary = summarize(row.body);
  std::string out = std::to_string(summary.restarts);
  if (summary.restarts > 0 && summary.last_restart) {
    out += " (" + api::human_duration(row.now - *summary.last_restart) + " ago)";
  }
  return out;
}

nlohmann::json pod_readiness_gates(const Row& row) {
  const Value gates = row.body["spec"]["readinessGates"];
  if (gates.empty()) return "<none>";
  std::size_t true_gates = 0;
  for (const Value gate : gates) {
    if (condition(row, gate["conditionType"].string())["status"].string() == "True") ++true_gates;
  }
  return std::to_string(true_gates) + "/" + std::to_string(gates.size());
}

}  // namespace kubernel::schema::table
