// SPDX-License-Identifier: Apache-2.0
//
// Defaults of core/v1 that are more than a value at a path.

#include <map>

#include <kubernel/api/quantity.h>
#include <nlohmann/json.hpp>

#include "schema/defaults.h"

namespace kubernel::schema::defaults {
namespace {

using api::Quantity;
using nlohmann::json;

const json kNone = json::object();
const json kNoList = json::array();

const json& object_at(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_object() ? *at : kNone;
}

const json& list_at(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_array() ? *at : kNoList;
}

/// "Always" for the tag latest and for an image without tag and digest, else "IfNotPresent".
std::string pull_policy(std::string_view image) {
  if (image.empty() || image.find('@') != std::string_view::npos) return "IfNotPresent";
  const std::size_t slash = image.rfind('/');
  const std::size_t colon = image.rfind(':');
  const bool tagged = colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  return !tagged || image.substr(colon + 1) == "latest" ? "Always" : "IfNotPresent";
}

/// What a container limits, it also requests.
void requests_from_limits(json& container) {
  const auto resources = container.find("resources");
  if (resources == container.end() || !resources->is_object()) return;
  const json limits = object_at(*resources, "limits");
  if (limits.empty()) return;
  json& requests = child(*resources, "requests");
  for (const auto& [name, value] : limits.items()) set_missing(requests, name.c_str(), value);
}

void host_ports(json& container) {
  const auto ports = container.find("ports");
  if (ports == container.end() || !ports->is_array()) return;
  for (json& port : *ports) {
    if (port.is_object() && port.contains("containerPort")) set_empty(port, "hostPort", port["containerPort"]);
  }
}

using Amounts = std::map<std::string, Quantity>;

Amounts amounts(const json& container, const char* what) {
  Amounts result;
  for (const auto& [name, value] : object_at(object_at(container, "resources"), what).items()) {
    if (!value.is_string()) continue;
    if (const auto quantity = Quantity::parse(value.get_ref<const std::string&>())) result[name] = *quantity;
  }
  return result;
}

void add(Amounts& sum, const Amounts& more) {
  for (const auto& [name, quantity] : more) {
    const auto [at, fresh] = sum.emplace(name, quantity);
    if (!fresh) at->second += quantity;
  }
}

void raise(Amounts& most, const Amounts& other) {
  for (const auto& [name, quantity] : other) {
    const auto [at, fresh] = most.emplace(name, quantity);
    if (!fresh && at->second < quantity) at->second = quantity;
  }
}

/// What the pod's containers need at once: all app containers and sidecars together, or the hungriest init container
/// with the sidecars that were started before it.
Amounts aggregate(const json& spec, const char* what) {
  Amounts sum;
  for (const json& container : list_at(spec, "containers")) add(sum, amounts(container, what));
  Amounts sidecars;
  Amounts most;
  for (const json& container : list_at(spec, "initContainers")) {
    Amounts own = amounts(container, what);
    if (text(container, "restartPolicy") == "Always") {
      add(sum, own);
      add(sidecars, own);
      raise(most, sidecars);
    } else {
      add(own, sidecars);
      raise(most, own);
    }
  }
  raise(sum, most);
  return sum;
}

bool is_hugepages(std::string_view resource) {
  return resource.substr(0, 10) == "hugepages-";
}

/// Only for a pod that sets some of its own resources.
void pod_resources(json& spec) {
  const auto at = spec.find("resources");
  if (at == spec.end() || !at->is_object()) return;
  json& resources = *at;
  if (is_empty(resources, "limits") && is_empty(resources, "requests")) return;
  for (const auto& [name, quantity] : aggregate(spec, "limits")) {
    if (!is_hugepages(name) || !is_missing(object_at(resources, "requests"), name.c_str())) continue;
    set_missing(child(resources, "limits"), name.c_str(), quantity.to_string());
  }
  const json limits = object_at(resources, "limits");
  if (limits.empty()) return;
  json requests = object_at(resources, "requests");
  for (const auto& [name, quantity] : aggregate(spec, "requests")) {
    if (name == "cpu" || name == "memory" || is_hugepages(name)) {
      set_missing(requests, name.c_str(), quantity.to_string());
    }
  }
  for (const auto& [name, value] : limits.items()) set_missing(requests, name.c_str(), value);
  resources["requests"] = std::move(requests);
}

}  // namespace

void pod(json& object) {
  const auto spec = object.find("spec");
  if (spec == object.end() || !spec->is_object()) return;
  const bool host_network = !is_empty(*spec, "hostNetwork");
  for (const char* list : {"containers", "initContainers"}) {
    const auto containers = spec->find(list);
    if (containers == spec->end() || !containers->is_array()) continue;
    for (json& container : *containers) {
      if (!container.is_object()) continue;
      requests_from_limits(container);
      if (host_network) host_ports(container);
    }
  }
  pod_resources(*spec);
}

void container(json& object) {
  set_empty(object, "imagePullPolicy", pull_policy(text(object, "image")));
}

void service_port(json& object) {
  if (is_empty(object, "targetPort") && object.contains("port")) object["targetPort"] = object["port"];
}

void volume(json& object) {
  const auto image = object.find("image");
  if (image != object.end() && image->is_object()) {
    set_empty(*image, "pullPolicy", pull_policy(text(*image, "reference")));
  }
  for (const auto& [name, source] : object.items()) {
    if (name != "name" && !source.is_null()) return;
  }
  object["emptyDir"] = json::object();
}

void limit_range_item(json& object) {
  if (text(object, "type") != "Container") return;
  const json max = object_at(object, "max");
  const json min = object_at(object, "min");
  json limits = object_at(object, "default");
  for (const auto& [name, value] : max.items()) set_missing(limits, name.c_str(), value);
  json requests = object_at(object, "defaultRequest");
  for (const auto& [name, value] : limits.items()) set_missing(requests, name.c_str(), value);
  for (const auto& [name, value] : min.items()) set_missing(requests, name.c_str(), value);
  if (!limits.empty()) object["default"] = std::move(limits);
  if (!requests.empty()) object["defaultRequest"] = std::move(requests);
}

void replication_controller(json& object) {
  const json labels = object_at(object_at(object_at(object_at(object, "spec"), "template"), "metadata"), "labels");
  if (labels.empty()) return;
  set_empty(child(object, "spec"), "selector", labels);
  set_empty(child(object, "metadata"), "labels", labels);
}

void service(json& object) {
  json& spec = child(object, "spec");
  const std::string type(text(spec, "type"));
  if (text(spec, "sessionAffinity") == "None") {
    spec.erase("sessionAffinityConfig");
  } else if (text(spec, "sessionAffinity") == "ClientIP") {
    set_missing(child(child(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", 10800);
  }
  const bool node_port = type == "NodePort" || type == "LoadBalancer";
  if (node_port || (type == "ClusterIP" && !is_empty(spec, "externalIPs"))) {
    set_empty(spec, "externalTrafficPolicy", "Cluster");
  }
  if (node_port || type == "ClusterIP") set_missing(spec, "internalTrafficPolicy", "Cluster");
  if (type != "LoadBalancer") return;
  set_missing(spec, "allocateLoadBalancerNodePorts", true);
  if (list_at(object_at(object_at(object, "status"), "loadBalancer"), "ingress").empty()) return;
  for (json& ingress : object["status"]["loadBalancer"]["ingress"]) {
    if (ingress.is_object() && !is_empty(ingress, "ip")) set_missing(ingress, "ipMode", "VIP");
  }
}

void name_space(json& object) {
  const std::string name(text(object_at(object, "metadata"), "name"));
  if (!name.empty()) child(child(object, "metadata"), "labels")["kubernetes.io/metadata.name"] = name;
}

void node_status(json& object) {
  const json capacity = object_at(object, "capacity");
  if (!capacity.empty()) set_missing(object, "allocatable", capacity);
}

}  // namespace kubernel::schema::defaults
