// SPDX-License-Identifier: Apache-2.0
//
// Amounts of resources: what may be named, how much may be asked for.
#include <array>

#include "validation/field.h"

namespace kubernel::apiserver::validation {

namespace {

bool is_huge_page(std::string_view name) {
  return name.starts_with("hugepages-");
}

bool is_native(std::string_view name) {
  return name.find('/') == std::string_view::npos || name.find("kubernetes.io/") != std::string_view::npos;
}

bool for_containers(std::string_view name) {
  return name == "cpu" || name == "memory" || name == "ephemeral-storage" || is_huge_page(name);
}

bool is_standard(std::string_view name) {
  static constexpr std::array kNames = {"storage",
                                        "pods",
                                        "services",
                                        "replicationcontrollers",
                                        "resourcequotas",
                                        "secrets",
                                        "configmaps",
                                        "persistentvolumeclaims",
                                        "services.nodeports",
                                        "services.loadbalancers",
                                        "requests.cpu",
                                        "requests.memory",
                                        "requests.ephemeral-storage",
                                        "requests.storage",
                                        "limits.cpu",
                                        "limits.memory",
                                        "limits.ephemeral-storage"};
  for (const std::string_view known : kNames) {
    if (name == known) return true;
  }
  return for_containers(name) || name.starts_with("requests.hugepages-");
}

bool is_extended(std::string_view name) {
  return !is_native(name) && !name.starts_with("requests.") && check_label_key("requests." + std::string(name)).empty();
}

bool overcommits(std::string_view name) {
  return is_native(name) && !is_huge_page(name);
}

void check_resource_name(const Field& at, const std::string& name, bool container) {
  const std::vector<std::string> problems = check_label_key(name);
  for (const std::string& why : problems) at.invalid_as(quote(name), why);
  if (!problems.empty()) return;
  if (name.find('/') == std::string::npos) {
    if (!is_standard(name)) at.invalid_as(quote(name), "must be a standard resource type or fully qualified");
    if (container && !for_containers(name)) at.invalid_as(quote(name), "must be a standard resource for containers");
  } else if (container && !is_native(name) && !is_extended(name)) {
    at.invalid_as(quote(name), "doesn't follow extended resource name standard");
  }
}

bool counted(std::string_view name) {
  static constexpr std::array kNames = {"pods",
                                        "services",
                                        "replicationcontrollers",
                                        "resourcequotas",
                                        "secrets",
                                        "configmaps",
                                        "persistentvolumeclaims",
                                        "services.nodeports",
                                        "services.loadbalancers"};
  for (const std::string_view known : kNames) {
    if (name == known) return true;
  }
  return is_extended(name);
}

}  // namespace

void check_resource_list(const Field& map, bool container) {
  map.each_member([&](const std::string& name, const Field& amount) {
    check_resource_name(amount, name, container);
    check_quantity_not_negative(amount);
    if (counted(name) && amount.quantity() != api::Quantity::of(amount.quantity().value())) {
      amount.invalid_as(quote(amount.quantity().to_string()), "must be an integer");
    }
  });
}

void check_resource_requirements(const Field& resources, bool container) {
  const Field limits = resources["limits"];
  const Field requests = resources["requests"];
  check_resource_list(limits, container);
  check_resource_list(requests, container);
  requests.each_member([&](const std::string& name, const Field& request) {
    const Field limit = limits.key(name);
    if (!limit.set()) {
      if (container && !overcommits(name)) limits.required("Limit must be set for non overcommitable resources");
      return;
    }
    const auto refuse = [&](const char* relation) {
      requests.invalid_as(quote(request.quantity().to_string()), std::string("must be ") + relation + " " + name +
                                                                     " limit of " + limit.quantity().to_string());
    };
    if (container && !overcommits(name) && request.quantity() != limit.quantity()) {
      refuse("equal to");
    } else if (request.quantity() > limit.quantity()) {
      refuse("less than or equal to");
    }
  });
  bool huge = false;
  bool base = false;
  for (const Field& list : {limits, requests}) {
    list.each_member([&](const std::string& name, const Field&) {
      huge = huge || is_huge_page(name);
      base = base || name == "cpu" || name == "memory";
    });
  }
  if (container && huge && !base) resources.forbidden("HugePages require cpu or memory");
}

}  // namespace kubernel::apiserver::validation
