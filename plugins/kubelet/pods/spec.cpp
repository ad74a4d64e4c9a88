// SPDX-License-Identifier: Apache-2.0
#include "pods/spec.h"

#include <map>

#include <kubernel/api/quantity.h>
#include <kubernel/crypto/pki.h>

namespace kubernel::kubelet {

namespace {

constexpr std::size_t kMaxHostname = 63;

void append(std::vector<ContainerSpec>& out, api::Value list, bool init) {
  for (const api::Value value : list) {
    ContainerSpec spec;
    spec.value = value;
    spec.name = value["name"].string();
    spec.init = init;
    spec.sidecar = init && value["restartPolicy"].string() == "Always";
    out.push_back(std::move(spec));
  }
}

}  // namespace

std::vector<ContainerSpec> containers_of(const api::Object& pod) {
  std::vector<ContainerSpec> out;
  append(out, pod["spec"]["initContainers"], true);
  append(out, pod["spec"]["containers"], false);
  return out;
}

std::vector<ContainerSpec> init_containers_of(const api::Object& pod) {
  std::vector<ContainerSpec> out;
  append(out, pod["spec"]["initContainers"], true);
  return out;
}

std::vector<ContainerSpec> app_containers_of(const api::Object& pod) {
  std::vector<ContainerSpec> out;
  append(out, pod["spec"]["containers"], false);
  return out;
}

std::optional<ContainerSpec> find_container(const api::Object& pod, std::string_view name) {
  for (auto& container : containers_of(pod)) {
    if (container.name == name) return container;
  }
  return std::nullopt;
}

RestartPolicy restart_policy_of(const api::Object& pod) {
  const std::string_view policy = pod["spec"]["restartPolicy"].string("Always");
  if (policy == "Never") return RestartPolicy::Never;
  if (policy == "OnFailure") return RestartPolicy::OnFailure;
  return RestartPolicy::Always;
}

RestartPolicy restart_policy_of(const api::Object& pod, const ContainerSpec& container) {
  const RestartPolicy policy = restart_policy_of(pod);
  if (container.sidecar) return RestartPolicy::Always;
  if (container.init && policy == RestartPolicy::Always) return RestartPolicy::OnFailure;
  return policy;
}

QosClass qos_class_of(const api::Object& pod) {
  std::map<std::string, api::Quantity> requests, limits;
  bool guaranteed = true;
  for (const ContainerSpec& container : containers_of(pod)) {
    const api::Value resources = container.value["resources"];
    int limited = 0;
    for (const char* name : {"cpu", "memory"}) {
      const auto request = api::Quantity::read(resources["requests"][name]);
      const auto limit = api::Quantity::read(resources["limits"][name]);
      if (request.sign() > 0) requests[name] += request;
      if (limit.sign() > 0) {
        limits[name] += limit;
        ++limited;
      }
    }
    guaranteed = guaranteed && limited == 2;
  }
  if (requests.empty() && limits.empty()) return QosClass::BestEffort;
  if (guaranteed && requests.size() == limits.size()) {
    for (const auto& [name, request] : requests) guaranteed = guaranteed && limits[name] == request;
    if (guaranteed) return QosClass::Guaranteed;
  }
  return QosClass::Burstable;
}

std::string_view to_string(QosClass qos) {
  switch (qos) {
    case QosClass::Guaranteed: return "Guaranteed";
    case QosClass::Burstable: return "Burstable";
    case QosClass::BestEffort: return "BestEffort";
  }
  return "BestEffort";
}

bool host_network(const api::Object& pod) {
  return pod["spec"]["hostNetwork"].boolean();
}

std::chrono::seconds termination_grace_of(const api::Object& pod) {
  return std::chrono::seconds(pod["spec"]["terminationGracePeriodSeconds"].integer(30));
}

std::chrono::seconds deletion_grace_of(const api::Object& pod) {
  const api::Value grace = pod["metadata"]["deletionGracePeriodSeconds"];
  if (pod.head().deleting && grace && !grace.is_null()) return std::chrono::seconds(grace.integer());
  return termination_grace_of(pod);
}

bool is_terminal_phase(std::string_view phase) {
  return phase == "Succeeded" || phase == "Failed";
}

std::string hostname_of(const api::Object& pod) {
  std::string name(pod["spec"]["hostname"].string());
  if (const auto forced = pod["spec"]["hostnameOverride"].string(); !forced.empty()) name = forced;
  if (name.empty()) name = pod.name();
  if (name.size() > kMaxHostname) name.resize(kMaxHostname);
  while (!name.empty() && (name.back() == '-' || name.back() == '.')) name.pop_back();
  return name;
}

std::string domain_name_of(const api::Object& pod, std::string_view cluster_domain) {
  const std::string_view subdomain = pod["spec"]["subdomain"].string();
  if (subdomain.empty()) return {};
  return hostname_of(pod) + "." + std::string(subdomain) + "." + pod.ns() + ".svc." + std::string(cluster_domain);
}

std::string spec_hash(const ContainerSpec& container) {
  // As upstream since 1.28: name and image only, so that a kubelet with more fields or defaults restarts nothing.
  return crypto::sha256_hex(container.name + "\n" + std::string(container.value["image"].string())).substr(0, 16);
}

std::string format_pod(const api::Object& pod) {
  return pod.name() + "_" + pod.ns() + "(" + pod.uid() + ")";
}

}  // namespace kubernel::kubelet
