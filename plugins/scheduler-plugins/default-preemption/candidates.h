// SPDX-License-Identifier: Apache-2.0
//
// Which pods would have to go, and from which node it is best.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <kubernel/api/selector.h>
#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

using Pods = std::vector<std::shared_ptr<const scheduler::PodInfo>>;

// What a PodDisruptionBudget still allows.
struct Budget {
  explicit Budget(const api::Object& budget);

  bool covers(const scheduler::PodInfo& pod) const;

  std::string ns;
  api::LabelSelector selector;
  std::int64_t allowed = 0;
  api::Object object;
};

// A node on which the pod fits once the victims, most important first, are gone.
using Candidate = scheduler::PreemptExtender::Victims;

// Priority, then who has run longer (upstream's MoreImportantPod). `now` stands for the start of a pod that has not
// started.
bool more_important(const scheduler::PodInfo& a, const scheduler::PodInfo& b, Clock::WallTime now);

// The victims on one node; a verdict that says why there are none.
struct NodeVictims {
  scheduler::Verdict verdict = scheduler::Verdict::fits();
  Candidate candidate;
};

// Imagines pods of lower priority gone from `node`, then brings back as many as leave room. Threads: any.
// Errors: of filters.
Result<NodeVictims> select_victims(scheduler::Handle& handle, const scheduler::Cycle& cycle,
                                   const scheduler::NodeInfo& node, const std::vector<Budget>& budgets,
                                   Clock::WallTime now);

// Upstream's pickOneNodeForPreemption. Precondition: not empty, each with at least one victim.
const Candidate& pick_one(const std::vector<Candidate>& candidates, Clock::WallTime now);

}  // namespace kubernel::plugins
