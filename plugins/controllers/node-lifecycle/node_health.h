// SPDX-License-Identifier: Apache-2.0
//
// When each node was last heard of, by our own clock: a node's idea of the time does not matter.

#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <kubernel/api/object.h>
#include <kubernel/base/clock.h>

namespace kubernel::plugins::node_lifecycle {

inline constexpr std::string_view kNotReady = "node.kubernetes.io/not-ready";
inline constexpr std::string_view kUnreachable = "node.kubernetes.io/unreachable";

// "True", "False", "Unknown" or "" of a node's Ready condition.
std::string ready_status(const api::Object& node);

// The NoSchedule taints a node's conditions ask for, in a fixed order.
std::vector<std::string> no_schedule_keys(const api::Object& node);

// spec.taints with the NoSchedule taints of ours as `no_schedule`, and not-ready/unreachable NoExecute as `no_execute`
// (one of the two keys, or empty for none). Other taints stay. A taint that is there already keeps its timeAdded.
nlohmann::json taints_with(const api::Object& node, const std::vector<std::string>& no_schedule,
                           std::string_view no_execute, Clock::WallTime now);

// status.conditions with Ready and the pressures Unknown.
nlohmann::json conditions_unknown(const api::Object& node, Clock::WallTime now);

// Threads: all members may be called concurrently.
class NodeHealth {
 public:
  NodeHealth(const Clock& clock, std::chrono::seconds monitor_grace, std::chrono::seconds startup_grace)
      : clock_(clock), monitor_grace_(monitor_grace), startup_grace_(startup_grace) {}

  // A node's status or lease was seen; counts as a sign of life when it changed.
  void node_seen(const api::Object& node);
  void lease_seen(const api::Object& lease);
  void forget(const std::string& node);

  // How long until the node counts as silent; zero or less when it does.
  std::chrono::nanoseconds time_left(const api::Object& node);

 private:
  struct Record {
    Clock::TimePoint heard{};
    std::string status;  // Heartbeats and readiness as last seen.
    std::string renewed;
  };
  const Clock& clock_;
  const std::chrono::seconds monitor_grace_, startup_grace_;
  std::mutex mutex_;
  std::map<std::string, Record> records_;
};

}  // namespace kubernel::plugins::node_lifecycle
