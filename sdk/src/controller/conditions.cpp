// SPDX-License-Identifier: Apache-2.0
#include <kubernel/controller/conditions.h>

#include <utility>

#include <nlohmann/json.hpp>

namespace kubernel::controller {

using api::Value;
using nlohmann::json;

Value find_condition(Value conditions, std::string_view type) {
  for (const Value condition : conditions) {
    if (condition["type"].string() == type) return condition;
  }
  return {};
}

bool condition_true(Value conditions, std::string_view type) {
  return find_condition(conditions, type)["status"].string() == "True";
}

json* find_condition(json& conditions, std::string_view type) {
  for (json& condition : conditions) {
    if (condition.value("type", "") == type) return &condition;
  }
  return nullptr;
}

void set_condition(json& conditions, json condition) {
  if (!conditions.is_array()) conditions = json::array();
  const std::string type = condition.value("type", "");
  if (const json* current = find_condition(conditions, type)) {
    const bool same_status = current->value("status", "") == condition.value("status", "");
    if (same_status && current->value("reason", "") == condition.value("reason", "")) return;
    if (same_status && current->contains("lastTransitionTime")) {
      condition["lastTransitionTime"] = (*current)["lastTransitionTime"];
    }
  }
  // Replaced ones go to the end, as upstream's filter-and-append.
  remove_condition(conditions, type);
  conditions.push_back(std::move(condition));
}

void remove_condition(json& conditions, std::string_view type) {
  if (!conditions.is_array()) return;
  for (auto it = conditions.begin(); it != conditions.end();) {
    it = it->value("type", "") == type ? conditions.erase(it) : it + 1;
  }
}

}  // namespace kubernel::controller
