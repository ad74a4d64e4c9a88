// SPDX-License-Identifier: Apache-2.0
#include "slice_plan.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace kubernel::plugins::endpointslice {

using api::Object;
using api::Value;
using nlohmann::json;

namespace {

// What makes an endpoint the same one: the pod it stands for and its addresses.
std::string identity(const json& endpoint) {
  json parts = {{"addresses", endpoint.value("addresses", json::array())}};
  if (const auto target = endpoint.find("targetRef"); target != endpoint.end() && target->is_object()) {
    for (const char* part : {"kind", "namespace", "name", "uid"}) parts[part] = target->value(part, "");
  }
  return parts.dump();
}

struct Draft {
  Object slice;
  json endpoints = json::array();
  bool changed = false;
};

// Places `group` into the slices that have its ports already.
void place(const PortGroup& group, const std::vector<Object>& existing, Plan& plan) {
  std::map<std::string, const json*> missing;
  for (const json& endpoint : group.endpoints) missing.emplace(identity(endpoint), &endpoint);

  std::vector<Draft> drafts;
  for (const Object& slice : existing) {
    Draft draft{slice};
    for (const Value present : slice["endpoints"]) {
      json endpoint = present.to_json();
      const auto found = missing.find(identity(endpoint));
      if (found == missing.end()) {
        draft.changed = true;  // Gone, or a duplicate.
        continue;
      }
      draft.changed = draft.changed || *found->second != endpoint;
      draft.endpoints.push_back(*found->second);
      missing.erase(found);
    }
    drafts.push_back(std::move(draft));
  }

  // Slices that change anyway are filled first, then the fullest that has room for all of the rest; else new ones are
  // made.
  const auto fill = [&](Draft& draft) {
    while (!missing.empty() && draft.endpoints.size() < kMaxEndpoints) {
      draft.endpoints.push_back(*missing.begin()->second);
      missing.erase(missing.begin());
      draft.changed = true;
    }
  };
  for (Draft& draft : drafts) {
    if (draft.changed && !draft.endpoints.empty()) fill(draft);
  }
  while (missing.size() >= kMaxEndpoints) {
    Plan::Create create{group.ports, json::array()};
    for (std::size_t i = 0; i < kMaxEndpoints; ++i) {
      create.endpoints.push_back(*missing.begin()->second);
      missing.erase(missing.begin());
    }
    plan.create.push_back(std::move(create));
  }
  if (!missing.empty()) {
    Draft* best = nullptr;
    for (Draft& draft : drafts) {
      const bool fits = draft.endpoints.size() + missing.size() <= kMaxEndpoints;
      if (fits && (best == nullptr || draft.endpoints.size() > best->endpoints.size())) best = &draft;
    }
    if (best != nullptr) {
      fill(*best);
    } else {
      Plan::Create create{group.ports, json::array()};
      for (const auto& [id, endpoint] : missing) create.endpoints.push_back(*endpoint);
      plan.create.push_back(std::move(create));
    }
  }
  for (Draft& draft : drafts) {
    if (draft.endpoints.empty()) {
      plan.remove.push_back(std::move(draft.slice));
    } else if (draft.changed) {
      plan.update.push_back({std::move(draft.slice), group.ports, std::move(draft.endpoints)});
    } else {
      plan.keep.push_back(std::move(draft.slice));
    }
  }
}

bool placeholder(const Object& slice) {
  return slice["endpoints"].empty() && slice["ports"].empty();
}

}  // namespace

std::string ports_key(json ports) {
  if (!ports.is_array()) return "[]";
  std::vector<std::string> parts;
  for (const json& port : ports) parts.push_back(port.dump());
  std::ranges::sort(parts);
  std::string out;
  for (const std::string& part : parts) out += part + ';';
  return out;
}

Plan make_plan(const Wanted& wanted, const std::vector<Object>& existing) {
  Plan plan;
  std::map<std::string, std::vector<Object>> by_ports;
  for (const Object& slice : existing) {
    const Value ports = slice["ports"];
    by_ports[ports_key(ports.is_array() ? ports.to_json() : json::array())].push_back(slice);
  }
  for (const auto& [key, group] : wanted) {
    if (!group.endpoints.empty()) place(group, by_ports[key], plan);
  }
  for (auto& [key, slices] : by_ports) {
    const auto found = wanted.find(key);
    if (found != wanted.end() && !found->second.endpoints.empty()) continue;
    for (Object& slice : slices) plan.remove.push_back(std::move(slice));
  }
  // Never none at all: an empty slice says that there are no endpoints.
  if (plan.create.empty() && plan.update.empty() && plan.keep.empty()) {
    const auto present = std::ranges::find_if(plan.remove, placeholder);
    if (present != plan.remove.end()) {
      plan.keep.push_back(*present);
      plan.remove.erase(present);
    } else {
      plan.create.push_back({json::array(), json::array()});
    }
  }
  // A slice that would be deleted while another is created is rewritten instead: one write, and no moment without.
  while (!plan.create.empty() && !plan.remove.empty()) {
    plan.update.push_back(
        {std::move(plan.remove.back()), std::move(plan.create.back().ports), std::move(plan.create.back().endpoints)});
    plan.remove.pop_back();
    plan.create.pop_back();
  }
  return plan;
}

}  // namespace kubernel::plugins::endpointslice
