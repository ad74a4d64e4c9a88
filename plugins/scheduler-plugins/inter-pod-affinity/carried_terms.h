// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <kubernel/scheduler/topology.h>

#include "affinity_term.h"

namespace kubernel::plugins {

enum class TermKind : std::uint8_t { Required, RequiredAnti, Preferred, PreferredAnti };

// The affinity terms of the pods that run, each distinct one once, with how many pods carry it in each domain of its
// topology key. A pod that comes to a node adds one; the pods of a Deployment share their terms.
//
// Threads: as TopologyIndex.
class CarriedTerms final : public scheduler::PodObserver {
 public:
  struct Group {
    AffinityTerm term;
    TermKind kind = TermKind::Required;
    scheduler::TopologyIndex::Tally* tally = nullptr;
  };

  // The index whose observer this is; call before its first advance().
  void count_in(scheduler::TopologyIndex& index) { index_ = &index; }

  void reset() override;
  void pod_changed(const scheduler::PodInfo& pod, std::uint32_t slot, std::int32_t change) override;

  // Visits every term that some pod carries and that speaks of `pod`.
  void for_each_about(const scheduler::PodInfo& pod, const NamespaceLabels& namespace_labels,
                      const std::function<void(const Group&)>& visit) const;

 private:
  const std::vector<Group*>& groups_of(const scheduler::PodInfo& pod);
  Group* group(AffinityTerm term, TermKind kind);
  void drop_unused();

  scheduler::TopologyIndex* index_ = nullptr;
  std::unordered_map<std::string, std::vector<Group*>> carriers_;        // By the text of a pod's affinity.
  std::unordered_map<std::string, std::unique_ptr<Group>> groups_;       // By what makes a term distinct.
  std::unordered_map<std::string, std::vector<const Group*>> by_label_;  // "key=value" that the term asks for.
  std::vector<const Group*> without_label_;
  std::size_t drop_above_ = 256;
};

}  // namespace kubernel::plugins
