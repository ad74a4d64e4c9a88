// SPDX-License-Identifier: Apache-2.0
#include "candidates.h"

#include <algorithm>
#include <functional>
#include <limits>

#include <kubernel/api/time.h>

namespace kubernel::plugins {

using scheduler::Cycle;
using scheduler::NodeInfo;
using scheduler::PodInfo;
using scheduler::Verdict;

namespace {

Clock::WallTime started(const PodInfo& pod, Clock::WallTime now) {
  return api::read_time(pod.object.pointer("/status/startTime")).value_or(now);
}

// Splits the pods, in their order, into those whose eviction would break a budget and the others.
std::pair<Pods, Pods> split_by_budget(const Pods& pods, const std::vector<Budget>& budgets) {
  std::vector<std::int64_t> left;
  for (const Budget& budget : budgets) left.push_back(budget.allowed);
  std::pair<Pods, Pods> out;
  for (const auto& pod : pods) {
    bool violates = false;
    for (std::size_t i = 0; i < budgets.size(); ++i) {
      if (!budgets[i].covers(*pod)) continue;
      --left[i];
      violates = violates || left[i] < 0;
    }
    (violates ? out.first : out.second).push_back(pod);
  }
  return out;
}

// One node while pods are taken away and brought back.
class Imagined {
 public:
  Imagined(scheduler::Handle& handle, const Cycle& cycle, const NodeInfo& node)
      : handle_(handle), cycle_(cycle.clone()), node_(node) {}

  void remove(const PodInfo& pod) {
    node_.remove_pod(pod.uid());
    handle_.pod_removed(cycle_, pod, node_);
  }
  void add(const std::shared_ptr<const PodInfo>& pod) {
    node_.add_pod(pod);
    handle_.pod_added(cycle_, *pod, node_);
  }
  Result<Verdict> verdict() { return handle_.run_filters(cycle_, node_); }

 private:
  scheduler::Handle& handle_;
  Cycle cycle_;
  NodeInfo node_;
};

// Keeps the candidates for which `measure` is smallest.
template <class F>
void keep_smallest(std::vector<const Candidate*>& candidates, F&& measure) {
  if (candidates.size() <= 1) return;
  std::vector<decltype(measure(*candidates.front()))> measured;
  for (const Candidate* candidate : candidates) measured.push_back(measure(*candidate));
  const auto smallest = *std::ranges::min_element(measured);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (measured[i] == smallest) candidates[kept++] = candidates[i];
  }
  candidates.resize(kept);
}

// Most important first. When each started is read once: it is a text.
void sort_by_importance(Pods& pods, Clock::WallTime now) {
  std::vector<std::pair<Clock::WallTime, std::shared_ptr<const PodInfo>>> keyed;
  keyed.reserve(pods.size());
  for (auto& pod : pods) {
    const auto start = started(*pod, now);
    keyed.emplace_back(start, std::move(pod));
  }
  std::ranges::stable_sort(keyed, [](const auto& a, const auto& b) {
    return a.second->priority != b.second->priority ? a.second->priority > b.second->priority : a.first < b.first;
  });
  for (std::size_t i = 0; i < pods.size(); ++i) pods[i] = std::move(keyed[i].second);
}

std::int64_t priority_sum(const Candidate& candidate) {
  std::int64_t sum = 0;
  // Shifted, so that many pods of negative priority do not weigh less than few.
  for (const auto& pod : candidate.pods)
    sum += pod->priority + std::int64_t{std::numeric_limits<std::int32_t>::max()} + 1;
  return sum;
}

// When the first of the victims of highest priority started.
Clock::WallTime earliest_start(const Candidate& candidate, Clock::WallTime now) {
  const std::int64_t highest =
      (*std::ranges::max_element(candidate.pods, {}, [](const auto& pod) { return pod->priority; }))->priority;
  Clock::WallTime earliest = Clock::WallTime::max();
  for (const auto& pod : candidate.pods) {
    if (pod->priority == highest) earliest = std::min(earliest, started(*pod, now));
  }
  return earliest;
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
  return started(a, now) < started(b, now);
}

Result<NodeVictims> select_victims(scheduler::Handle& handle, const Cycle& cycle, const NodeInfo& node,
                                   const std::vector<Budget>& budgets, Clock::WallTime now) {
  NodeVictims out;
  out.candidate.node = node.name;
  Pods potential;
  for (const auto& pod : node.pods) {
    if (pod->priority < cycle.pod->priority) potential.push_back(pod);
  }
  if (potential.empty()) {
    out.verdict = Verdict::unresolvable("No preemption victims found for incoming pod");
    return out;
  }
  Imagined imagined(handle, cycle, node);
  for (const auto& pod : potential) imagined.remove(*pod);
  KUBERNEL_TRY(out.verdict, imagined.verdict());
  if (!out.verdict.ok()) return out;

  sort_by_importance(potential, now);
  const auto [violating, others] = split_by_budget(potential, budgets);
  Pods& victims = out.candidate.pods;
  for (const Pods* group : {&violating, &others}) {
    for (const auto& pod : *group) {
      imagined.add(pod);
      KUBERNEL_TRY(const Verdict still, imagined.verdict());
      if (still.ok()) continue;
      imagined.remove(*pod);
      victims.push_back(pod);
      if (group == &violating) ++out.candidate.budget_violations;
    }
  }
  sort_by_importance(victims, now);
  if (victims.empty()) return Error(Reason::Internal, "expected at least one victim pod on node \"" + node.name + "\"");
  return out;
}

const Candidate& pick_one(const std::vector<Candidate>& candidates, Clock::WallTime now) {
  std::vector<const Candidate*> left;
  for (const Candidate& candidate : candidates) left.push_back(&candidate);
  keep_smallest(left, [](const Candidate& c) { return c.budget_violations; });
  keep_smallest(left, [](const Candidate& c) { return c.pods.front()->priority; });
  keep_smallest(left, priority_sum);
  keep_smallest(left, [](const Candidate& c) { return c.pods.size(); });
  keep_smallest(left, [now](const Candidate& c) { return -earliest_start(c, now).time_since_epoch().count(); });
  return *left.front();
}

}  // namespace kubernel::plugins
