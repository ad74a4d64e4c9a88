// SPDX-License-Identifier: Apache-2.0
//
// The quality of service class of a pod (component-helpers qos).
#include <map>

#include <kubernel/api/quantity.h>

#include "strategies/strategy.h"

namespace kubernel::apiserver {

namespace {

api::Quantity quantity(const json& value) {
  const auto parsed = api::Quantity::parse(value.is_string() ? value.get<std::string>() : value.dump());
  return parsed ? *parsed : api::Quantity();
}

}  // namespace

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
