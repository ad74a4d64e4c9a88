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

NodeTerm::Requirement::Requirement(Value requirement) : key(requirement["key"].string()) {
  constexpr std::pair<std::string_view, Operator> kOperators[] = {
      {"In", Operator::In},         {"NotIn", Operator::NotIn},
      {"Exists", Operator::Exists}, {"DoesNotExist", Operator::DoesNotExist},
      {"Gt", Operator::Gt},         {"Lt", Operator::Lt}};
  const std::string_view name = requirement["operator"].string();
  for (const auto& [text, known] : kOperators) {
    if (text == name) op = known;
  }
  for (const Value value : requirement["values"]) values.push_back(value.string());
  if (!values.empty() && (op == Operator::Gt || op == Operator::Lt)) bound = number(values.front());
}

bool NodeTerm::Requirement::holds(std::optional<std::string_view> text) const {
  switch (op) {
    case Operator::In: return text && std::ranges::find(values, *text) != values.end();
    case Operator::NotIn: return !text || std::ranges::find(values, *text) == values.end();
    case Operator::Exists: return text.has_value();
    case Operator::DoesNotExist: return !text;
    case Operator::Gt:
    case Operator::Lt: {
      const auto have = text && bound ? number(*text) : std::nullopt;
      return have && (op == Operator::Gt ? *have > *bound : *have < *bound);
    }
    case Operator::Unknown: return false;
  }
  return false;
}

NodeTerm::NodeTerm(Value term) {
  for (const Value expression : term["matchExpressions"]) expressions_.emplace_back(expression);
  for (const Value field : term["matchFields"]) fields_.emplace_back(field);
}

bool NodeTerm::matches(const NodeInfo& node) const {
  if (expressions_.empty() && fields_.empty()) return false;
  const Value labels = expressions_.empty() ? Value() : node.labels();
  const auto expressed = [&](const Requirement& requirement) {
    const Value label = labels[requirement.key];
    return requirement.holds(label ? std::optional(label.string()) : std::nullopt);
  };
  const auto named = [&](const Requirement& requirement) {
    return requirement.key == "metadata.name" && requirement.holds(std::string_view(node.name));
  };
  return std::ranges::all_of(expressions_, expressed) && std::ranges::all_of(fields_, named);
}

RequiredNodes::RequiredNodes(Value pod_spec) {
  const Value selector = pod_spec["nodeSelector"];
  for (auto it = selector.begin(); it != selector.end(); ++it) labels_.emplace_back(it.key(), (*it).string());
  const Value affinity = pod_spec.pointer("/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution");
  if (!affinity) return;
  terms_.emplace();
  for (const Value term : affinity["nodeSelectorTerms"]) terms_->emplace_back(term);
}

bool RequiredNodes::matches(const NodeInfo& node) const {
  const Value labels = labels_.empty() ? Value() : node.labels();
  for (const auto& [key, value] : labels_) {
    const Value label = labels[key];
    if (!label || label.string() != value) return false;
  }
  return !terms_ || std::ranges::any_of(*terms_, [&](const NodeTerm& term) { return term.matches(node); });
}

bool matches_node_selector_term(Value term, const NodeInfo& node) {
  return NodeTerm(term).matches(node);
}

bool matches_node_selector(Value node_selector, const NodeInfo& node) {
  const Value terms = node_selector["nodeSelectorTerms"];
  return std::any_of(terms.begin(), terms.end(), [&](Value term) { return NodeTerm(term).matches(node); });
}

bool matches_required_node_affinity(Value pod_spec, const NodeInfo& node) {
  return RequiredNodes(pod_spec).matches(node);
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

std::vector<std::string> names_of_claims(const PodInfo& pod) {
  std::vector<std::string> out;
  for (const PodClaim& claim : claims_of(pod)) out.push_back(api::to_string(claim.key));
  return out;
}

std::optional<std::vector<std::string>> name_of_claim(const api::Object& before, const api::Object& after) {
  return std::vector{api::to_string((after ? after : before).key())};
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
