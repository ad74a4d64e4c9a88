// SPDX-License-Identifier: Apache-2.0
//
// Which pods would have to go, and from which node it is best.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
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

// What upstream's pickOneNodeForPreemption looks at.
struct Rank {
  std::int64_t budget_violations = 0;
  std::int64_t highest_priority = 0;
  std::int64_t priority_sum = 0;
  std::size_t count = 0;
  // When the first of the pods of the highest priority started; and whether one of them has not: that one counts as
  // started now.
  Clock::WallTime started = Clock::WallTime::max();
  bool unstarted = false;
};
// Precondition: `pods` is not empty.
Rank rank_of(const Pods& pods, std::int64_t budget_violations);

// The victims on one node as it was then; a verdict that says why there are none.
struct Victims {
  scheduler::Verdict verdict = scheduler::Verdict::fits();
  std::vector<std::uint32_t> positions;  // In NodeInfo::pods, most important first.
  Rank rank;

  // Of a node without pods of lower priority.
  static const Victims& none();
};

struct NodeVictims {
  const scheduler::NodeInfo* node = nullptr;
  const Victims* victims = nullptr;

  Candidate candidate() const;
};

// Imagines pods of lower priority gone from `node`, then brings back as many as leave room. Threads: any.
// Errors: of filters.
Result<Victims> select_victims(scheduler::Handle& handle, const scheduler::Cycle& cycle,
                               const scheduler::NodeInfo& node, const std::vector<Budget>& budgets,
                               Clock::WallTime now);

// Upstream's pickOneNodeForPreemption: the position of the best, the first of several. Precondition: not empty.
std::size_t pick_one(std::span<const Rank> ranks, Clock::WallTime now);

}  // namespace kubernel::plugins
