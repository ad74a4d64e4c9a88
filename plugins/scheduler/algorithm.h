// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <kubernel/base/executor.h>
#include <kubernel/base/random.h>
#include <kubernel/scheduler/framework.h>

#include "explanation.h"
#include "extender.h"
#include "metrics.h"
#include "nominator.h"
#include "profile.h"

namespace kubernel::plugins {

// What one pass over the nodes found.
struct Decision {
  std::string node;  // Empty: no node fits.
  std::size_t evaluated = 0, feasible = 0;
  bool sampled = false;  // One of those whose plugins are timed one by one.

  // Why not, when no node fits.
  scheduler::Refusals refusals;
  std::string pre_filter_message;        // A PreFilter that refused the pod as such.
  std::vector<std::size_t> rejected_by;  // Plugin indexes, each once.
  bool rejected_by_extender = false;

  // Upstream's FitError without what preemption adds.
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

  // What it works with; all outlive the algorithm.
  struct Surroundings {
    const Profile& profile;
    const Nominator& nominator;
    const std::vector<std::unique_ptr<Extender>>& extenders;
    const ProfileMetrics& metrics;
    const Clock& clock;
    Executor& compute;
    Random& random;
    Logger& log;
  };
  Algorithm(const Surroundings& surroundings, Options options);

  // Fills the cycle's data. Errors: a plugin's own, with its name.
  Result<Decision> decide(const CallContext& ctx, scheduler::Cycle& cycle);

  // What all plugins say, without deciding. Threads: not beside decide().
  Result<Explanation> explain(const CallContext& ctx, scheduler::Cycle& cycle) const;

  // Every filter on one node, twice when nominated pods count on it; the first refusal. Threads: any.
  Result<scheduler::NodeVerdict> filter_node(const scheduler::Cycle& cycle, const scheduler::NodeInfo& node) const;

  // The PreFilterExtensions of all filters that are not skipped.
  void pod_added(scheduler::Cycle& cycle, const scheduler::PodInfo& pod, const scheduler::NodeInfo& node) const;
  void pod_removed(scheduler::Cycle& cycle, const scheduler::PodInfo& pod, const scheduler::NodeInfo& node) const;

 private:
  using Nodes = std::vector<const scheduler::NodeInfo*>;

  // The nodes worth filtering: all of the snapshot's, or some.
  struct Candidates {
    std::span<const std::shared_ptr<const scheduler::NodeInfo>> all;
    Nodes some;
    std::size_t size() const { return all.empty() ? some.size() : all.size(); }
    const scheduler::NodeInfo& operator[](std::size_t i) const { return all.empty() ? *some[i] : *all[i]; }
    bool contains(const scheduler::NodeInfo& node) const {
      return !all.empty() || std::ranges::find(some, &node) != some.end();
    }
  };

  // Scores after normalizing, a row of the nodes for each plugin.
  struct ScoreTable {
    std::vector<std::size_t> scorers;  // Index into the profile's score list.
    std::vector<std::int64_t> scores;
  };

  void begin(scheduler::Cycle& cycle) const;
  std::string signature(const scheduler::Cycle& cycle) const;
  // A refusal of the pod as such goes into `decision`.
  Result<Candidates> pre_filter(const CallContext& ctx, scheduler::Cycle& cycle, Decision& decision);
  // A filter that has something to say of the pod, with what it remembers.
  struct Judge {
    const scheduler::Filter* filter;
    const scheduler::CycleData* data;
    const ProfilePlugin* plugin;
  };
  std::vector<Judge> judges(const scheduler::Cycle& cycle) const;
  static Result<scheduler::NodeVerdict> filter_once(const scheduler::PodInfo& pod, std::span<const Judge> judges,
                                                    const scheduler::NodeInfo& node);
  // What the filters said of a node with the pods that are nominated to it: for pods of one signature, by slot.
  struct Crowd {
    std::uint64_t generation = 0;  // Of the node.
    std::uint64_t nominations = 0;
    std::string_view plugin;
    scheduler::Verdict verdict = scheduler::Verdict::fits();
  };
  struct Crowds {
    std::string signature;
    std::string own;  // Where the pod in hand is nominated itself: there it does not count, so nothing is kept.
    std::vector<Crowd> known;

    Crowd* of(const scheduler::NodeInfo& node);
  };
  void prepare_crowds(const scheduler::Cycle& cycle);
  // `crowds`: null when the node is not as in the snapshot.
  Result<scheduler::NodeVerdict> filter_node(const scheduler::Cycle& cycle, std::span<const Judge> judges,
                                             const scheduler::NodeInfo& node, Crowds* crowds) const;
  Result<scheduler::NodeVerdict> filter_crowded(const scheduler::Cycle& cycle, std::span<const Judge> judges,
                                                const scheduler::NodeInfo& node,
                                                std::span<const std::shared_ptr<const scheduler::PodInfo>> ahead) const;
  Result<Candidates> run_pre_filters(const CallContext& ctx, scheduler::Cycle& cycle, Decision& decision) const;
  Result<std::vector<Explanation::Filtered>> explain_filters(const scheduler::Cycle& cycle,
                                                             const scheduler::NodeInfo& node) const;
  Result<void> explain_scores(const CallContext& ctx, scheduler::Cycle& cycle, const Nodes& fitting,
                              Explanation& out) const;
  Result<Nodes> feasible(const scheduler::Cycle& cycle, const Candidates& candidates, Decision& decision);
  const scheduler::NodeInfo* nominated(const scheduler::Cycle& cycle, const Candidates& candidates) const;
  Result<Nodes> find_fitting(const CallContext& ctx, scheduler::Cycle& cycle, Decision& decision);
  Result<Nodes> ask_extenders(const CallContext& ctx, const scheduler::Cycle& cycle, Nodes nodes,
                              Decision& decision) const;
  void add_extender_scores(const CallContext& ctx, const scheduler::Cycle& cycle, const Nodes& nodes,
                           std::vector<std::int64_t>& sums) const;
  Result<std::string> best(const CallContext& ctx, scheduler::Cycle& cycle, const Nodes& nodes);
  Result<void> pre_score(const CallContext& ctx, scheduler::Cycle& cycle, const Nodes& nodes) const;
  Result<ScoreTable> scores(const scheduler::Cycle& cycle, const Nodes& nodes) const;
  // By node, weighted.
  std::vector<std::int64_t> totals(const ScoreTable& table, std::size_t nodes) const;
  std::size_t enough(std::size_t nodes) const;

  const Profile& profile_;
  const Nominator& nominator_;
  const std::vector<std::unique_ptr<Extender>>& extenders_;
  const ProfileMetrics& metrics_;
  const Clock& clock_;
  Executor& compute_;
  Random& random_;
  Logger& log_;
  const Options options_;
  // parallel_for(), with as many helpers as work that usually takes `cost` nanoseconds a node is worth; learns the
  // cost.
  void spread(double& cost, std::size_t count, std::size_t likely,
              const std::function<void(std::size_t, std::size_t)>& work, const std::function<bool()>& stop) const;

  // plugin_execution_duration of the calls that are made for many nodes, on one of them.
  void time_filters(const scheduler::Cycle& cycle, std::span<const Judge> judges,
                    const scheduler::NodeInfo& node) const;
  void time_scores(const scheduler::Cycle& cycle, const scheduler::NodeInfo& node) const;
  // Calls `call`, timed when this cycle is sampled.
  template <class F>
  auto timed(Point point, const ProfilePlugin& plugin, F&& call) const {
    if (!sampling_) return call();
    const Stopwatch watch(clock_);
    auto result = call();
    metrics_.plugin_took(point, plugin.index, !result ? PluginStatus::Error : status_of(result->verdict),
                         watch.elapsed());
    return result;
  }

  std::size_t decisions_ = 0;
  Crowds crowds_;
  bool sampling_ = false;
  std::size_t next_start_ = 0;  // Where the next pass begins, so that all nodes get their turn.
  mutable double filter_cost_ = 0, score_cost_ = 0;
};

}  // namespace kubernel::plugins
