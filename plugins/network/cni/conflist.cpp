// SPDX-License-Identifier: Apache-2.0
#include "conflist.h"

#include <nlohmann/json.hpp>

namespace kubernel::network::cni {
namespace {

using nlohmann::json;

constexpr const char* kVersion = "1.0.0";

Result<json> parse(std::string_view text) {
  json value = json::parse(text, nullptr, false);
  if (!value.is_object()) return Error(Reason::Invalid, "not a JSON object");
  return value;
}

Result<json> parse_list(std::string_view text) {
  KUBERNEL_TRY(json list, parse(text));
  const auto plugins = list.find("plugins");
  if (plugins == list.end() || !plugins->is_array() || plugins->empty())
    return Error(Reason::Invalid, "a network configuration list without plugins");
  for (const json& plugin : *plugins) {
    const auto type = plugin.find("type");
    if (!plugin.is_object() || type == plugin.end() || !type->is_string() || type->get<std::string>().empty() ||
        type->get<std::string>().find('/') != std::string::npos) {
      return Error(Reason::Invalid, "a network plugin without a type");
    }
  }
  return list;
}

json port_mappings(const std::vector<PortMapping>& ports) {
  json out = json::array();
  for (const PortMapping& port : ports) {
    if (port.host_port <= 0) continue;
    json mapping = json::object();
    mapping["hostPort"] = port.host_port;
    mapping["containerPort"] = port.container_port;
    mapping["protocol"] = port.protocol;
    if (!port.host_ip.empty()) mapping["hostIP"] = port.host_ip;
    out.push_back(std::move(mapping));
  }
  return out;
}

}  // namespace

std::string make_bridge_conflist(const BridgeSettings& settings) {
  json ipam = json::object();
  ipam["type"] = "host-local";
  ipam["dataDir"] = settings.ipam_dir;
  ipam["ranges"] = json::array();
  ipam["routes"] = json::array();
  for (const std::string& cidr : settings.pod_cidrs) {
    json range = json::object();
    range["subnet"] = cidr;
    json alternatives = json::array();
    alternatives.push_back(std::move(range));
    ipam["ranges"].push_back(std::move(alternatives));
    json route = json::object();
    route["dst"] = cidr.find(':') == std::string::npos ? "0.0.0.0/0" : "::/0";
    ipam["routes"].push_back(std::move(route));
  }
  json bridge = json::object();
  bridge["type"] = "bridge";
  bridge["bridge"] = settings.bridge;
  bridge["isGateway"] = true;
  bridge["ipMasq"] = false;      // Done for all pods by one rule, after the services' rules.
  bridge["hairpinMode"] = true;  // A pod may reach itself through its service.
  if (settings.mtu > 0) bridge["mtu"] = settings.mtu;
  bridge["ipam"] = std::move(ipam);
  json portmap = json::object();
  portmap["type"] = "portmap";
  portmap["snat"] = true;
  portmap["capabilities"] = json::object();
  portmap["capabilities"]["portMappings"] = true;
  json list = json::object();
  list["cniVersion"] = kVersion;
  list["name"] = "kubernel";
  list["plugins"] = json::array();
  list["plugins"].push_back(std::move(bridge));
  list["plugins"].push_back(std::move(portmap));
  return list.dump();
}

std::string make_loopback_conflist() {
  return R"({"cniVersion":"1.0.0","name":"kubernel-loopback","plugins":[{"type":"loopback"}]})";
}

Result<std::string> normalize_conflist(std::string_view text) {
  KUBERNEL_TRY(const json value, parse(text));
  if (value.contains("plugins")) {
    KUBERNEL_TRY(const json list, parse_list(text));
    return list.dump();
  }
  json list = json::object();
  list["cniVersion"] = value.value("cniVersion", kVersion);
  list["name"] = value.value("name", "");
  list["plugins"] = json::array();
  list["plugins"].push_back(value);
  KUBERNEL_TRY(const json checked, parse_list(list.dump()));
  return checked.dump();
}

Result<std::vector<std::string>> plugin_types(std::string_view conflist) {
  KUBERNEL_TRY(const json list, parse_list(conflist));
  std::vector<std::string> out;
  for (const json& plugin : list["plugins"]) out.push_back(plugin["type"].get<std::string>());
  return out;
}

Result<std::string> plugin_input(std::string_view conflist, std::size_t index, const std::vector<PortMapping>& ports,
                                 std::string_view previous_result) {
  KUBERNEL_TRY(const json list, parse_list(conflist));
  if (index >= list["plugins"].size()) return Error(Reason::Internal, "no such network plugin");
  json input = list["plugins"][index];
  input["cniVersion"] = list.value("cniVersion", kVersion);
  input["name"] = list.value("name", "");
  // Capabilities say what the plugin wants to be told at run time; the field itself is not for it (specification,
  // section 3).
  const auto capabilities = input.find("capabilities");
  const bool wants_ports =
      capabilities != input.end() && capabilities->is_object() && capabilities->value("portMappings", false);
  input.erase("capabilities");
  const json mappings = port_mappings(ports);
  if (wants_ports && !mappings.empty()) {
    input["runtimeConfig"] = json::object();
    input["runtimeConfig"]["portMappings"] = mappings;
  }
  if (!previous_result.empty()) {
    KUBERNEL_TRY(input["prevResult"], parse(previous_result));
  }
  return input.dump();
}

Result<std::vector<std::string>> result_addresses(std::string_view result) {
  KUBERNEL_TRY(const json value, parse(result));
  std::vector<std::string> out;
  const auto ips = value.find("ips");
  if (ips == value.end() || !ips->is_array()) return out;
  for (const json& ip : *ips) {
    const std::string address = ip.is_object() ? ip.value("address", "") : "";
    if (!address.empty()) out.push_back(address.substr(0, address.find('/')));
  }
  return out;
}

std::string plugin_error(std::string_view type, std::string_view output, std::string_view errors, int exit_code) {
  std::string out = std::string(type) + ": ";
  const json value = json::parse(output, nullptr, false);
  if (value.is_object() && value.contains("msg") && value["msg"].is_string()) {
    out += value["msg"].get<std::string>();
    if (const auto details = value.find("details");
        details != value.end() && details->is_string() && !details->get<std::string>().empty()) {
      out += ": " + details->get<std::string>();
    }
    return out;
  }
  while (!errors.empty() && errors.back() == '\n') errors.remove_suffix(1);
  return out + "exit code " + std::to_string(exit_code) + (errors.empty() ? "" : ": " + std::string(errors));
}

}  // namespace kubernel::network::cni
