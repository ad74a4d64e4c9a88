// SPDX-License-Identifier: Apache-2.0
//
// Layouts of networking, discovery and coordination.
#include <array>
#include <set>

#include "schema/table/layout.h"

namespace kubernel::schema::table {

using api::Value;
using nlohmann::json;

namespace {

json ingress_hosts(const Row& row) {
  constexpr std::size_t kShown = 3;
  const Value rules = row.body["spec"]["rules"];
  std::vector<std::string> hosts;
  for (const Value rule : rules) {
    if (hosts.size() == kShown) break;
    if (const auto host = rule["host"].string(); !host.empty()) hosts.emplace_back(host);
  }
  std::string out;
  for (const std::string& host : hosts) out += (out.empty() ? "" : ",") + host;
  if (out.empty()) return "*";
  if (rules.size() > kShown) out += " + " + std::to_string(rules.size() - kShown) + " more...";
  return out;
}

json ingress_address(const Row& row) {
  std::set<std::string> found;
  for (const Value entry : row.body["status"]["loadBalancer"]["ingress"]) {
    const auto ip = entry["ip"].string();
    const auto host = entry["hostname"].string();
    if (!ip.empty() || !host.empty()) found.emplace(ip.empty() ? host : ip);
  }
  std::string out;
  for (const std::string& address : found) out += (out.empty() ? "" : ",") + address;
  return out;
}

json ingress_ports(const Row& row) {
  return row.body["spec"]["tls"].empty() ? "80" : "80, 443";
}

json ingress_class_parameters(const Row& row) {
  const Value parameters = row.body["spec"]["parameters"];
  if (!parameters) return "<none>";
  const auto group = parameters["apiGroup"].string();
  return std::string(parameters["kind"].string()) + (group.empty() ? "" : "." + std::string(group)) + "/" +
         std::string(parameters["name"].string());
}

json slice_ports(const Row& row) {
  std::vector<std::string> ports;
  for (const Value port : row.body["ports"]) {
    if (port["port"]) {
      ports.push_back(std::to_string(port["port"].integer()));
    } else {
      ports.emplace_back(port["name"].string().empty() ? "*" : port["name"].string());
    }
  }
  return first_three(ports, "<unset>");
}

json slice_endpoints(const Row& row) {
  std::vector<std::string> addresses;
  for (const Value endpoint : row.body["endpoints"]) {
    for (const Value address : endpoint["addresses"]) addresses.emplace_back(address.string());
  }
  return first_three(addresses, "<unset>");
}

json parent_reference(const Row& row) {
  const Value parent = row.body["spec"]["parentRef"];
  if (!parent) return "<none>";
  std::string out(parent["resource"].string());
  if (const auto group = parent["group"].string(); !group.empty()) out += "." + std::string(group);
  std::ranges::transform(out, out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (const auto ns = parent["namespace"].string(); !ns.empty()) out += "/" + std::string(ns);
  return out + "/" + std::string(parent["name"].string());
}

constexpr std::array kIngress = {kName,
                                 ColumnRule{"Class", "string", 0, text<"/spec/ingressClassName", "<none>">},
                                 ColumnRule{"Hosts", "string", 0, ingress_hosts},
                                 ColumnRule{"Address", "string", 0, ingress_address},
                                 ColumnRule{"Ports", "string", 0, ingress_ports},
                                 kAge};
constexpr std::array kIngressClass = {kName, ColumnRule{"Controller", "string", 0, text<"/spec/controller">},
                                      ColumnRule{"Parameters", "string", 0, ingress_class_parameters}, kAge};
constexpr std::array kNetworkPolicy = {kName, ColumnRule{"Pod-Selector", "string", 0, selector<"/spec/podSelector">},
                                       kAge};
constexpr std::array kServiceCidr = {kName, ColumnRule{"CIDRs", "string", 0, joined<"/spec/cidrs">}, kAge};
constexpr std::array kIpAddress = {kName, ColumnRule{"ParentRef", "string", 0, parent_reference}};
constexpr std::array kEndpointSlice = {kName, ColumnRule{"AddressType", "string", 0, text<"/addressType">},
                                       ColumnRule{"Ports", "string", 0, slice_ports},
                                       ColumnRule{"Endpoints", "string", 0, slice_endpoints}, kAge};
constexpr std::array kLease = {kName, ColumnRule{"Holder", "string", 0, text<"/spec/holderIdentity">}, kAge};
constexpr std::array kLeaseCandidate = {kName, ColumnRule{"LeaseName", "string", 0, text<"/spec/leaseName">},
                                        ColumnRule{"BinaryVersion", "string", 0, text<"/spec/binaryVersion">},
                                        ColumnRule{"EmulationVersion", "string", 0, text<"/spec/emulationVersion">},
                                        kAge};

constexpr std::array kLayouts = {Layout{"networking.k8s.io", "", "Ingress", kIngress},
                                 Layout{"networking.k8s.io", "", "IngressClass", kIngressClass},
                                 Layout{"networking.k8s.io", "", "NetworkPolicy", kNetworkPolicy},
                                 Layout{"networking.k8s.io", "", "ServiceCIDR", kServiceCidr},
                                 Layout{"networking.k8s.io", "", "IPAddress", kIpAddress},
                                 Layout{"discovery.k8s.io", "v1", "EndpointSlice", kEndpointSlice},
                                 Layout{"coordination.k8s.io", "v1", "Lease", kLease},
                                 Layout{"coordination.k8s.io", "", "LeaseCandidate", kLeaseCandidate}};

}  // namespace

std::span<const Layout> network_layouts() {
  return kLayouts;
}

}  // namespace kubernel::schema::table
