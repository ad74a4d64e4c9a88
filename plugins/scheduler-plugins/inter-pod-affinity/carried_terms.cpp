// SPDX-License-Identifier: Apache-2.0

#include "carried_terms.h"

#include <algorithm>

namespace kubernel::plugins {

using api::Value;
using scheduler::PodInfo;
using scheduler::TopologyIndex;

namespace {

// Equal texts: the pods carry the same terms.
std::string affinity_text(const PodInfo& pod) {
  const Value affinity = pod.spec["affinity"];
  std::string out = pod.object.ns() + '\n' + affinity["podAffinity"].dump() + affinity["podAntiAffinity"].dump();
  // matchLabelKeys and mismatchLabelKeys read the pod's own labels.
  if (out.find("atchLabelKeys\"") != std::string::npos) out += pod.object.labels().dump();
  return out;
}

std::string group_text(const AffinityTerm& term, TermKind kind) {
  return std::to_string(static_cast<int>(kind)) + '|' + std::to_string(term.weight) + '|' + term.topology_key + '|' +
         term.pods_text();
}

std::string label_text(std::string_view key, std::string_view value) {
  return std::string(key) + '=' + std::string(value);
}

}  // namespace

void CarriedTerms::reset() {
  carriers_.clear();
  groups_.clear();
  by_label_.clear();
  without_label_.clear();
}

void CarriedTerms::pod_changed(const PodInfo& pod, std::uint32_t slot, std::int32_t change) {
  if (!has_pod_affinity(pod)) return;
  for (const Group* group : groups_of(pod)) index_->bump(group->tally, slot, change);
}

const std::vector<CarriedTerms::Group*>& CarriedTerms::groups_of(const PodInfo& pod) {
  std::string text = affinity_text(pod);
  if (const auto found = carriers_.find(text); found != carriers_.end()) return found->second;
  if (carriers_.size() >= drop_above_) drop_unused();
  PodAffinity affinity = PodAffinity::read(pod);
  std::vector<Group*> groups;
  for (auto& term : affinity.required) groups.push_back(group(std::move(term), TermKind::Required));
  for (auto& term : affinity.required_anti) groups.push_back(group(std::move(term), TermKind::RequiredAnti));
  for (auto& term : affinity.preferred) groups.push_back(group(std::move(term), TermKind::Preferred));
  for (auto& term : affinity.preferred_anti) groups.push_back(group(std::move(term), TermKind::PreferredAnti));
  return carriers_.emplace(std::move(text), std::move(groups)).first->second;
}

CarriedTerms::Group* CarriedTerms::group(AffinityTerm term, TermKind kind) {
  auto& known = groups_[group_text(term, kind)];
  if (known != nullptr) return known.get();
  known = std::make_unique<Group>();
  known->tally = index_->add_tally(term.topology_key);
  known->term = std::move(term);
  known->kind = kind;
  if (const api::Requirement* label = known->term.exact_label()) {
    by_label_[label_text(label->key, label->values.front())].push_back(known.get());
  } else {
    without_label_.push_back(known.get());
  }
  return known.get();
}

// Forgets the terms that no pod carries any more.
void CarriedTerms::drop_unused() {
  const auto unused = [](const Group* group) { return TopologyIndex::size_of(*group->tally) == 0; };
  std::erase_if(carriers_, [&](const auto& entry) { return std::ranges::any_of(entry.second, unused); });
  std::erase_if(without_label_, unused);
  for (auto& [label, groups] : by_label_) std::erase_if(groups, unused);
  std::erase_if(by_label_, [](const auto& entry) { return entry.second.empty(); });
  std::erase_if(groups_, [&](const auto& entry) {
    if (!unused(entry.second.get())) return false;
    index_->remove_tally(entry.second->tally);
    return true;
  });
  drop_above_ = 2 * carriers_.size() + 256;
}

void CarriedTerms::for_each_about(const PodInfo& pod, const NamespaceLabels& namespace_labels,
                                  const std::function<void(const Group&)>& visit) const {
  const auto look_at = [&](const std::vector<const Group*>& groups) {
    for (const Group* group : groups) {
      if (TopologyIndex::size_of(*group->tally) > 0 && group->term.matches(pod, namespace_labels)) visit(*group);
    }
  };
  look_at(without_label_);
  if (by_label_.empty()) return;
  const Value labels = pod.object.labels();
  for (auto label = labels.begin(); label != labels.end(); ++label) {
    const auto found = by_label_.find(label_text(label.key(), (*label).string()));
    if (found != by_label_.end()) look_at(found->second);
  }
}

}  // namespace kubernel::plugins
