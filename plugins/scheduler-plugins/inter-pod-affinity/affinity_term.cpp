// SPDX-License-Identifier: Apache-2.0

#include "affinity_term.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace kubernel::plugins {

using api::LabelSelector;
using api::Value;
using scheduler::PodInfo;

namespace {

// KEP-3633: the pod's own values of these labels become requirements of the selector, as the API server does when a pod
// is created.
void merge_label_keys(Value keys, const char* op, const PodInfo& owner, nlohmann::json& selector) {
  for (const Value key : keys) {
    const Value label = owner.object.labels()[key.string()];
    if (!label) continue;
    selector["matchExpressions"].push_back({{"key", key.string()}, {"operator", op}, {"values", {label.string()}}});
  }
}

LabelSelector read_selector(Value term, const PodInfo& owner) {
  const Value written = term["labelSelector"];
  Result<LabelSelector> parsed = LabelSelector::nothing();
  if (term["matchLabelKeys"].empty() && term["mismatchLabelKeys"].empty()) {
    parsed = LabelSelector::from_api(written);
  } else if (written.is_object()) {
    nlohmann::json merged = written.to_json();
    merge_label_keys(term["matchLabelKeys"], "In", owner, merged);
    merge_label_keys(term["mismatchLabelKeys"], "NotIn", owner, merged);
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

void read_terms(Value terms, const PodInfo& owner, std::vector<AffinityTerm>& out) {
  for (const Value term : terms) out.push_back(AffinityTerm::read(term, owner));
}

void read_weighted_terms(Value terms, const PodInfo& owner, std::vector<AffinityTerm>& out) {
  for (const Value weighted : terms) {
    out.push_back(AffinityTerm::read(weighted["podAffinityTerm"], owner));
    out.back().weight = weighted["weight"].integer();
  }
}

}  // namespace

AffinityTerm AffinityTerm::read(Value term, const PodInfo& owner) {
  AffinityTerm out;
  out.selector = read_selector(term, owner);
  out.topology_key = term["topologyKey"].string();
  for (const Value ns : term["namespaces"]) out.namespaces.emplace_back(ns.string());
  const Value by_labels = term["namespaceSelector"];
  if (by_labels.is_object()) {
    auto parsed = LabelSelector::from_api(by_labels);
    out.namespace_selector = parsed ? *std::move(parsed) : LabelSelector::nothing();
  } else if (out.namespaces.empty()) {
    out.namespaces.push_back(owner.object.ns());
  }
  std::ranges::sort(out.namespaces);
  return out;
}

bool AffinityTerm::matches(const PodInfo& pod, const NamespaceLabels& namespace_labels) const {
  const std::string& ns = pod.object.ns();
  bool in_scope = std::ranges::find(namespaces, ns) != namespaces.end();
  if (!in_scope && namespace_selector) {
    in_scope = namespace_selector->matches_everything();
    if (!in_scope) {
      const api::Object labeled = namespace_labels(ns);
      in_scope = namespace_selector->matches(labeled ? labeled.labels() : Value());
    }
  }
  return in_scope && selector.matches(pod.object.labels());
}

std::string AffinityTerm::pods_text() const {
  std::string out;
  for (const std::string& ns : namespaces) out += ns + ",";
  out += '|';
  if (namespace_selector) out += text_of(*namespace_selector);
  return out + '|' + text_of(selector);
}

const api::Requirement* AffinityTerm::exact_label() const {
  const auto& requirements = selector.requirements();
  const auto exact = std::ranges::find_if(requirements, [](const api::Requirement& r) {
    return (r.op == api::Operator::In || r.op == api::Operator::Equals) && r.values.size() == 1;
  });
  return exact == requirements.end() ? nullptr : &*exact;
}

PodAffinity PodAffinity::read(const PodInfo& pod) {
  PodAffinity out;
  const Value affinity = pod.spec["affinity"];
  const Value together = affinity["podAffinity"];
  const Value apart = affinity["podAntiAffinity"];
  read_terms(together["requiredDuringSchedulingIgnoredDuringExecution"], pod, out.required);
  read_terms(apart["requiredDuringSchedulingIgnoredDuringExecution"], pod, out.required_anti);
  read_weighted_terms(together["preferredDuringSchedulingIgnoredDuringExecution"], pod, out.preferred);
  read_weighted_terms(apart["preferredDuringSchedulingIgnoredDuringExecution"], pod, out.preferred_anti);
  return out;
}

bool has_pod_affinity(const PodInfo& pod) {
  const Value affinity = pod.spec["affinity"];
  return affinity && (!affinity["podAffinity"].empty() || !affinity["podAntiAffinity"].empty());
}

}  // namespace kubernel::plugins
