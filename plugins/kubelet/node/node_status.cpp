// SPDX-License-Identifier: Apache-2.0
#include "node/node_status.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include <kubernel/api/quantity.h>
#include <kubernel/api/time.h>

namespace kubernel::kubelet {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxImages = 50;
constexpr std::size_t kMaxNamesPerImage = 5;
// Upstream's default eviction thresholds: what a node keeps back, and below which it is under pressure.
constexpr std::int64_t kMinMemory = 100LL << 20;
constexpr std::int64_t kMinDiskPercent = 10, kMinInodesPercent = 5;

json resources(const NodeInput& in, bool allocatable) {
  const std::int64_t memory = in.machine.memory_bytes - (allocatable ? kMinMemory : 0);
  const std::int64_t disk =
      allocatable ? in.machine.disk_bytes / 100 * (100 - kMinDiskPercent) : in.machine.disk_bytes / 1024;
  json out = json::object();
  out["cpu"] = std::to_string(in.machine.cpus);
  out["memory"] = std::to_string(std::max<std::int64_t>(memory, 0) / 1024) + "Ki";
  out["ephemeral-storage"] = allocatable ? std::to_string(disk) : std::to_string(disk) + "Ki";
  out["pods"] = std::to_string(in.config.max_pods);
  return out;
}

json own_labels(const NodeInput& in) {
  json out = json::object();
  for (const char* prefix : {"kubernetes.io/", "beta.kubernetes.io/"}) {
    out[std::string(prefix) + "os"] = "linux";
    out[std::string(prefix) + "arch"] = in.machine.architecture;
  }
  out["kubernetes.io/hostname"] = in.hostname;
  for (const auto& [key, value] : in.config.labels) out[key] = value;
  return out;
}

struct Condition {
  const char* type;
  bool status;
  std::string reason, message;
};

std::vector<Condition> conditions(const NodeInput& in) {
  const Machine& m = in.machine;
  const bool memory = m.available_memory_bytes > 0 && m.available_memory_bytes < kMinMemory;
  const bool disk = m.disk_bytes > 0 && (m.available_disk_bytes < m.disk_bytes / 100 * kMinDiskPercent ||
                                         (m.inodes > 0 && m.available_inodes < m.inodes / 100 * kMinInodesPercent));
  const bool pids = m.max_pids > 0 && m.max_pids - m.pids < m.max_pids / 100;
  std::vector<Condition> out;
  out.push_back(memory ? Condition{"MemoryPressure", true, "KubeletHasInsufficientMemory",
                                   "kubelet has insufficient memory available"}
                       : Condition{"MemoryPressure", false, "KubeletHasSufficientMemory",
                                   "kubelet has sufficient memory available"});
  out.push_back(disk ? Condition{"DiskPressure", true, "KubeletHasDiskPressure", "kubelet has disk pressure"}
                     : Condition{"DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"});
  out.push_back(
      pids ? Condition{"PIDPressure", true, "KubeletHasInsufficientPID", "kubelet has insufficient PID available"}
           : Condition{"PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"});
  out.push_back(in.network_problem.empty() ? Condition{"Ready", true, "KubeletReady", "kubelet is posting ready status"}
                                           : Condition{"Ready", false, "KubeletNotReady",
                                                       "container runtime network not ready: " + in.network_problem});
  return out;
}

void put_condition(const NodeInput& in, const Condition& condition, json& list) {
  const auto old = std::find_if(list.begin(), list.end(), [&](const json& c) { return c["type"] == condition.type; });
  const std::string now = api::format_time(in.now);
  json fresh = json::object();
  fresh["type"] = condition.type;
  fresh["status"] = condition.status ? "True" : "False";
  fresh["reason"] = condition.reason;
  fresh["message"] = condition.message;
  fresh["lastHeartbeatTime"] = now;
  const bool same = old != list.end() && (*old)["status"] == fresh["status"] && old->contains("lastTransitionTime");
  fresh["lastTransitionTime"] = same ? (*old)["lastTransitionTime"] : json(now);
  if (old == list.end()) {
    list.push_back(std::move(fresh));
  } else {
    *old = std::move(fresh);
  }
}

json image_list(std::vector<runtime::Image> images) {
  std::sort(images.begin(), images.end(), [](const auto& a, const auto& b) {
    return std::pair(-a.size_bytes, a.id) < std::pair(-b.size_bytes, b.id);
  });
  json out = json::array();
  for (std::size_t i = 0; i < std::min(images.size(), kMaxImages); ++i) {
    std::vector<std::string> names = images[i].digests;
    names.insert(names.end(), images[i].tags.begin(), images[i].tags.end());
    if (names.size() > kMaxNamesPerImage) names.resize(kMaxNamesPerImage);
    json image = json::object();
    image["names"] = names;
    image["sizeBytes"] = images[i].size_bytes;
    out.push_back(std::move(image));
  }
  return out;
}

// What two reports are compared by: without the times of the reports, and amounts as the API server keeps them ("0Ki"
// is "0").
json comparable(json status) {
  if (status.contains("conditions")) {
    for (json& condition : status["conditions"]) condition.erase("lastHeartbeatTime");
  }
  for (const char* member : {"capacity", "allocatable"}) {
    if (!status.contains(member)) continue;
    for (json& amount : status[member]) {
      const auto parsed =
          amount.is_string() ? api::Quantity::parse(amount.get_ref<const std::string&>()) : api::Quantity();
      if (parsed) amount = parsed->to_string();
    }
  }
  return status;
}

}  // namespace

json node_status(const NodeInput& in, api::Value old) {
  json out = old ? old.to_json() : json::object();
  out["capacity"] = resources(in, false);
  out["allocatable"] = resources(in, true);
  json list = out.contains("conditions") && out["conditions"].is_array() ? out["conditions"] : json::array();
  for (const Condition& condition : conditions(in)) put_condition(in, condition, list);
  out["conditions"] = std::move(list);
  out["addresses"] = json::array();
  const auto add_address = [&](const char* type, const std::string& address) {
    json one = json::object();
    one["type"] = type;
    one["address"] = address;
    out["addresses"].push_back(std::move(one));
  };
  for (const auto& address : in.addresses) add_address("InternalIP", address);
  add_address("Hostname", in.hostname);
  if (in.port != 0) out["daemonEndpoints"]["kubeletEndpoint"]["Port"] = in.port;
  json info = json::object();
  info["machineID"] = in.machine.machine_id;
  info["systemUUID"] = in.machine.system_uuid;
  info["bootID"] = in.machine.boot_id;
  info["kernelVersion"] = in.machine.kernel_version;
  info["osImage"] = in.machine.os_image;
  info["containerRuntimeVersion"] = in.runtime_version;
  info["kubeletVersion"] = in.kubelet_version;
  info["kubeProxyVersion"] = in.kubelet_version;
  info["operatingSystem"] = "linux";
  info["architecture"] = in.machine.architecture;
  out["nodeInfo"] = std::move(info);
  out["images"] = image_list(in.images);
  return out;
}

json node_document(const NodeInput& in) {
  json out = json::object();
  out["apiVersion"] = "v1";
  out["kind"] = "Node";
  out["metadata"]["name"] = in.config.node_name;
  out["metadata"]["labels"] = own_labels(in);
  out["spec"] = json::object();
  if (!in.config.pod_cidrs.empty()) {
    out["spec"]["podCIDR"] = in.config.pod_cidrs.front();
    out["spec"]["podCIDRs"] = in.config.pod_cidrs;
  }
  for (const Taint& taint : in.config.taints) {
    json one = json::object();
    one["key"] = taint.key;
    if (!taint.value.empty()) one["value"] = taint.value;
    one["effect"] = taint.effect;
    out["spec"]["taints"].push_back(std::move(one));
  }
  out["status"] = node_status(in, {});
  return out;
}

bool status_changed(const json& before, const json& after) {
  return comparable(before) != comparable(after);
}

bool fix_labels(const NodeInput& in, json& node) {
  bool changed = false;
  const json wanted = own_labels(in);
  json& labels = node["metadata"]["labels"];
  if (!labels.is_object()) labels = json::object();
  for (const auto& [key, value] : wanted.items()) {
    if (labels.contains(key) && labels[key] == value) continue;
    labels[key] = value;
    changed = true;
  }
  return changed;
}

}  // namespace kubernel::kubelet
