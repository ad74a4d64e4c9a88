// SPDX-License-Identifier: Apache-2.0
#include "candidates.h"

#include <algorithm>
#include <limits>
#include <tuple>

namespace kubernel::plugins {

using scheduler::Cycle;
using scheduler::NodeInfo;
using scheduler::PodInfo;
using scheduler::Verdict;

namespace {

using Positions = std::vector<std::uint32_t>;

// Most important first.
void sort_by_importance(Positions& positions, const Pods& pods, Clock::WallTime now) {
  std::ranges::stable_sort(positions,
                           [&](std::uint32_t a, std::uint32_t b) { return more_important(*pods[a], *pods[b], now); });
}

// Splits the pods, in their order, into those whose eviction would break a budget and the others.
std::pair<Positions, Positions> split_by_budget(Positions positions, const Pods& pods,
                                                const std::vector<Budget>& budgets) {
  std::pair<Positions, Positions> out;
  if (budgets.empty()) {
    out.second = std::move(positions);
    return out;
  }
  std::vector<std::int64_t> left;
  for (const Budget& budget : budgets) left.push_back(budget.allowed);
  for (const std::uint32_t at : positions) {
    bool violates = false;
    for (std::size_t i = 0; i < budgets.size(); ++i) {
      if (!budgets[i].covers(*pods[at])) continue;
      --left[i];
      violates = violates || left[i] < 0;
    }
    (violates ? out.first : out.second).push_back(at);
  }
  return out;
}

// One node while pods are taken away and brought back.
class Imagined {
 public:
  Imagined(scheduler::Handle& handle, const Cycle& cycle, const NodeInfo& node)
      : handle_(handle), cycle_(cycle), node_(node) {
    if (cycle.data_follows_pods) own_ = cycle.clone();
  }

  void remove(const PodInfo& pod) {
    node_.remove_pod(pod);
    if (own_) handle_.pod_removed(*own_, pod, node_);
  }
  void add(const std::shared_ptr<const PodInfo>& pod) {
    node_.add_pod(pod);
    if (own_) handle_.pod_added(*own_, *pod, node_);
  }
  Result<Verdict> verdict() { return handle_.run_filters(own_ ? *own_ : cycle_, node_); }

 private:
  scheduler::Handle& handle_;
  const Cycle& cycle_;
  std::optional<Cycle> own_;
  NodeInfo node_;
};

Clock::WallTime earliest_start(const Rank& rank, Clock::WallTime now) {
  return rank.unstarted ? std::min(rank.started, now) : rank.started;
}

// Whether `a` is the better choice.
bool better(const Rank& a, const Rank& b, Clock::WallTime now) {
  const auto measures = [](const Rank& rank) {
    return std::tuple(rank.budget_violations, rank.highest_priority, rank.priority_sum, rank.count);
  };
  if (measures(a) != measures(b)) return measures(a) < measures(b);
  return earliest_start(a, now) > earliest_start(b, now);
}

}  // namespace

Budget::Budget(const api::Object& budget)
    : ns(budget.ns()), allowed(budget.pointer("/status/disruptionsAllowed").integer()), object(budget) {
  auto read = api::LabelSelector::from_api(budget.pointer("/spec/selector"));
  // An empty selector matches nothing here, as upstream; so does one that cannot be read, which validation keeps out.
  selector = read && !read->matches_everything() ? *std::move(read) : api::LabelSelector::nothing();
}

bool Budget::covers(const PodInfo& pod) const {
  if (pod.key().ns != ns || pod.object.labels().empty() || !selector.matches(pod.object.labels())) return false;
  // Already evicted as far as the budget is concerned: it has been counted.
  return !object.pointer("/status/disruptedPods")[pod.key().name];
}

bool more_important(const PodInfo& a, const PodInfo& b, Clock::WallTime now) {
  if (a.priority != b.priority) return a.priority > b.priority;
  return a.started.value_or(now) < b.started.value_or(now);
}

Rank rank_of(const Pods& pods, std::int64_t budget_violations) {
  Rank out;
  out.budget_violations = budget_violations;
  out.count = pods.size();
  out.highest_priority = (*std::ranges::max_element(pods, {}, [](const auto& pod) { return pod->priority; }))->priority;
  for (const auto& pod : pods) {
    // Shifted, so that many pods of negative priority do not weigh less than few.
    out.priority_sum += pod->priority + std::int64_t{std::numeric_limits<std::int32_t>::max()} + 1;
    if (pod->priority != out.highest_priority) continue;
    out.unstarted = out.unstarted || !pod->started;
    out.started = std::min(out.started, pod->started.value_or(out.started));
  }
  return out;
}

const Victims& Victims::none() {
  static const Victims kNone{Verdict::unresolvable("No preemption victims found for incoming pod"), {}, {}};
  return kNone;
}

Candidate NodeVictims::candidate() const {
  Candidate out{node->name, {}, victims->rank.budget_violations};
  for (const std::uint32_t at : victims->positions) out.pods.push_back(node->pods[at]);
  return out;
}

Result<Victims> select_victims(scheduler::Handle& handle, const Cycle& cycle, const NodeInfo& node,
                               const std::vector<Budget>& budgets, Clock::WallTime now) {
  if (!node.has_pods_below(cycle.pod->priority)) return Victims::none();
  Positions potential;
  for (std::uint32_t at = 0; at < node.pods.size(); ++at) {
    if (node.pods[at]->priority < cycle.pod->priority) potential.push_back(at);
  }
  Victims out;
  Imagined imagined(handle, cycle, node);
  for (const std::uint32_t at : potential) imagined.remove(*node.pods[at]);
  KUBERNEL_TRY(out.verdict, imagined.verdict());
  if (!out.verdict.ok()) return out;

  sort_by_importance(potential, node.pods, now);
  const auto [violating, others] = split_by_budget(std::move(potential), node.pods, budgets);
  std::int64_t violations = 0;
  for (const Positions* group : {&violating, &others}) {
    for (const std::uint32_t at : *group) {
      imagined.add(node.pods[at]);
      KUBERNEL_TRY(const Verdict still, imagined.verdict());
      if (still.ok()) continue;
      imagined.remove(*node.pods[at]);
      out.positions.push_back(at);
      if (group == &violating) ++violations;
    }
  }
  if (out.positions.empty())
    return Error(Reason::Internal, "expected at least one victim pod on node \"" + node.name + "\"");
  sort_by_importance(out.positions, node.pods, now);
  out.rank = rank_of(NodeVictims{&node, &out}.candidate().pods, violations);
  return out;
}

std::size_t pick_one(std::span<const Rank> ranks, Clock::WallTime now) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < ranks.size(); ++i) {
    if (better(ranks[i], ranks[best], now)) best = i;
  }
  return best;
}

}  // namespace kubernel::plugins
