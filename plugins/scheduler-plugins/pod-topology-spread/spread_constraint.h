// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <kubernel/api/selector.h>
#include <kubernel/scheduler/node_info.h>
#include <kubernel/scheduler/topology.h>

namespace kubernel::plugins {

// One core/v1 TopologySpreadConstraint, ready to be counted.
struct SpreadConstraint {
  std::int64_t max_skew = 1;
  std::int64_t min_domains = 1;
  std::string topology_key;
  bool required = true;  // DoNotSchedule.
  api::LabelSelector selector;
  bool honor_affinity = true;  // nodeAffinityPolicy
  bool honor_taints = false;   // nodeTaintsPolicy

  // Those of the pod with that whenUnsatisfiable. A selector that cannot be read matches nothing.
  static std::vector<SpreadConstraint> read(const scheduler::PodInfo& pod, bool required);
};

bool has_all_keys(const scheduler::NodeInfo& node, const std::vector<SpreadConstraint>& constraints);

// True when the constraint's policies include the node for that pod.
bool includes(const SpreadConstraint& constraint, const scheduler::PodInfo& pod, const scheduler::NodeInfo& node);

// True when a selector's counter counts the pod: one that is being deleted is as good as gone.
bool counted(const api::Object& pod, const api::LabelSelector& selector);

// Asks an index about the pods in `pod`'s namespace that a constraint selects.
class SpreadCounts {
 public:
  // With `all_keys`, a node counts only when it has the labels of all `constraints`. All references outlive this.
  SpreadCounts(scheduler::TopologyIndex& index, const scheduler::Snapshot& snapshot, const scheduler::PodInfo& pod,
               const std::vector<SpreadConstraint>& constraints, bool all_keys);

  // Per domain, on the nodes that the constraint's policies include.
  std::shared_ptr<const scheduler::DomainCounts> by_domain(const SpreadConstraint& constraint) const;
  std::shared_ptr<const scheduler::NodeCounts> by_node(const SpreadConstraint& constraint) const;

 private:
  scheduler::PodSetSpec set(const SpreadConstraint& constraint) const;
  std::string nodes_name(const SpreadConstraint& constraint) const;
  scheduler::NodePredicate nodes(const SpreadConstraint& constraint) const;

  scheduler::TopologyIndex& index_;
  const scheduler::Snapshot& snapshot_;
  const scheduler::PodInfo& pod_;
  const std::vector<SpreadConstraint>& constraints_;
  const bool all_keys_;
};

}  // namespace kubernel::plugins
