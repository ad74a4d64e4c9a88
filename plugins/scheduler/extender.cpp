// SPDX-License-Identifier: Apache-2.0
#include "extender.h"

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

namespace kubernel::plugins {

using nlohmann::json;
using scheduler::NodeInfo;
using scheduler::PodInfo;

namespace {

// extender/v1's MaxExtenderPriority.
constexpr std::int64_t kMaxExtenderScore = 10;

// Go matches names without regard to case, so extenders answer "nodenames" as well as "NodeNames".
json member(const json& object, std::string_view name) {
  if (!object.is_object()) return nullptr;
  for (const auto& [key, value] : object.items()) {
    const bool same = std::ranges::equal(
        key, name, [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); });
    if (same) return value;
  }
  return nullptr;
}

std::map<std::string, std::string> reasons(const json& object) {
  std::map<std::string, std::string> out;
  if (!object.is_object()) return out;
  for (const auto& [node, reason] : object.items()) out[node] = reason.get<std::string>();
  return out;
}

Result<void> no_error(const json& answer, const std::string& name) {
  const json error = member(answer, "Error");
  if (error.is_string() && !error.get_ref<const std::string&>().empty()) {
    return Error(Reason::Internal, "extender " + name + ": " + error.get<std::string>());
  }
  return {};
}

std::vector<std::string> names_in(const json& answer) {
  std::vector<std::string> out;
  if (const json names = member(answer, "NodeNames"); names.is_array()) {
    for (const json& name : names) out.push_back(name.get<std::string>());
    return out;
  }
  for (const json& node : member(member(answer, "Nodes"), "items"))
    out.push_back(node.at("metadata").at("name").get<std::string>());
  return out;
}

}  // namespace

bool Extender::interested_in(const PodInfo& pod) const {
  if (settings_.managed_resources.empty()) return true;
  for (const char* list : {"containers", "initContainers"}) {
    for (const api::Value container : pod.spec[list]) {
      for (const std::string& resource : settings_.managed_resources) {
        if (container["resources"]["requests"][resource] || container["resources"]["limits"][resource]) return true;
      }
    }
  }
  return false;
}

Result<json> Extender::call(const CallContext& ctx, const std::string& verb, const json& arguments) const {
  CallContext limited = ctx;
  limited.deadline = std::min(ctx.deadline, clock_.now() + settings_.timeout);
  auto answer = post_(limited, settings_.url_prefix + "/" + verb, arguments.dump());
  if (!answer) return std::move(answer).error().wrap("extender " + name());
  json parsed = json::parse(*answer, nullptr, false);
  if (parsed.is_discarded())
    return Error(Reason::Internal, "extender " + name() + ": the answer to " + verb + " is not JSON");
  return parsed;
}

json Extender::arguments_for(const PodInfo& pod, const Nodes& nodes) const {
  json out = {{"Pod", pod.object.to_json()}, {"Nodes", nullptr}, {"NodeNames", nullptr}};
  if (settings_.node_cache_capable) {
    out["NodeNames"] = json::array();
    for (const NodeInfo* node : nodes) out["NodeNames"].push_back(node->name);
  } else {
    json items = json::array();
    for (const NodeInfo* node : nodes) items.push_back(node->object.to_json());
    out["Nodes"] = {{"metadata", json::object()}, {"items", std::move(items)}};
  }
  return out;
}

Result<Extender::Filtered> Extender::filter(const CallContext& ctx, const PodInfo& pod, const Nodes& nodes) const {
  return catch_as_error("extender " + name(), [&]() -> Result<Filtered> {
    KUBERNEL_TRY(const json answer, call(ctx, settings_.filter_verb, arguments_for(pod, nodes)));
    KUBERNEL_CHECK_OK(no_error(answer, name()));
    Filtered out;
    for (const std::string& fitting : names_in(answer)) {
      const auto found = std::ranges::find(nodes, fitting, &NodeInfo::name);
      if (found == nodes.end())
        return Error(Reason::Internal, "extender " + name() + " claims a filtered node \"" + fitting +
                                           "\" which is not found in the input node list");
      out.fitting.push_back(*found);
    }
    out.refused = reasons(member(answer, "FailedNodes"));
    out.unresolvable = reasons(member(answer, "FailedAndUnresolvableNodes"));
    return out;
  });
}

Result<std::vector<std::int64_t>> Extender::score(const CallContext& ctx, const PodInfo& pod,
                                                  const Nodes& nodes) const {
  return catch_as_error("extender " + name(), [&]() -> Result<std::vector<std::int64_t>> {
    KUBERNEL_TRY(const json answer, call(ctx, settings_.prioritize_verb, arguments_for(pod, nodes)));
    std::vector<std::int64_t> out(nodes.size());
    for (const json& entry : answer) {
      const json host = member(entry, "Host");
      const auto found = std::ranges::find(nodes, host.is_string() ? host.get<std::string>() : "", &NodeInfo::name);
      if (found == nodes.end()) continue;
      const std::int64_t scaled = member(entry, "Score").get<std::int64_t>() * settings_.weight *
                                  (scheduler::kMaxNodeScore / kMaxExtenderScore);
      out[static_cast<std::size_t>(found - nodes.begin())] += scaled;
    }
    return out;
  });
}

Result<void> Extender::bind(const CallContext& ctx, const PodInfo& pod, std::string_view node) const {
  return catch_as_error("extender " + name(), [&]() -> Result<void> {
    const json arguments = {
        {"PodName", pod.key().name}, {"PodNamespace", pod.key().ns}, {"PodUID", pod.uid()}, {"Node", node}};
    KUBERNEL_TRY(const json answer, call(ctx, settings_.bind_verb, arguments));
    return no_error(answer, name());
  });
}

Result<std::vector<Extender::Victims>> Extender::preempt(const CallContext& ctx, const PodInfo& pod,
                                                         std::vector<Victims> candidates,
                                                         const scheduler::Snapshot& snapshot) {
  return catch_as_error("extender " + name(), [&]() -> Result<std::vector<Victims>> {
    const char* const key = settings_.node_cache_capable ? "NodeNameToMetaVictims" : "NodeNameToVictims";
    json arguments = {{"Pod", pod.object.to_json()}, {key, json::object()}};
    for (const Victims& candidate : candidates) {
      json pods = json::array();
      for (const auto& victim : candidate.pods) {
        pods.push_back(settings_.node_cache_capable ? json{{"UID", victim->uid()}} : victim->object.to_json());
      }
      arguments[key][candidate.node] = {{"Pods", std::move(pods)}, {"NumPDBViolations", candidate.budget_violations}};
    }
    KUBERNEL_TRY(const json answer, call(ctx, settings_.preempt_verb, arguments));
    std::vector<Victims> out;
    const json agreed = member(answer, "NodeNameToMetaVictims");
    for (const auto& [name_of_node, chosen] : agreed.items()) {
      const NodeInfo* const node = snapshot.find(name_of_node);
      if (node == nullptr)
        return Error(Reason::Internal, "extender " + name() + " names the unknown node \"" + name_of_node + "\"");
      Victims victims{name_of_node, {}, 0};
      if (const json violations = member(chosen, "NumPDBViolations"); violations.is_number())
        victims.budget_violations = violations.get<std::int64_t>();
      for (const json& entry : member(chosen, "Pods")) {
        const std::string uid = member(entry, "UID").get<std::string>();
        const auto victim =
            std::ranges::find_if(node->pods, [&](const auto& on_node) { return on_node->uid() == uid; });
        if (victim == node->pods.end()) {
          return Error(Reason::Internal, "extender " + name() + " claims to preempt the pod with UID " + uid +
                                             " on node " + name_of_node + ", but it is not found there");
        }
        victims.pods.push_back(*victim);
      }
      out.push_back(std::move(victims));
    }
    return out;
  });
}

}  // namespace kubernel::plugins
