// SPDX-License-Identifier: Apache-2.0
#include <kubernel/scheduler/matching.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include <kubernel/scheduler/framework.h>

namespace kubernel::scheduler {
namespace {

using api::Value;

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t out = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (ec != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

bool compares(std::string_view have, std::string_view want, bool greater) {
  const auto a = number(have);
  const auto b = number(want);
  return a && b && (greater ? *a > *b : *a < *b);
}

bool tolerates(Value toleration, const Taint& taint) {
  const std::string_view effect = toleration["effect"].string();
  if (!effect.empty() && effect != to_string(taint.effect)) return false;
  const std::string_view key = toleration["key"].string();
  if (!key.empty() && key != taint.key) return false;
  const std::string_view op = toleration["operator"].string("Equal");
  if (op == "Exists") return true;
  const std::string_view value = toleration["value"].string();
  if (op == "Gt" || op == "Lt") return compares(taint.value, value, op == "Gt");
  return op == "Equal" && value == taint.value;
}

// `text` absent: the node has no such label.
bool holds(Value requirement, std::optional<std::string_view> text) {
  const std::string_view op = requirement["operator"].string();
  const Value values = requirement["values"];
  const bool listed =
      text && std::any_of(values.begin(), values.end(), [&](Value value) { return value.string() == *text; });
  if (op == "In") return listed;
  if (op == "NotIn") return !listed;
  if (op == "Exists") return text.has_value();
  if (op == "DoesNotExist") return !text;
  if (op == "Gt" || op == "Lt") return text && compares(*text, values.at(0).string(), op == "Gt");
  return false;
}

}  // namespace

std::string_view to_string(TaintEffect effect) noexcept {
  switch (effect) {
    case TaintEffect::NoSchedule: return "NoSchedule";
    case TaintEffect::PreferNoSchedule: return "PreferNoSchedule";
    case TaintEffect::NoExecute: return "NoExecute";
  }
  return {};
}

bool tolerated(Value tolerations, const Taint& taint) {
  return std::any_of(tolerations.begin(), tolerations.end(), [&](Value t) { return tolerates(t, taint); });
}

bool matches_node_selector_term(Value term, const NodeInfo& node) {
  const Value expressions = term["matchExpressions"];
  const Value fields = term["matchFields"];
  if (expressions.empty() && fields.empty()) return false;
  const Value labels = node.labels();
  for (const Value expression : expressions) {
    const Value label = labels[expression["key"].string()];
    if (!holds(expression, label ? std::optional(label.string()) : std::nullopt)) return false;
  }
  return std::all_of(fields.begin(), fields.end(), [&](Value field) {
    return field["key"].string() == "metadata.name" && holds(field, std::string_view(node.name));
  });
}

bool matches_node_selector(Value node_selector, const NodeInfo& node) {
  const Value terms = node_selector["nodeSelectorTerms"];
  return std::any_of(terms.begin(), terms.end(), [&](Value term) { return matches_node_selector_term(term, node); });
}

bool matches_required_node_affinity(Value pod_spec, const NodeInfo& node) {
  const Value selector = pod_spec["nodeSelector"];
  const Value labels = node.labels();
  for (auto it = selector.begin(); it != selector.end(); ++it) {
    const Value label = labels[it.key()];
    if (!label || label.string() != (*it).string()) return false;
  }
  const Value affinity = pod_spec.pointer("/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution");
  return !affinity || matches_node_selector(affinity, node);
}

std::vector<PodClaim> claims_of(const PodInfo& pod) {
  std::vector<PodClaim> out;
  for (const Value volume : pod.spec["volumes"]) {
    if (const Value claim = volume["persistentVolumeClaim"]) {
      out.push_back({{pod.object.ns(), std::string(claim["claimName"].string())}, false});
    } else if (volume["ephemeral"]) {
      out.push_back({{pod.object.ns(), pod.object.name() + "-" + std::string(volume["name"].string())}, true});
    }
  }
  return out;
}

bool changes_claim_of(const PodInfo& pod, const api::Object& before, const api::Object& after) {
  const api::Object& claim = after ? after : before;
  if (!claim) return true;
  const auto claims = claims_of(pod);
  return std::ranges::any_of(claims, [&](const PodClaim& c) { return c.key == claim.key(); });
}

void normalize_scores(std::span<std::int64_t> scores, bool reverse) {
  if (scores.empty()) return;
  const std::int64_t highest = *std::ranges::max_element(scores);
  for (std::int64_t& score : scores) {
    if (highest == 0) {
      score = reverse ? kMaxNodeScore : score;
      continue;
    }
    score = score * kMaxNodeScore / highest;
    if (reverse) score = kMaxNodeScore - score;
  }
}

}  // namespace kubernel::scheduler
