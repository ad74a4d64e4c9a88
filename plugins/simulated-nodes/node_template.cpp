// SPDX-License-Identifier: Apache-2.0
#include "node_template.h"

#include <kubernel/api/time.h>

namespace kubernel::plugins {

using nlohmann::json;

namespace {

json condition(const char* type, const char* status, const char* reason, const std::string& now) {
  return {{"type", type},           {"status", status},         {"reason", reason},
          {"message", "simulated"}, {"lastHeartbeatTime", now}, {"lastTransitionTime", now}};
}

}  // namespace

NodeTemplate NodeTemplate::read(const json& config) {
  NodeTemplate out;
  out.name = config.value("name", out.name);
  out.count = config.at("count").get<std::size_t>();
  out.labels = config.value("labels", json::object());
  out.taints = config.value("taints", json::array());
  out.capacity = {{"cpu", "32"}, {"memory", "256Gi"}, {"ephemeral-storage", "1Ti"}, {"pods", "110"}};
  out.capacity.update(config.value("capacity", json::object()));
  out.zones = config.value("zones", std::vector<std::string>{});
  return out;
}

std::string NodeTemplate::name_of(std::size_t index) const {
  return name + "-" + std::to_string(index);
}

json NodeTemplate::node(std::size_t index, Clock::WallTime now) const {
  const std::string node_name = name_of(index);
  json all_labels = labels;
  all_labels[kSimulatedLabel] = "true";
  all_labels["kubernetes.io/hostname"] = node_name;
  all_labels["kubernetes.io/os"] = "linux";
  all_labels["kubernetes.io/arch"] = "amd64";
  if (!zones.empty()) all_labels["topology.kubernetes.io/zone"] = zones[index % zones.size()];
  json out = {{"apiVersion", "v1"},
              {"kind", "Node"},
              {"metadata", {{"name", node_name}, {"labels", std::move(all_labels)}}},
              {"spec", json::object()},
              {"status", healthy_status(capacity, node_name, now)}};
  if (!taints.empty()) out["spec"]["taints"] = taints;
  return out;
}

json healthy_status(const json& capacity, const std::string& name, Clock::WallTime now) {
  const std::string time = api::format_time(now);
  json conditions = json::array();
  conditions.push_back(condition("MemoryPressure", "False", "KubeletHasSufficientMemory", time));
  conditions.push_back(condition("DiskPressure", "False", "KubeletHasNoDiskPressure", time));
  conditions.push_back(condition("PIDPressure", "False", "KubeletHasSufficientPID", time));
  conditions.push_back(condition("Ready", "True", "KubeletReady", time));
  json address = {{"type", "Hostname"}, {"address", name}};
  return {{"capacity", capacity},
          {"allocatable", capacity},
          {"conditions", std::move(conditions)},
          {"addresses", json::array({std::move(address)})},
          {"nodeInfo",
           {{"machineID", name},
            {"systemUUID", name},
            {"bootID", name},
            {"kernelVersion", "simulated"},
            {"osImage", "simulated"},
            {"containerRuntimeVersion", "simulated://1"},
            {"kubeletVersion", "v1.36.0"},
            {"kubeProxyVersion", ""},
            {"operatingSystem", "linux"},
            {"architecture", "amd64"}}}};
}

}  // namespace kubernel::plugins
