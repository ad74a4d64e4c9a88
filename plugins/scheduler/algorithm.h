// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <kubernel/base/executor.h>
#include <kubernel/base/random.h>
#include <kubernel/scheduler/framework.h>

#include "profile.h"

namespace kubernel::plugins {

// What one pass over the nodes found.
struct Decision {
  std::string node;                             // Empty: no node fits.
  std::size_t evaluated = 0, feasible = 0;

  // Why not, when no node fits.
  std::vector<scheduler::NodeVerdict> verdicts;
  std::string pre_filter_message;               // A PreFilter that refused the pod as such.
  std::set<std::size_t> rejected_by;            // Plugin indexes.

  // Upstream's message: "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable."
  std::string message(std::size_t nodes) const;
};

// The filter and score passes of the scheduling cycle.
//
// Threads: decide() runs for one pod at a time.
class Algorithm {
 public:
  struct Options {
    int percentage_of_nodes_to_score = 0;  // 0: upstream's rule, fewer the larger the cluster.
    std::size_t helpers = 1;               // Threads of `compute` beside the caller's.
  };

  // All references outlive the algorithm.
  Algorithm(const Profile& profile, Executor& compute, Random& random, Options options);

  // Fills cycle.data. Errors: a plugin's own, with its name.
  Result<Decision> decide(const CallContext& ctx, scheduler::Cycle& cycle);

  // Every filter on one node; the first refusal.
  Result<scheduler::NodeVerdict> filter_node(const scheduler::Cycle& cycle, const scheduler::NodeInfo& node) const;

 private:
  using Nodes = std::vector<const scheduler::NodeInfo*>;

  // The nodes worth filtering; a refusal of the pod as such goes into `decision`.
  Result<Nodes> pre_filter(const CallContext& ctx, scheduler::Cycle& cycle, Decision& decision);
  Result<Nodes> feasible(const scheduler::Cycle& cycle, const Nodes& candidates, Decision& decision);
  Result<std::string> best(const CallContext& ctx, scheduler::Cycle& cycle, const Nodes& nodes);
  Result<std::vector<std::int64_t>> plugin_scores(const scheduler::Cycle& cycle, const ProfilePlugin& plugin, const Nodes& nodes);
  std::size_t enough(std::size_t nodes) const;

  const Profile& profile_;
  Executor& compute_;
  Random& random_;
  const Options options_;
  std::size_t next_start_ = 0;        // Where the next pass begins, so that all nodes get their turn.
  std::vector<bool> skip_filter_;     // Per plugin, for the pod in hand.
};

}  // namespace kubernel::plugins
