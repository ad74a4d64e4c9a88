// SPDX-License-Identifier: Apache-2.0
#include <kubernel/controller/services.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include <kubernel/api/int_or_string.h>
#include <kubernel/api/selector.h>
#include <kubernel/controller/pods.h>

namespace kubernel::controller {

using api::Object;
using api::ObjectKey;
using api::Value;
using nlohmann::json;

bool has_managed_endpoints(const Object& service) {
  return !service.pointer("/spec/selector").empty() && service.pointer("/spec/type").string() != "ExternalName";
}

bool headless(const Object& service) {
  return service.pointer("/spec/clusterIP").string() == "None";
}

std::optional<std::int64_t> target_port(const Object& pod, Value service_port) {
  const auto target = api::IntOrString::read(service_port["targetPort"]);
  if (!target.is_string) return target.number != 0 ? target.number : service_port["port"].integer();
  const auto protocol = service_port["protocol"].string("TCP");
  const auto find = [&](Value container) -> std::optional<std::int64_t> {
    for (const Value port : container["ports"]) {
      if (port["name"].string() == target.text && port["protocol"].string("TCP") == protocol)
        return port["containerPort"].integer();
    }
    return std::nullopt;
  };
  for (const Value container : pod.pointer("/spec/containers")) {
    if (const auto port = find(container)) return port;
  }
  for (const Value container : pod.pointer("/spec/initContainers")) {
    if (container["restartPolicy"].string() != "Always") continue;
    if (const auto port = find(container)) return port;
  }
  return std::nullopt;
}

json endpoint_ports(const Object& service, const Object& pod) {
  json out = json::array();
  for (const Value port : service.pointer("/spec/ports")) {
    const auto number = target_port(pod, port);
    if (!number) continue;
    json entry = {{"name", std::string(port["name"].string())},
                  {"port", *number},
                  {"protocol", std::string(port["protocol"].string("TCP"))}};
    if (const Value app = port["appProtocol"]; app.is_string()) entry["appProtocol"] = std::string(app.string());
    out.push_back(std::move(entry));
  }
  return out;
}

std::string_view address_family(std::string_view address) {
  return address.find(':') == std::string_view::npos ? "IPv4" : "IPv6";
}

std::vector<std::string> pod_addresses(const Object& pod, std::string_view family) {
  std::vector<std::string> out;
  for (const Value entry : pod.pointer("/status/podIPs")) {
    const auto ip = entry["ip"].string();
    if (!ip.empty() && address_family(ip) == family) out.emplace_back(ip);
  }
  // Older writers set podIP alone.
  const auto single = pod.pointer("/status/podIP").string();
  if (out.empty() && pod.pointer("/status/podIPs").empty() && !single.empty() && address_family(single) == family) {
    out.emplace_back(single);
  }
  return out;
}

std::vector<std::string> service_families(const Object& service) {
  std::vector<std::string> out;
  for (const Value family : service.pointer("/spec/ipFamilies")) out.emplace_back(family.string());
  if (!out.empty()) return out;
  const auto cluster_ip = service.pointer("/spec/clusterIP").string();
  return {std::string(cluster_ip.empty() ? "IPv4" : address_family(cluster_ip))};
}

bool reachable(const Object& pod) {
  return !pod_terminal(pod) &&
         (!pod.pointer("/status/podIP").string().empty() || !pod.pointer("/status/podIPs").empty());
}

bool endpoint_changed(const Object& before, const Object& after) {
  const auto differs = [&](const char* path) { return before.pointer(path) != after.pointer(path); };
  return before.head().deleting != after.head().deleting || pod_ready(before) != pod_ready(after) ||
         pod_terminal(before) != pod_terminal(after) || differs("/status/podIP") || differs("/status/podIPs") ||
         differs("/spec/nodeName") || differs("/spec/hostname") || differs("/spec/subdomain") ||
         differs("/metadata/labels");
}

std::string endpoint_hostname(const Object& service, const Object& pod) {
  const bool ours = pod.pointer("/spec/subdomain").string() == service.name() && pod.ns() == service.ns();
  return ours ? std::string(pod.pointer("/spec/hostname").string()) : std::string();
}

std::vector<ObjectKey> services_of(const client::Informer& services, const Object& pod) {
  std::vector<ObjectKey> out;
  for (const Object& service : services.list(pod.ns(), {})) {
    if (!has_managed_endpoints(service)) continue;
    if (api::LabelSelector::from_map(service.pointer("/spec/selector")).matches(pod.labels()))
      out.push_back(service.key());
  }
  return out;
}

}  // namespace kubernel::controller
