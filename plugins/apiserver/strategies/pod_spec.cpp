// SPDX-License-Identifier: Apache-2.0
//
// Hand-written rules of a PodSpec that the schema's markers do not carry (core/validation), and the QoS class.
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include <kubernel/api/quantity.h>

#include "strategies/strategy.h"

namespace kubernel::apiserver {

namespace {

api::Quantity quantity(const json& value) {
  const auto parsed = api::Quantity::parse(value.is_string() ? value.get<std::string>() : value.dump());
  return parsed ? *parsed : api::Quantity();
}

void check_resources(const json& container, const std::string& path, Causes& causes) {
  const json& limits = member(container, {"resources", "limits"});
  const json& requests = member(container, {"resources", "requests"});
  for (const auto& [kind, list] : {std::pair<const char*, const json&>("limits", limits), {"requests", requests}}) {
    if (!list.is_object()) continue;
    for (const auto& [name, value] : list.items()) {
      if (quantity(value).sign() < 0) {
        causes.push_back(invalid_value(path + ".resources." + kind + "[" + name + "]", quote(value.is_string() ? value.get<std::string>() : value.dump()),
                                       "must be greater than or equal to 0"));
      }
    }
  }
  if (!limits.is_object() || !requests.is_object()) return;
  for (const auto& [name, value] : requests.items()) {
    const auto limit = limits.find(name);
    if (limit != limits.end() && quantity(value) > quantity(*limit)) {
      causes.push_back(invalid_value(path + ".resources.requests", quote(value.is_string() ? value.get<std::string>() : value.dump()),
                                     "must be less than or equal to " + name + " limit of " +
                                         (limit->is_string() ? limit->get<std::string>() : limit->dump())));
    }
  }
}

void check_port(const json& value, const std::string& path, Causes& causes) {
  if (!value.is_number_integer()) return;
  const auto port = value.get<std::int64_t>();
  if (port < 1 || port > 65535) causes.push_back(invalid_value(path, std::to_string(port), "must be between 1 and 65535, inclusive"));
}

void check_ports(const json& container, const std::string& path, Causes& causes) {
  const json& ports = member(container, {"ports"});
  if (!ports.is_array()) return;
  std::set<std::string> names;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::string at = path + ".ports[" + std::to_string(i) + "]";
    if (number(ports[i], {"containerPort"}) == 0) {
      causes.push_back(required(at + ".containerPort", ""));
    } else {
      check_port(member(ports[i], {"containerPort"}), at + ".containerPort", causes);
    }
    if (number(ports[i], {"hostPort"}) != 0) check_port(member(ports[i], {"hostPort"}), at + ".hostPort", causes);
    const std::string name = text(ports[i], {"name"});
    if (!name.empty() && !names.insert(name).second) causes.push_back(duplicate(at + ".name", quote(name)));
  }
}

void check_mounts(const json& container, const std::string& path, const std::set<std::string>& volumes, Causes& causes) {
  const json& mounts = member(container, {"volumeMounts"});
  if (!mounts.is_array()) return;
  std::set<std::string> paths;
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const std::string at = path + ".volumeMounts[" + std::to_string(i) + "]";
    const std::string name = text(mounts[i], {"name"});
    if (name.empty()) {
      causes.push_back(required(at + ".name", ""));
    } else if (!volumes.contains(name)) {
      causes.push_back(field_not_found(at + ".name", quote(name)));
    }
    const std::string where = text(mounts[i], {"mountPath"});
    if (where.empty()) {
      causes.push_back(required(at + ".mountPath", ""));
    } else if (!paths.insert(where).second) {
      causes.push_back(invalid_value(at + ".mountPath", quote(where), "must be unique"));
    }
  }
}

void check_containers(const json& list, const std::string& path, const std::set<std::string>& volumes,
                      std::set<std::string>& names, Causes& causes) {
  if (!list.is_array()) return;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string at = path + "[" + std::to_string(i) + "]";
    const std::string name = text(list[i], {"name"});
    if (name.empty()) {
      causes.push_back(required(at + ".name", ""));
    } else {
      for (const std::string& why : check_name(NameRule::Label, name, false)) {
        causes.push_back(invalid_value(at + ".name", quote(name), why));
      }
      if (!names.insert(name).second) causes.push_back(duplicate(at + ".name", quote(name)));
    }
    const std::string image = text(list[i], {"image"});
    if (image.empty()) causes.push_back(required(at + ".image", ""));
    if (!image.empty() && (image.front() == ' ' || image.back() == ' ')) {
      causes.push_back(invalid_value(at + ".image", quote(image), "must not have leading or trailing whitespace"));
    }
    check_ports(list[i], at, causes);
    check_mounts(list[i], at, volumes, causes);
    check_resources(list[i], at, causes);
  }
}

std::set<std::string> check_volumes(const json& spec, const std::string& path, Causes& causes) {
  std::set<std::string> names;
  const json& volumes = member(spec, {"volumes"});
  if (!volumes.is_array()) return names;
  for (std::size_t i = 0; i < volumes.size(); ++i) {
    const std::string at = path + ".volumes[" + std::to_string(i) + "]";
    const std::string name = text(volumes[i], {"name"});
    if (name.empty()) {
      causes.push_back(required(at + ".name", ""));
    } else {
      for (const std::string& why : check_name(NameRule::Label, name, false)) {
        causes.push_back(invalid_value(at + ".name", quote(name), why));
      }
      if (!names.insert(name).second) causes.push_back(duplicate(at + ".name", quote(name)));
    }
    std::size_t sources = 0;
    for (const auto& [key, value] : volumes[i].items()) sources += key != "name" && !value.is_null() ? 1 : 0;
    if (sources == 0) causes.push_back(required(at, "must specify a volume type"));
    if (sources > 1) causes.push_back(forbidden_field(at, "may not specify more than 1 volume type"));
  }
  return names;
}

}  // namespace

void validate_pod_spec(const json& spec, const std::string& path, Causes& causes) {
  const std::set<std::string> volumes = check_volumes(spec, path, causes);
  std::set<std::string> names;
  const json& containers = member(spec, {"containers"});
  if (!containers.is_array() || containers.empty()) causes.push_back(required(path + ".containers", ""));
  check_containers(containers, path + ".containers", volumes, names, causes);
  check_containers(member(spec, {"initContainers"}), path + ".initContainers", volumes, names, causes);
  const json& grace = member(spec, {"terminationGracePeriodSeconds"});
  if (grace.is_number_integer() && grace.get<std::int64_t>() < 0) {
    causes.push_back(invalid_value(path + ".terminationGracePeriodSeconds", grace.dump(), "must be greater than or equal to 0"));
  }
  const json& deadline = member(spec, {"activeDeadlineSeconds"});
  if (deadline.is_number_integer() && (deadline.get<std::int64_t>() < 1 || deadline.get<std::int64_t>() > 2147483647)) {
    causes.push_back(invalid_value(path + ".activeDeadlineSeconds", deadline.dump(), "must be between 1 and 2147483647, inclusive"));
  }
  const std::string node = text(spec, {"nodeName"});
  if (!node.empty()) {
    for (const std::string& why : check_name(NameRule::Subdomain, node, false)) {
      causes.push_back(invalid_value(path + ".nodeName", quote(node), why));
    }
  }
  const std::string hostname = text(spec, {"hostname"});
  if (!hostname.empty()) {
    for (const std::string& why : check_name(NameRule::Label, hostname, false)) {
      causes.push_back(invalid_value(path + ".hostname", quote(hostname), why));
    }
  }
}

std::string qos_class(const json& pod) {
  bool guaranteed = true;
  std::map<std::string, api::Quantity> requests;
  std::map<std::string, api::Quantity> limits;
  const auto add = [](const json& list, std::map<std::string, api::Quantity>& sums) {
    std::size_t found = 0;
    for (const char* name : {"cpu", "memory"}) {
      if (!list.is_object() || !list.contains(name)) continue;
      const api::Quantity value = quantity(list[name]);
      if (value.sign() <= 0) continue;
      sums[name] += value;
      ++found;
    }
    return found;
  };
  for (const char* list : {"containers", "initContainers"}) {
    const json& containers = member(pod, {"spec", list});
    if (!containers.is_array()) continue;
    for (const json& container : containers) {
      add(member(container, {"resources", "requests"}), requests);
      if (add(member(container, {"resources", "limits"}), limits) != 2) guaranteed = false;
    }
  }
  if (requests.empty() && limits.empty()) return "BestEffort";
  return guaranteed && requests == limits ? "Guaranteed" : "Burstable";
}

}  // namespace kubernel::apiserver
