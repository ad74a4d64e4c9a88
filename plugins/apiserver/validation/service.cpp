// SPDX-License-Identifier: Apache-2.0
//
// Services (core/validation ValidateService).
#include <map>
#include <set>

#include "validation/rules.h"

namespace kubernel::apiserver::validation {

namespace {

bool headless(const Field& spec) {
  return spec["clusterIP"].text() == "None" ||
         (spec["clusterIPs"].size() == 1 && spec["clusterIPs"].at(0).text() == "None");
}

void check_port(const Field& port, bool needs_name, std::set<std::string>& names) {
  const Field name = port["name"];
  if (needs_name && name.zero()) {
    name.required();
  } else if (!name.zero()) {
    check_name_rule(name, NameRule::Label);
    if (!names.insert(name.text()).second) name.duplicate();
  }
  check_port_number(port["port"].set() ? port["port"] : port["port"].with(json(0)));
  check_port_number_or_name(port["targetPort"]);
  if (!port["appProtocol"].zero()) check_label_name(port["appProtocol"]);
}

void check_ports(const Field& spec, const std::string& type) {
  std::set<std::string> names;
  std::set<std::string> taken;
  std::set<std::string> node_ports;
  const Field ports = spec["ports"];
  ports.each([&](const Field& port, std::size_t) {
    check_port(port, ports.size() > 1, names);
    const std::string protocol = port["protocol"].text() + "/";
    if (type == "LoadBalancer" && port["port"].number() == 10250) {
      port.invalid_as("10250", "may not expose port 10250 externally since it is used by kubelet");
    }
    if (!taken.insert(protocol + std::to_string(port["port"].number())).second) {
      port.duplicate_as(json{{"protocol", port["protocol"].text()}, {"port", port["port"].number()}}.dump());
    }
    const Field node_port = port["nodePort"];
    if (node_port.zero()) return;
    if (type == "ClusterIP") node_port.forbidden("may not be used when `type` is 'ClusterIP'");
    if (type == "ExternalName") node_port.forbidden("may not be used when `type` is 'ExternalName'");
    if (!node_ports.insert(protocol + std::to_string(node_port.number())).second) node_port.duplicate();
  });
}

void check_external_name(const Field& spec) {
  for (const char* field : {"clusterIPs", "ipFamilies", "ipFamilyPolicy"}) {
    if (!spec[field].zero()) spec[field].forbidden("may not be set for ExternalName services");
  }
  std::string name = spec["externalName"].text();
  if (name.ends_with('.')) name.pop_back();
  if (name.empty()) {
    spec["externalName"].required();
    return;
  }
  for (const std::string& why : check_name(NameRule::Subdomain, name, false))
    spec["externalName"].invalid_as(quote(name), why);
}

void check_addresses(const Field& spec, const std::string& type) {
  const Field ip = spec["clusterIP"];
  const Field ips = spec["clusterIPs"];
  if (ip.zero() && !ips.zero()) ips.invalid("must be empty when `clusterIP` is not specified");
  if (!ip.zero() && !ips.zero() && ips.at(0).text() != ip.text()) ips.invalid("first value must match `clusterIP`");
  if (headless(spec)) {
    if (type != "ClusterIP") {
      ips.at(0).invalid_as(quote("None"), "may not be set to 'None' for " + type + " services");
    }
  } else if (!ip.zero() && ips.zero()) {
    check_ip(ip.as_path(ips.at(0).path()));
  } else {
    ips.each([](const Field& one, std::size_t) { check_ip(one); });
  }
  if (ips.size() > 2) ips.invalid("may only hold up to 2 values");
  spec["externalIPs"].each([](const Field& one, std::size_t) { check_ip(one); });
}

void check_affinity(const Field& spec) {
  const Field config = spec["sessionAffinityConfig"];
  if (spec["sessionAffinity"].text() == "None") {
    if (config.set()) config.forbidden("must not be set when session affinity is None");
    return;
  }
  if (spec["sessionAffinity"].text() != "ClientIP") return;
  const Field seconds = config["clientIP"]["timeoutSeconds"];
  if (!config.set()) {
    config.required("when session affinity type is ClientIP");
  } else if (!config["clientIP"].set()) {
    config["clientIP"].required("when session affinity type is ClientIP");
  } else if (!seconds.set()) {
    seconds.required("when session affinity type is ClientIP");
  } else if (seconds.number() <= 0 || seconds.number() > 86400) {
    seconds.invalid("must be greater than 0 and less than 86400");
  }
}

void check_traffic(const Field& spec, const std::string& type) {
  const bool outside =
      type == "NodePort" || type == "LoadBalancer" || (type == "ClusterIP" && !spec["externalIPs"].zero());
  if (!spec["externalTrafficPolicy"].zero() && !outside) {
    spec["externalTrafficPolicy"].invalid("may only be set for externally-accessible services");
  }
  const bool health = type == "LoadBalancer" && spec["externalTrafficPolicy"].text() == "Local";
  if (!spec["healthCheckNodePort"].zero() && !health) {
    spec["healthCheckNodePort"].invalid(
        "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
  }
  for (const char* field : {"allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerSourceRanges"}) {
    if (type == "LoadBalancer" || !spec[field].set()) continue;
    spec[field].forbidden("may only be used when `type` is 'LoadBalancer'");
  }
  if (type == "LoadBalancer") {
    spec["loadBalancerSourceRanges"].each([](const Field& range, std::size_t) { check_cidr(range); });
    if (!spec["loadBalancerClass"].zero()) check_label_name(spec["loadBalancerClass"]);
  }
}

}  // namespace

void check_service(const Field& service) {
  const Field spec = service["spec"];
  const std::string type = spec["type"].text();
  if (spec["ports"].zero() && !headless(spec) && type != "ExternalName") spec["ports"].required();
  if (type == "ExternalName") check_external_name(spec);
  check_ports(spec, type);
  check_labels(spec["selector"]);
  check_affinity(spec);
  if (type != "ExternalName") check_addresses(spec, type);
  check_traffic(spec, type);
}

void check_service_update(const Field& service, const json& old) {
  const Field spec = service["spec"];
  const json& before = member(old, {"spec"});
  if (text(before, {"type"}) != "ExternalName" && spec["type"].text() != "ExternalName") {
    const std::string was = text(before, {"clusterIP"});
    const std::string now = spec["clusterIP"].text();
    if (!was.empty() && was != now)
      spec["clusterIPs"].at(0).invalid_as(json::array({now}).dump(), "may not change once set");
  }
  const json& kind = member(before, {"loadBalancerClass"});
  if (text(before, {"type"}) == "LoadBalancer" && spec["type"].text() == "LoadBalancer" &&
      spec["loadBalancerClass"].value() != kind) {
    spec["loadBalancerClass"].invalid("may not change once set");
  }
}

}  // namespace kubernel::apiserver::validation
