// SPDX-License-Identifier: Apache-2.0
#include "pods/pod_status.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

namespace kubernel::kubelet {

namespace {

using nlohmann::json;
using runtime::ContainerStatus;
using runtime::State;

constexpr std::string_view kUnknownReason = "ContainerStatusUnknown";

std::string time_text(const std::optional<Clock::WallTime>& time) {
  return time ? api::format_time(*time) : std::string();
}

api::Value old_status_of(const api::Object& pod, const ContainerSpec& container) {
  const char* list = container.init ? "initContainerStatuses" : "containerStatuses";
  for (const api::Value status : pod["status"][list]) {
    if (status["name"].string() == container.name) return status;
  }
  return {};
}

json terminated_state(const ContainerStatus& status, const std::string& runtime_name) {
  json out = json::object();
  out["exitCode"] = status.exit_code;
  out["reason"] = !status.reason.empty() ? status.reason : status.exit_code == 0 ? "Completed" : "Error";
  if (!status.message.empty()) out["message"] = status.message;
  if (status.started_at) out["startedAt"] = time_text(status.started_at);
  if (status.finished_at) out["finishedAt"] = time_text(status.finished_at);
  out["containerID"] = runtime_name + "://" + status.id;
  // A container that never ran has no times: the API wants both.
  if (!out.contains("startedAt")) out["startedAt"] = nullptr;
  if (!out.contains("finishedAt")) out["finishedAt"] = nullptr;
  return out;
}

class StatusWriterOf {
 public:
  explicit StatusWriterOf(const StatusInput& in) : in_(in), old_(in.pod["status"]) {}

  json run() {
    json out = old_ ? old_.to_json() : json::object();
    json init = json::array(), apps = json::array();
    for (const ContainerSpec& container : containers_of(in_.pod)) {
      (container.init ? init : apps).push_back(container_status(container));
    }
    out["phase"] = phase(init, apps);
    set_or_erase(out, "reason", in_.reason);
    set_or_erase(out, "message", in_.message);
    if (in_.pod.head().generation > 0) out["observedGeneration"] = in_.pod.head().generation;
    if (!out.contains("startTime")) out["startTime"] = api::format_time(in_.now);
    out["qosClass"] = to_string(qos_class_of(in_.pod));
    if (init.empty()) {
      out.erase("initContainerStatuses");
    } else {
      out["initContainerStatuses"] = init;
    }
    out["containerStatuses"] = apps;
    put_addresses(out);
    put_conditions(out, init, apps);
    return out;
  }

 private:
  static void set_or_erase(json& out, const char* key, const std::string& value) {
    if (value.empty()) {
      out.erase(key);
    } else {
      out[key] = value;
    }
  }

  void put_addresses(json& out) const {
    if (!in_.host_ips.empty()) {
      out["hostIP"] = in_.host_ips.front();
      out["hostIPs"] = json::array();
      for (const auto& ip : in_.host_ips) out["hostIPs"].push_back({{"ip", ip}});
    }
    // A pod that has ended keeps the addresses it had.
    if (in_.pod_ips.empty()) return;
    out["podIP"] = in_.pod_ips.front();
    out["podIPs"] = json::array();
    for (const auto& ip : in_.pod_ips) out["podIPs"].push_back({{"ip", ip}});
  }

  const ContainerFacts& facts(const ContainerSpec& container) const {
    static const ContainerFacts kNone{};
    const auto at = in_.containers.find(container.name);
    return at == in_.containers.end() ? kNone : at->second;
  }

  json waiting_state(const ContainerSpec& container) const {
    const ContainerFacts& known = facts(container);
    json waiting = json::object();
    if (!known.waiting_reason.empty()) {
      waiting["reason"] = known.waiting_reason;
      if (!known.waiting_message.empty()) waiting["message"] = known.waiting_message;
    } else {
      waiting["reason"] = in_.pod["spec"]["initContainers"].empty() ? "ContainerCreating" : "PodInitializing";
    }
    return json{{"waiting", waiting}};
  }

  json container_status(const ContainerSpec& container) const {
    const api::Value old = old_status_of(in_.pod, container);
    const ContainerStatus* status = in_.runtime.newest(container.name);
    json out = json::object();
    out["name"] = container.name;
    out["image"] = container.value["image"].string();
    out["imageID"] = old["imageID"].string();
    out["ready"] = false;
    out["started"] = false;
    out["restartCount"] = old["restartCount"].integer();
    out["lastState"] = old["lastState"] ? old["lastState"].to_json() : json::object();
    if (status == nullptr) {
      put_state_without_record(container, old, out);
    } else {
      put_state(container, *status, old, out);
    }
    return out;
  }

  // The runtime knows nothing of it: it was never made, or its record has been lost.
  void put_state_without_record(const ContainerSpec& container, api::Value old, json& out) const {
    const api::Value terminated = old["state"]["terminated"];
    const bool was_running = static_cast<bool>(old["state"]["running"]);
    if (!was_running && terminated && (in_.terminated || container.runs_to_end())) {
      out["state"] = old["state"].to_json();
      out["containerID"] = old["containerID"].string();
      out["ready"] = container.runs_to_end() && terminated["exitCode"].integer() == 0;
      return;
    }
    const json lost = {{"exitCode", 137},
                       {"reason", kUnknownReason},
                       {"message", "The container could not be located when the pod was terminated"},
                       {"startedAt", nullptr},
                       {"finishedAt", nullptr}};
    if (in_.terminated && was_running) {
      out["state"] = json{{"terminated", lost}};
      return;
    }
    out["state"] = waiting_state(container);
    if (terminated) out["lastState"] = old["state"].to_json();
    if (was_running) {
      out["lastState"] = json{{"terminated", lost}};
      out["lastState"]["terminated"]["message"] =
          "The container could not be located when the pod was deleted.  The container used to be Running";
    }
  }

  void put_state(const ContainerSpec& container, const ContainerStatus& status, api::Value old, json& out) const {
    const ContainerFacts& known = facts(container);
    const std::string id = in_.runtime_name + "://" + status.id;
    out["restartCount"] = status.attempt;
    out["imageID"] = status.image_ref.empty() ? status.image_id : status.image_ref;
    out["containerID"] = id;
    if (const auto* before = in_.runtime.previous(status); before != nullptr && before->state == State::Exited) {
      out["lastState"] = json{{"terminated", terminated_state(*before, in_.runtime_name)}};
    } else if (old["containerID"].string() != id && old["state"]["terminated"]) {
      out["lastState"] = old["state"].to_json();
    }
    if (status.state == State::Running) {
      out["state"] = json{{"running", {{"startedAt", time_text(status.started_at)}}}};
      out["started"] = known.started;
      out["ready"] = !container.runs_to_end() && known.started && known.ready && !(in_.terminated);
    } else if (status.state == State::Exited && !(known.restarting && !in_.terminated)) {
      out["state"] = json{{"terminated", terminated_state(status, in_.runtime_name)}};
      out["ready"] = container.runs_to_end() && status.exit_code == 0;
    } else {
      out["state"] = waiting_state(container);
      if (status.state == State::Exited) {
        out["lastState"] = json{{"terminated", terminated_state(status, in_.runtime_name)}};
      }
    }
  }

  struct Counts {
    int running = 0, waiting = 0, stopped = 0, succeeded = 0, pending_init = 0, failed_init = 0;
  };

  void count_init(const json& init, Counts& counts) const {
    const auto specs = init_containers_of(in_.pod);
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const json& state = init[i]["state"];
      if (specs[i].sidecar) {
        if (!in_.initialized && !init[i]["started"].get<bool>()) ++counts.pending_init;
        continue;
      }
      if (state.contains("terminated")) {
        if (state["terminated"]["exitCode"] != 0) ++counts.failed_init;
      } else if (state.contains("running")) {
        ++counts.pending_init;
      } else {
        const json& last = init[i]["lastState"];
        const bool failed = last.contains("terminated") && last["terminated"]["exitCode"] != 0;
        if (failed) ++counts.failed_init;
        if (!failed || !in_.initialized) ++counts.pending_init;
      }
    }
  }

  std::string phase(const json& init, const json& apps) const {
    if (!in_.forced_phase.empty()) return in_.forced_phase;
    // A pod that has ended does not come back to life.
    if (is_terminal_phase(old_["phase"].string())) return std::string(old_["phase"].string());
    Counts counts;
    count_init(init, counts);
    for (const json& app : apps) {
      const json& state = app["state"];
      if (state.contains("running")) {
        ++counts.running;
      } else if (state.contains("terminated")) {
        ++counts.stopped;
        if (state["terminated"]["exitCode"] == 0) ++counts.succeeded;
      } else if (app["lastState"].contains("terminated")) {
        ++counts.stopped;
      } else {
        ++counts.waiting;
      }
    }
    return phase_of(counts);
  }

  std::string phase_of(const Counts& counts) const {
    const RestartPolicy policy = restart_policy_of(in_.pod);
    if (counts.failed_init > 0 && policy == RestartPolicy::Never) return "Failed";
    if (in_.terminated && counts.running == 0) {
      const bool all_well = counts.stopped > 0 && counts.stopped == counts.succeeded && counts.waiting == 0;
      return all_well ? "Succeeded" : "Failed";
    }
    if (counts.pending_init > 0) return "Pending";
    if (counts.waiting > 0) return counts.stopped > 0 ? "Running" : "Pending";
    if (counts.running > 0) return "Running";
    if (counts.stopped == 0) return "Pending";
    if (policy == RestartPolicy::Always) return "Running";
    if (counts.stopped == counts.succeeded) return "Succeeded";
    return policy == RestartPolicy::Never ? "Failed" : "Running";
  }

  struct Verdict {
    bool good = true;
    std::string reason, message;
  };

  void put_condition(json& conditions, const char* type, const Verdict& verdict) const {
    const char* status = verdict.good ? "True" : "False";
    const auto old =
        std::find_if(conditions.begin(), conditions.end(), [&](const json& c) { return c["type"] == type; });
    json condition = {{"type", type}, {"status", status}, {"lastProbeTime", nullptr}};
    if (!verdict.reason.empty()) condition["reason"] = verdict.reason;
    if (!verdict.message.empty()) condition["message"] = verdict.message;
    if (in_.pod.head().generation > 0) condition["observedGeneration"] = in_.pod.head().generation;
    const bool same = old != conditions.end() && (*old)["status"] == status && old->contains("lastTransitionTime");
    condition["lastTransitionTime"] = same ? (*old)["lastTransitionTime"] : json(api::format_time(in_.now));
    if (old != conditions.end()) {
      *old = std::move(condition);
    } else {
      conditions.push_back(std::move(condition));
    }
  }

  static std::string list_text(const char* what, const std::vector<std::string>& names) {
    std::string out = std::string(what) + ": [";
    for (std::size_t i = 0; i < names.size(); ++i) out += (i == 0 ? "" : " ") + names[i];
    return out + "]";
  }

  Verdict initialized_verdict(const json& init, const std::string& phase) const {
    if (phase == "Succeeded") return {true, "PodCompleted", {}};
    std::vector<std::string> incomplete;
    const auto specs = init_containers_of(in_.pod);
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const bool good =
          specs[i].sidecar ? init[i]["started"].get<bool>() || in_.initialized : init[i]["ready"].get<bool>();
      if (!good && !in_.initialized) incomplete.push_back(specs[i].name);
    }
    if (incomplete.empty()) return {};
    return {false, "ContainersNotInitialized", list_text("containers with incomplete status", incomplete)};
  }

  Verdict containers_verdict(const json& init, const json& apps, const std::string& phase) const {
    if (phase == "Succeeded") return {false, "PodCompleted", {}};
    if (phase == "Failed") return {false, "PodFailed", {}};
    std::vector<std::string> unready;
    const auto specs = init_containers_of(in_.pod);
    for (std::size_t i = 0; i < specs.size(); ++i) {
      if (specs[i].sidecar && !init[i]["ready"].get<bool>()) unready.push_back(specs[i].name);
    }
    for (const json& app : apps) {
      if (!app["ready"].get<bool>()) unready.push_back(app["name"].get<std::string>());
    }
    if (unready.empty()) return {};
    return {false, "ContainersNotReady", list_text("containers with unready status", unready)};
  }

  Verdict ready_verdict(const Verdict& containers, const json& conditions) const {
    if (!containers.good) return containers;
    for (const api::Value gate : in_.pod["spec"]["readinessGates"]) {
      const std::string type(gate["conditionType"].string());
      const auto at =
          std::find_if(conditions.begin(), conditions.end(), [&](const json& c) { return c["type"] == type; });
      if (at == conditions.end()) {
        return {false, "ReadinessGatesNotReady",
                "corresponding condition of pod readiness gate \"" + type + "\" does not exist."};
      }
      if ((*at)["status"] != "True") {
        return {false, "ReadinessGatesNotReady",
                "the status of pod readiness gate \"" + type + "\" is not \"True\", but " +
                    (*at)["status"].get<std::string>()};
      }
    }
    return {};
  }

  void put_conditions(json& out, const json& init, const json& apps) const {
    json conditions = out.contains("conditions") && out["conditions"].is_array() ? out["conditions"] : json::array();
    const auto phase = out["phase"].get<std::string>();
    const Verdict containers = containers_verdict(init, apps, phase);
    put_condition(conditions, "PodReadyToStartContainers",
                  {in_.runtime.ready_sandbox() != nullptr && !in_.terminated, {}, {}});
    put_condition(conditions, "Initialized", initialized_verdict(init, phase));
    put_condition(conditions, "Ready", ready_verdict(containers, conditions));
    put_condition(conditions, "ContainersReady", containers);
    put_condition(conditions, "PodScheduled", {});
    out["conditions"] = std::move(conditions);
  }

  const StatusInput& in_;
  api::Value old_;
};

}  // namespace

nlohmann::json compute_status(const StatusInput& input) {
  return StatusWriterOf(input).run();
}

}  // namespace kubernel::kubelet
