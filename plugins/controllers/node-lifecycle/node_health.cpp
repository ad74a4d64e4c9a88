// SPDX-License-Identifier: Apache-2.0
#include "node_health.h"

#include <algorithm>
#include <array>

#include <kubernel/api/time.h>
#include <kubernel/controller/conditions.h>

namespace kubernel::plugins::node_lifecycle {

using api::Object;
using api::Value;
using nlohmann::json;

namespace {

constexpr std::array<std::string_view, 7> kOurs = {kNotReady,
                                                   kUnreachable,
                                                   "node.kubernetes.io/memory-pressure",
                                                   "node.kubernetes.io/disk-pressure",
                                                   "node.kubernetes.io/pid-pressure",
                                                   "node.kubernetes.io/network-unavailable",
                                                   "node.kubernetes.io/unschedulable"};

bool ours(const json& taint) {
  const std::string key = taint.value("key", ""), effect = taint.value("effect", "");
  if (effect == "NoSchedule") return std::ranges::find(kOurs, key) != kOurs.end();
  return effect == "NoExecute" && (key == kNotReady || key == kUnreachable);
}

// What a kubelet changes with each report.
std::string status_text(const Object& node) {
  std::string out;
  for (const Value condition : node.pointer("/status/conditions")) {
    out += std::string(condition["type"].string()) + condition["status"].dump() + condition["lastHeartbeatTime"].dump();
  }
  return out;
}

}  // namespace

std::string ready_status(const Object& node) {
  return std::string(controller::find_condition(node.pointer("/status/conditions"), "Ready")["status"].string());
}

std::vector<std::string> no_schedule_keys(const Object& node) {
  struct Rule {
    const char* condition;
    const char* status;
    std::string_view key;
  };
  static constexpr Rule kRules[] = {{"Ready", "False", kOurs[0]},         {"Ready", "Unknown", kOurs[1]},
                                    {"MemoryPressure", "True", kOurs[2]}, {"DiskPressure", "True", kOurs[3]},
                                    {"PIDPressure", "True", kOurs[4]},    {"NetworkUnavailable", "True", kOurs[5]}};
  std::vector<std::string> out;
  const Value conditions = node.pointer("/status/conditions");
  for (const Rule& rule : kRules) {
    if (controller::find_condition(conditions, rule.condition)["status"].string() == rule.status)
      out.emplace_back(rule.key);
  }
  if (node.pointer("/spec/unschedulable").boolean()) out.emplace_back(kOurs[6]);
  return out;
}

json taints_with(const Object& node, const std::vector<std::string>& no_schedule, std::string_view no_execute,
                 Clock::WallTime now) {
  json out = json::array();
  std::vector<std::pair<std::string, std::string>> missing;
  for (const std::string& key : no_schedule) missing.emplace_back(key, "NoSchedule");
  if (!no_execute.empty()) missing.emplace_back(std::string(no_execute), "NoExecute");
  for (const Value present : node.pointer("/spec/taints")) {
    json taint = present.to_json();
    if (ours(taint)) {
      const auto wanted = std::ranges::find(missing, std::pair(taint.value("key", ""), taint.value("effect", "")));
      if (wanted == missing.end()) continue;
      missing.erase(wanted);
    }
    out.push_back(std::move(taint));
  }
  for (const auto& [key, effect] : missing) {
    out.push_back({{"key", key}, {"effect", effect}, {"timeAdded", api::format_time(now)}});
  }
  return out;
}

json conditions_unknown(const Object& node, Clock::WallTime now) {
  const std::string stamp = api::format_time(now);
  const Value present = node.pointer("/status/conditions");
  json conditions = present.is_array() ? present.to_json() : json::array();
  for (const char* type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}) {
    json* condition = controller::find_condition(conditions, type);
    if (condition == nullptr) {
      conditions.push_back({{"type", type},
                            {"status", "Unknown"},
                            {"reason", "NodeStatusNeverUpdated"},
                            {"message", "Kubelet never posted node status."},
                            {"lastHeartbeatTime", std::string(node.pointer("/metadata/creationTimestamp").string())},
                            {"lastTransitionTime", stamp}});
    } else if (condition->value("status", "") != "Unknown") {
      (*condition)["status"] = "Unknown";
      (*condition)["reason"] = "NodeStatusUnknown";
      (*condition)["message"] = "Kubelet stopped posting node status.";
      (*condition)["lastTransitionTime"] = stamp;
    }
  }
  return conditions;
}

void NodeHealth::node_seen(const Object& node) {
  const std::lock_guard lock(mutex_);
  const auto [it, first] = records_.try_emplace(node.name());
  std::string status = status_text(node);
  // What we wrote ourselves (Unknown) is no sign of life.
  const bool ours = ready_status(node) == "Unknown";
  if (first || (status != it->second.status && !ours)) it->second.heard = clock_.now();
  it->second.status = std::move(status);
}

void NodeHealth::lease_seen(const Object& lease) {
  const std::lock_guard lock(mutex_);
  Record& record = records_[lease.name()];
  std::string renewed(lease.pointer("/spec/renewTime").string());
  if (record.renewed == renewed) return;
  record.renewed = std::move(renewed);
  record.heard = clock_.now();
}

void NodeHealth::forget(const std::string& node) {
  const std::lock_guard lock(mutex_);
  records_.erase(node);
}

std::chrono::nanoseconds NodeHealth::time_left(const Object& node) {
  const std::lock_guard lock(mutex_);
  const auto [it, first] = records_.try_emplace(node.name());
  if (first) it->second.heard = clock_.now();
  const auto grace = ready_status(node).empty() ? startup_grace_ : monitor_grace_;
  return it->second.heard + grace - clock_.now();
}

}  // namespace kubernel::plugins::node_lifecycle
