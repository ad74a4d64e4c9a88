// SPDX-License-Identifier: Apache-2.0
//
// The search for a node where a pod fits once others are gone.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <kubernel/scheduler/framework.h>

#include "candidates.h"

namespace kubernel::plugins {

// What dry runs have found of nodes that have not changed since. It is known for pods of one signature: the next pod
// of another one begins anew.
//
// Threads: one at a time.
class KnownVictims {
 public:
  // From here on for pods of that signature, on nodes with slots below `slots`. Empty: nothing is known or kept.
  void begin(std::string signature, std::size_t slots);
  // Null when nothing is known of the node as it is now, with those pods nominated to it. Valid until begin().
  const Victims* find(const scheduler::NodeInfo& node, const Pods& nominated) const;
  // Returns what it keeps; null when it keeps nothing of such a node.
  const Victims* keep(const scheduler::NodeInfo& node, const Pods& nominated, Victims victims);

 private:
  struct Entry {
    std::uint64_t generation = 0;
    std::vector<std::weak_ptr<const scheduler::PodInfo>> nominated;  // A pod that is no more is not kept for this.
    Victims victims;
  };
  std::string signature_;
  std::vector<Entry> entries_;  // By slot.
};

// One pod's search.
class VictimSearch {
 public:
  struct Terms {
    std::size_t wanted = 1;  // Candidates after which it may stop.
    std::size_t offset = 0;  // Where it begins, so that not always the same nodes suffer.
    Clock::WallTime now;
  };
  // All outlive the search.
  VictimSearch(scheduler::Handle& handle, const scheduler::Cycle& cycle, const std::vector<Budget>& budgets,
               KnownVictims& known, Terms terms)
      : handle_(handle), cycle_(cycle), budgets_(budgets), known_(known), terms_(terms) {}

  // Goes through the nodes, once around, until there are enough candidates and one of them breaks no budget.
  // Errors: of filters.
  Result<void> run(const std::vector<const scheduler::NodeInfo*>& nodes);

  const std::vector<NodeVictims>& candidates() const noexcept { return candidates_; }
  // When there is no candidate: why, node by node.
  std::vector<scheduler::NodeVerdict> take_refusals() { return std::move(refusals_); }

 private:
  struct Open {
    const scheduler::NodeInfo* node;
    Pods nominated;
  };
  bool enough() const;
  Result<void> dry_run(std::vector<Open>& open);
  void found(const scheduler::NodeInfo& node, const Victims& victims);

  scheduler::Handle& handle_;
  const scheduler::Cycle& cycle_;
  const std::vector<Budget>& budgets_;
  KnownVictims& known_;
  const Terms terms_;
  std::deque<Victims> own_;  // Those that nobody keeps.
  std::vector<NodeVictims> candidates_;
  bool harmless_ = false;  // One of them breaks no budget.
  std::vector<scheduler::NodeVerdict> refusals_;
};

}  // namespace kubernel::plugins
