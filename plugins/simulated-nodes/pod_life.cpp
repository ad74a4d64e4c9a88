// SPDX-License-Identifier: Apache-2.0
#include "pod_life.h"

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

namespace kubernel::plugins {

using api::Object;
using api::Value;
using nlohmann::json;

namespace {

struct Container {
  Value spec;
  bool init = false;
  bool sidecar = false;
};

json running_state(const std::string& now) {
  json state = json::object();
  state["running"]["startedAt"] = now;
  return state;
}

json ended_state(const std::string& started, const std::string& now) {
  json state = json::object();
  state["terminated"] = {{"exitCode", 0}, {"reason", "Completed"}, {"startedAt", started}, {"finishedAt", now}};
  return state;
}

json container_status(const Container& container, PodStage stage, const std::string& started, const std::string& now,
                      const std::string& uid) {
  const bool ended = stage == PodStage::Completed || (container.init && !container.sidecar);
  const std::string name(container.spec["name"].string());
  return {{"name", name},
          {"image", container.spec["image"].string()},
          {"imageID", "simulated://" + std::string(container.spec["image"].string())},
          {"containerID", "simulated://" + uid + "/" + name},
          {"ready", stage == PodStage::Running || (container.init && ended)},
          {"started", !ended},
          {"restartCount", 0},
          {"state", ended ? ended_state(started, now) : running_state(now)}};
}

void set_condition(json& conditions, const char* type, bool holds, const char* reason, const std::string& now) {
  json fresh = {{"type", type}, {"status", holds ? "True" : "False"}, {"lastTransitionTime", now}};
  if (reason != nullptr) fresh["reason"] = reason;
  for (json& condition : conditions) {
    if (condition.value("type", "") != type) continue;
    if (condition.value("status", "") != fresh["status"]) condition = std::move(fresh);
    return;
  }
  conditions.push_back(std::move(fresh));
}

void set_conditions(json& conditions, PodStage stage, const std::string& now) {
  const bool running = stage == PodStage::Running;
  const char* reason = running ? nullptr : "PodCompleted";
  set_condition(conditions, "PodReadyToStartContainers", running, nullptr, now);
  set_condition(conditions, "Initialized", true, reason, now);
  set_condition(conditions, "Ready", running, reason, now);
  set_condition(conditions, "ContainersReady", running, reason, now);
}

}  // namespace

PodStage stage_of(const Object& pod) {
  const std::string_view phase = pod.pointer("/status/phase").string();
  if (phase == "Running") return PodStage::Running;
  return phase == "Succeeded" || phase == "Failed" ? PodStage::Completed : PodStage::Pending;
}

bool runs_to_completion(const Object& pod) {
  return pod.pointer("/spec/restartPolicy").string("Always") != "Always";
}

json with_stage(const Object& pod, PodStage stage, const std::string& ip, Clock::WallTime wall_now) {
  const std::string now = api::format_time(wall_now);
  json out = pod.to_json();
  json& status = out["status"];
  status["phase"] = stage == PodStage::Running ? "Running" : "Succeeded";
  if (!status.contains("startTime")) status["startTime"] = now;
  if (!status.contains("podIP")) {
    json address = json::object();
    address["ip"] = ip;
    status["podIP"] = ip;
    status["podIPs"] = json::array({std::move(address)});
  }
  const std::string started = status["startTime"].get<std::string>();
  json containers = json::array();
  json init_containers = json::array();
  for (const Value spec : pod.pointer("/spec/initContainers")) {
    const Container container{spec, true, spec["restartPolicy"].string() == "Always"};
    init_containers.push_back(container_status(container, stage, started, now, pod.uid()));
  }
  for (const Value spec : pod.pointer("/spec/containers")) {
    containers.push_back(container_status({spec}, stage, started, now, pod.uid()));
  }
  if (!init_containers.empty()) status["initContainerStatuses"] = std::move(init_containers);
  status["containerStatuses"] = std::move(containers);
  if (!status.contains("conditions")) status["conditions"] = json::array();
  set_conditions(status["conditions"], stage, now);
  return out;
}

}  // namespace kubernel::plugins
