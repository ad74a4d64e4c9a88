// SPDX-License-Identifier: Apache-2.0

#include "spread_constraint.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include <kubernel/scheduler/matching.h>

namespace kubernel::plugins {

using namespace scheduler;
using api::LabelSelector;
using api::Value;

namespace {

LabelSelector read_selector(Value constraint, const PodInfo& pod) {
  const Value written = constraint["labelSelector"];
  Result<LabelSelector> parsed = LabelSelector::nothing();
  if (constraint["matchLabelKeys"].empty()) {
    parsed = LabelSelector::from_api(written);
  } else if (written.is_object()) {
    // KEP-3243: the pod's own values of these labels become requirements.
    nlohmann::json merged = written.to_json();
    for (const Value key : constraint["matchLabelKeys"]) {
      const Value label = pod.object.labels()[key.string()];
      if (label)
        merged["matchExpressions"].push_back({{"key", key.string()}, {"operator", "In"}, {"values", {label.string()}}});
    }
    const auto document = api::Document::parse(merged.dump());
    if (document) parsed = LabelSelector::from_api((*document)->root());
  }
  return parsed ? *std::move(parsed) : LabelSelector::nothing();
}

// Nothing and everything have the same text in the query form.
std::string text_of(const LabelSelector& selector) {
  if (!selector.requirements().empty()) return selector.to_string();
  return selector.matches_everything() ? "*" : "-";
}

Value required_affinity(const PodInfo& pod) {
  return pod.spec.pointer("/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution");
}

bool selects_nodes(const PodInfo& pod) {
  return !pod.spec["nodeSelector"].empty() || required_affinity(pod);
}

bool tolerates_all(const PodInfo& pod, const NodeInfo& node) {
  return std::ranges::all_of(node.taints, [&](const Taint& taint) {
    return taint.effect == TaintEffect::PreferNoSchedule || tolerated(pod.spec["tolerations"], taint);
  });
}

}  // namespace

std::vector<SpreadConstraint> SpreadConstraint::read(const PodInfo& pod, bool required) {
  std::vector<SpreadConstraint> out;
  for (const Value constraint : pod.spec["topologySpreadConstraints"]) {
    if ((constraint["whenUnsatisfiable"].string() == "DoNotSchedule") != required) continue;
    SpreadConstraint& c = out.emplace_back();
    c.max_skew = constraint["maxSkew"].integer(1);
    c.min_domains = constraint["minDomains"].integer(1);
    c.topology_key = constraint["topologyKey"].string();
    c.required = required;
    c.selector = read_selector(constraint, pod);
    c.honor_affinity = constraint["nodeAffinityPolicy"].string("Honor") == "Honor";
    c.honor_taints = constraint["nodeTaintsPolicy"].string("Ignore") == "Honor";
  }
  return out;
}

bool has_all_keys(const NodeInfo& node, const std::vector<SpreadConstraint>& constraints) {
  const Value labels = node.labels();
  return std::ranges::all_of(constraints, [&](const SpreadConstraint& c) { return bool{labels[c.topology_key]}; });
}

bool includes(const SpreadConstraint& constraint, const PodInfo& pod, const NodeInfo& node) {
  if (constraint.honor_affinity && !matches_required_node_affinity(pod.spec, node)) return false;
  return !constraint.honor_taints || tolerates_all(pod, node);
}

bool counted(const api::Object& pod, const LabelSelector& selector) {
  return !pod.head().deleting && selector.matches(pod.labels());
}

SpreadCounts::SpreadCounts(TopologyIndex& index, const Snapshot& snapshot, const PodInfo& pod,
                           const std::vector<SpreadConstraint>& constraints, bool all_keys)
    : index_(index), snapshot_(snapshot), pod_(pod), constraints_(constraints), all_keys_(all_keys) {}

std::shared_ptr<const DomainCounts> SpreadCounts::by_domain(const SpreadConstraint& constraint) const {
  const std::string& ns = pod_.object.ns();
  return index_.counts(
      snapshot_, ns + '\n' + text_of(constraint.selector), [&] { return set(constraint); }, constraint.topology_key,
      nodes_name(constraint), [&] { return nodes(constraint); });
}

std::shared_ptr<const NodeCounts> SpreadCounts::by_node(const SpreadConstraint& constraint) const {
  return index_.node_counts(snapshot_, pod_.object.ns() + '\n' + text_of(constraint.selector),
                            [&] { return set(constraint); });
}

PodSetSpec SpreadCounts::set(const SpreadConstraint& constraint) const {
  PodSetSpec spec;
  spec.contains = [ns = pod_.object.ns(), selector = constraint.selector](const PodInfo& pod) {
    return pod.object.ns() == ns && counted(pod.object, selector);
  };
  for (const api::Requirement& r : constraint.selector.requirements()) {
    const bool exact = (r.op == api::Operator::In || r.op == api::Operator::Equals) && r.values.size() == 1;
    if (!exact) continue;
    spec.label_key = r.key;
    spec.label_value = r.values.front();
    break;
  }
  return spec;
}

// Equal names: the same nodes. Empty: every node that has the constraint's own key, which is what the index counts
// anyway.
std::string SpreadCounts::nodes_name(const SpreadConstraint& constraint) const {
  std::string out;
  if (all_keys_ && constraints_.size() > 1) {
    for (const SpreadConstraint& c : constraints_) out += c.topology_key + '\n';
  }
  if (constraint.honor_affinity && selects_nodes(pod_)) {
    out += "affinity " + pod_.spec["nodeSelector"].dump() + required_affinity(pod_).dump();
  }
  if (constraint.honor_taints) out += "tolerations " + pod_.spec["tolerations"].dump();
  return out;
}

NodePredicate SpreadCounts::nodes(const SpreadConstraint& constraint) const {
  std::vector<SpreadConstraint> keys;
  if (all_keys_ && constraints_.size() > 1) keys = constraints_;  // As its name says.
  // The pod is kept with its predicate: its terms are read again for every node that comes or changes.
  return [keys = std::move(keys), constraint, pod = std::make_shared<const PodInfo>(pod_)](const NodeInfo& node) {
    return has_all_keys(node, keys) && includes(constraint, *pod, node);
  };
}

}  // namespace kubernel::plugins
