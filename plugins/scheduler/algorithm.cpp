// SPDX-License-Identifier: Apache-2.0
#include "algorithm.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "parallel.h"

namespace kubernel::plugins {

using scheduler::Cycle;
using scheduler::NodeInfo;
using scheduler::NodeVerdict;
using scheduler::PodInfo;
using scheduler::Verdict;

namespace {

// Upstream's minFeasibleNodesToFind and minFeasibleNodesPercentageToFind.
constexpr std::size_t kMinFeasible = 100;
constexpr std::size_t kMinPercentage = 5;
// Nodes between the one that is filtered and the one that is fetched from memory.
constexpr std::size_t kAhead = 6;
// Of so many decisions the plugins of one are timed (upstream's pluginMetricsSamplePercent).
constexpr std::size_t kSampled = 10;

Error of_plugin(Error error, const ProfilePlugin& plugin) {
  return std::move(error).wrap("running \"" + plugin.name + "\" plugin");
}

bool skips(const std::vector<bool>& skip, const ProfilePlugin& plugin) {
  return plugin.index < skip.size() && skip[plugin.index];
}

void add_once(std::vector<std::size_t>& indexes, std::size_t index) {
  if (std::ranges::find(indexes, index) == indexes.end()) indexes.push_back(index);
}

// Nodes lie scattered in memory and a filter takes some nanoseconds: without this, most of a pass is waiting for
// memory.
void prefetch(const NodeInfo& node) {
  constexpr std::size_t kLine = 64;
  const auto* const begin = reinterpret_cast<const char*>(&node);
  for (std::size_t at = 0; at < sizeof(NodeInfo); at += kLine) __builtin_prefetch(begin + at);
}

// `index` in a ring of `count`, when it is less than twice around: cheaper than a division for each node.
std::size_t wrapped(std::size_t index, std::size_t count) {
  return index < count ? index : index - count;
}

// "[A B]", as Go prints a list; sorted.
std::string go_list(const std::set<std::string_view>& names) {
  std::string out;
  for (const std::string_view name : names) out += (out.empty() ? "" : " ") + std::string(name);
  return "[" + out + "]";
}

}  // namespace

std::string Decision::message(std::size_t nodes) const {
  if (nodes == 0) return "no nodes available to schedule pods";
  if (pre_filter_message.empty()) return refusals.message(nodes);
  return "0/" + std::to_string(nodes) + " nodes are available: " + pre_filter_message + ".";
}

Algorithm::Algorithm(const Surroundings& surroundings, Options options)
    : profile_(surroundings.profile),
      nominator_(surroundings.nominator),
      extenders_(surroundings.extenders),
      metrics_(surroundings.metrics),
      clock_(surroundings.clock),
      compute_(surroundings.compute),
      random_(surroundings.random),
      log_(surroundings.log),
      options_(options) {}

void Algorithm::begin(Cycle& cycle) const {
  cycle.data.clear();
  cycle.data.resize(profile_.plugins().size());
  cycle.skip_filter.assign(profile_.plugins().size(), false);
  cycle.skip_score.assign(profile_.plugins().size(), false);
  cycle.data_follows_pods = true;
  cycle.signature.clear();
}

Result<Decision> Algorithm::decide(const CallContext& ctx, Cycle& cycle) {
  Decision decision;
  sampling_ = decisions_++ % kSampled == 0;
  decision.sampled = sampling_;
  begin(cycle);
  KUBERNEL_TRY(const Nodes fitting, find_fitting(ctx, cycle, decision));
  decision.feasible = fitting.size();
  if (fitting.empty()) {
    cycle.signature = signature(cycle);
    return decision;
  }
  if (fitting.size() == 1) {
    decision.node = fitting.front()->name;
    return decision;
  }
  KUBERNEL_TRY(decision.node, best(ctx, cycle, fitting));
  return decision;
}

Result<Algorithm::Nodes> Algorithm::find_fitting(const CallContext& ctx, Cycle& cycle, Decision& decision) {
  KUBERNEL_TRY(const Candidates candidates, pre_filter(ctx, cycle, decision));
  if (candidates.size() == 0) return Nodes{};
  // Preemption made room there for this very pod: in all likelihood the only node that fits.
  if (const NodeInfo* promised = nominated(cycle, candidates)) {
    KUBERNEL_TRY(const NodeVerdict verdict, filter_node(cycle, *promised));
    if (verdict.verdict.ok()) {
      decision.evaluated = 1;
      KUBERNEL_TRY(Nodes agreed, ask_extenders(ctx, cycle, {promised}, decision));
      if (!agreed.empty()) return agreed;
    }
  }
  KUBERNEL_TRY(Nodes fitting, feasible(cycle, candidates, decision));
  return ask_extenders(ctx, cycle, std::move(fitting), decision);
}

Result<Algorithm::Nodes> Algorithm::ask_extenders(const CallContext& ctx, const Cycle& cycle, Nodes nodes,
                                                  Decision& decision) const {
  for (const auto& extender : extenders_) {
    if (nodes.empty()) break;
    if (!extender->filters() || !extender->interested_in(*cycle.pod)) continue;
    auto answer = extender->filter(ctx, *cycle.pod, nodes);
    if (!answer && extender->ignorable()) {
      log_warning(log_, "extender left out", {{"extender", extender->name()}, {"error", answer.error()}});
      continue;
    }
    if (!answer) return std::move(answer).error();
    for (const NodeInfo* node : nodes) {
      if (std::ranges::find(answer->fitting, node) != answer->fitting.end()) continue;
      const auto hopeless = answer->unresolvable.find(node->name);
      const auto refused = answer->refused.find(node->name);
      decision.rejected_by_extender = true;
      if (hopeless != answer->unresolvable.end()) {
        decision.refusals.nodes.push_back({node, {}, Verdict::unresolvable(hopeless->second)});
      } else if (refused != answer->refused.end()) {
        decision.refusals.nodes.push_back({node, {}, Verdict::unschedulable(refused->second)});
      }
    }
    nodes = std::move(answer->fitting);
  }
  return nodes;
}

const NodeInfo* Algorithm::nominated(const Cycle& cycle, const Candidates& candidates) const {
  const std::string name = nominator_.node_of(cycle.pod->uid());
  const NodeInfo* const node = name.empty() ? nullptr : cycle.snapshot->find(name);
  if (node == nullptr || !candidates.all.empty()) return node;
  return std::ranges::find(candidates.some, node) == candidates.some.end() ? nullptr : node;
}

Result<Algorithm::Candidates> Algorithm::pre_filter(const CallContext& ctx, Cycle& cycle, Decision& decision) {
  const Stopwatch watch(clock_);
  auto candidates = run_pre_filters(ctx, cycle, decision);
  const bool refused = candidates && candidates->size() == 0;
  metrics_.point(Point::PreFilter,
                 !candidates ? PointStatus::Error
                 : refused   ? PointStatus::Unschedulable
                             : PointStatus::Success,
                 watch.elapsed());
  return candidates;
}

Result<Algorithm::Candidates> Algorithm::run_pre_filters(const CallContext& ctx, Cycle& cycle,
                                                         Decision& decision) const {
  std::optional<std::set<std::string>> only;
  std::set<std::string_view> narrowed_by;
  for (const auto& [point, plugin] : profile_.pre_filter) {
    metrics_.evaluated(Point::PreFilter, plugin->index);
    auto result = timed(Point::PreFilter, *plugin, [&, p = point] {
      return catch_as_error("pre-filter", [&] { return p->pre_filter(ctx, *cycle.pod, *cycle.snapshot); });
    });
    if (!result) return of_plugin(std::move(result).error(), *plugin);
    if (result->verdict.kind() == Verdict::Kind::Skip) cycle.skip_filter[plugin->index] = true;
    if (!result->verdict.ok()) {
      for (const std::string& reason : result->verdict.reasons()) {
        decision.pre_filter_message += (decision.pre_filter_message.empty() ? "" : ", ") + reason;
      }
      decision.refusals.others = std::move(result->verdict);
      add_once(decision.rejected_by, plugin->index);
      return Candidates{};
    }
    cycle.data[plugin->index] = std::move(result->data);
    if (!result->nodes) continue;
    std::set<std::string> named(result->nodes->begin(), result->nodes->end());
    if (only) std::erase_if(named, [&](const std::string& name) { return !only->contains(name); });
    only = std::move(named);
    narrowed_by.insert(plugin->name);
    add_once(decision.rejected_by, plugin->index);  // It already ruled nodes out.
    if (!only->empty()) continue;
    decision.pre_filter_message = narrowed_by.size() == 1
                                      ? "node(s) didn't satisfy plugin " + std::string(*narrowed_by.begin())
                                      : "node(s) didn't satisfy plugin(s) " + go_list(narrowed_by) + " simultaneously";
    decision.refusals.others = Verdict::unresolvable(decision.pre_filter_message);
    return Candidates{};
  }

  cycle.data_follows_pods = std::ranges::any_of(profile_.pre_filter, [&](const auto& at) {
    return at.plugin->extensions != nullptr && cycle.data[at.plugin->index] != nullptr &&
           !skips(cycle.skip_filter, *at.plugin);
  });
  Candidates out;
  if (!only) {
    out.all = cycle.snapshot->nodes();
    return out;
  }
  for (const std::string& name : *only) {
    if (const NodeInfo* node = cycle.snapshot->find(name)) out.some.push_back(node);
  }
  decision.refusals.others = Verdict::unresolvable("node(s) didn't satisfy plugin(s) " + go_list(narrowed_by));
  return out;
}

std::vector<Algorithm::Judge> Algorithm::judges(const Cycle& cycle) const {
  std::vector<Judge> out;
  out.reserve(profile_.filter.size());
  for (const auto& [point, plugin] : profile_.filter) {
    if (!skips(cycle.skip_filter, *plugin)) out.push_back({point, cycle.data[plugin->index].get(), plugin});
  }
  return out;
}

// For each node and filter: what says "yes" is looked at where it is, not handed on.
Result<NodeVerdict> Algorithm::filter_once(const PodInfo& pod, std::span<const Judge> judges, const NodeInfo& node) {
  for (const Judge& judge : judges) {
    try {
      auto verdict = judge.filter->filter(pod, judge.data, node);
      if (!verdict) return of_plugin(std::move(verdict).error(), *judge.plugin);
      if (!verdict->ok()) return NodeVerdict{&node, judge.plugin->name, *std::move(verdict)};
    } catch (const std::exception& e) {
      return of_plugin(Error(Reason::Internal, std::string("filter: ") + e.what()), *judge.plugin);
    }
  }
  return NodeVerdict{&node, {}, Verdict::fits()};
}

Result<NodeVerdict> Algorithm::filter_node(const Cycle& cycle, const NodeInfo& node) const {
  return filter_node(cycle, judges(cycle), node, nullptr);
}

// Of every filter that has something to say of the pod, what the pod is to it.
std::string Algorithm::signature(const Cycle& cycle) const {
  std::string out = std::to_string(cycle.pod->priority);
  for (const auto& [point, plugin] : profile_.filter) {
    if (skips(cycle.skip_filter, *plugin)) continue;
    out += '\n' + plugin->name + ' ';
    if (plugin->local == nullptr || !plugin->local->sign(*cycle.pod, out)) return {};
  }
  return out;
}

Algorithm::Crowd* Algorithm::Crowds::of(const NodeInfo& node) {
  return node.generation != 0 && node.slot < known.size() && node.name != own ? &known[node.slot] : nullptr;
}

// Nodes in whose room others already count are those that fit at first sight, pass after pass, and cost the most.
void Algorithm::prepare_crowds(const Cycle& cycle) {
  std::string now = nominator_.empty() ? std::string() : signature(cycle);
  if (now.empty() || now != crowds_.signature) crowds_.known.clear();
  crowds_.signature = std::move(now);
  if (crowds_.signature.empty()) return;
  crowds_.own = nominator_.node_of(cycle.pod->uid());
  crowds_.known.resize(std::max(crowds_.known.size(), cycle.snapshot->nodes().size()));
}

Result<NodeVerdict> Algorithm::filter_node(const Cycle& cycle, std::span<const Judge> known, const NodeInfo& node,
                                           Crowds* crowds) const {
  // As it is first: most nodes say no already, and only the others are worth imagining with the pods that are expected
  // there.
  Result<NodeVerdict> without = filter_once(*cycle.pod, known, node);
  if (!without || !without->verdict.ok() || nominator_.empty()) return without;
  const std::uint64_t nominations = nominator_.version(node.name);
  if (nominations == 0) return without;
  Crowd* const crowd = crowds == nullptr ? nullptr : crowds->of(node);
  if (crowd != nullptr && crowd->generation == node.generation && crowd->nominations == nominations)
    return NodeVerdict{&node, crowd->plugin, crowd->verdict};
  const auto ahead = nominator_.ahead_of(*cycle.pod, node.name);
  if (ahead.empty()) return without;
  KUBERNEL_TRY(NodeVerdict with, filter_crowded(cycle, known, node, ahead));
  with.node = &node;
  if (crowd != nullptr) *crowd = {node.generation, nominations, with.plugin, with.verdict};
  return with;
}

Result<NodeVerdict> Algorithm::filter_crowded(const Cycle& cycle, std::span<const Judge> known, const NodeInfo& node,
                                              std::span<const std::shared_ptr<const PodInfo>> ahead) const {
  NodeInfo crowded = node;
  if (!cycle.data_follows_pods) {
    for (const auto& pod : ahead) crowded.add_pod(pod);
    return filter_once(*cycle.pod, known, crowded);
  }
  Cycle imagined = cycle.clone();
  for (const auto& pod : ahead) {
    crowded.add_pod(pod);
    pod_added(imagined, *pod, crowded);
  }
  return filter_once(*cycle.pod, judges(imagined), crowded);
}

void Algorithm::pod_added(Cycle& cycle, const PodInfo& pod, const NodeInfo& node) const {
  for (const auto& [point, plugin] : profile_.pre_filter) {
    auto& data = cycle.data[plugin->index];
    if (plugin->extensions == nullptr || data == nullptr || skips(cycle.skip_filter, *plugin)) continue;
    plugin->extensions->pod_added(*data, *cycle.pod, pod, node);
  }
}

void Algorithm::pod_removed(Cycle& cycle, const PodInfo& pod, const NodeInfo& node) const {
  for (const auto& [point, plugin] : profile_.pre_filter) {
    auto& data = cycle.data[plugin->index];
    if (plugin->extensions == nullptr || data == nullptr || skips(cycle.skip_filter, *plugin)) continue;
    plugin->extensions->pod_removed(*data, *cycle.pod, pod, node);
  }
}

// Waking a helper costs some ten microseconds: below that the caller is faster alone.
void Algorithm::spread(double& cost, std::size_t count, std::size_t likely,
                       const std::function<void(std::size_t, std::size_t)>& work,
                       const std::function<bool()>& stop) const {
  constexpr double kWorthHelp = 100'000;
  constexpr double kNew = 0.1;  // Weight of the last measurement.
  const bool alone = cost * static_cast<double>(likely) < kWorthHelp;
  const Stopwatch watch(clock_);
  parallel_for(compute_, alone ? 0 : options_.helpers, count, work, stop);
  const double threads = alone ? 1 : static_cast<double>(options_.helpers + 1);
  const double measured =
      static_cast<double>(watch.elapsed().count()) * threads / static_cast<double>(std::max<std::size_t>(likely, 1));
  cost = cost == 0 ? measured : cost * (1 - kNew) + measured * kNew;
}

Result<Algorithm::Nodes> Algorithm::feasible(const Cycle& cycle, const Candidates& candidates, Decision& decision) {
  const Stopwatch watch(clock_);
  // Without scores the first node that fits is as good as any.
  const bool any = profile_.score.empty() &&
                   std::ranges::none_of(extenders_, [](const auto& e) { return e->filters() || e->scores(); });
  const std::size_t wanted = any ? 1 : enough(candidates.size());
  const std::size_t count = candidates.size();
  const std::size_t start = next_start_ % count;
  const std::vector<Judge> known = judges(cycle);
  prepare_crowds(cycle);
  for (const Judge& judge : known) metrics_.evaluated(Point::Filter, judge.plugin->index);
  if (sampling_) time_filters(cycle, known, candidates[start]);
  std::mutex mutex;  // Guards the three below; taken once a piece, not once a node.
  std::vector<std::size_t> fitting;
  fitting.reserve(std::min(candidates.size(), wanted + kMinFeasible));
  std::vector<std::pair<std::size_t, NodeVerdict>> refused;
  std::optional<Error> failed;
  std::atomic<std::size_t> found = 0;

  const auto work = [&](std::size_t first, std::size_t last) {
    std::vector<std::size_t> good;
    good.reserve(std::min(last - first, wanted));
    std::vector<std::pair<std::size_t, NodeVerdict>> bad;
    std::optional<Error> error;
    for (std::size_t i = first; i < std::min(last, first + kAhead); ++i)
      prefetch(candidates[wrapped(start + i, count)]);
    // A piece is finished once begun, unless it has all that is wanted, so that which nodes count does not depend on
    // which thread was faster.
    for (std::size_t i = first; i < last && good.size() < wanted; ++i) {
      if (i + kAhead < last) prefetch(candidates[wrapped(start + i + kAhead, count)]);
      auto verdict = filter_node(cycle, known, candidates[wrapped(start + i, count)], &crowds_);
      if (!verdict) {
        error = std::move(verdict).error();
        break;
      }
      if (verdict->verdict.ok()) {
        good.push_back(i);
      } else {
        bad.emplace_back(i, *std::move(verdict));
      }
    }
    found.fetch_add(good.size(), std::memory_order_relaxed);
    const std::lock_guard lock(mutex);
    fitting.insert(fitting.end(), good.begin(), good.end());
    refused.insert(refused.end(), std::make_move_iterator(bad.begin()), std::make_move_iterator(bad.end()));
    if (error) failed = std::move(error);
  };
  spread(filter_cost_, candidates.size(), wanted, work,
         [&] { return found.load(std::memory_order_relaxed) >= wanted; });
  metrics_.point(Point::Filter,
                 failed            ? PointStatus::Error
                 : fitting.empty() ? PointStatus::Unschedulable
                                   : PointStatus::Success,
                 watch.elapsed());
  if (failed) return *std::move(failed);

  // In node order, and no further than the last node that was wanted: the same seed gives the same decision.
  if (!std::ranges::is_sorted(fitting)) std::ranges::sort(fitting);
  const auto position = [](const auto& one) { return one.first; };
  if (!std::ranges::is_sorted(refused, {}, position)) std::ranges::sort(refused, {}, position);
  if (fitting.size() >= wanted) {
    fitting.resize(wanted);
    std::erase_if(refused, [&](const auto& one) { return one.first > fitting.back(); });
  }
  decision.evaluated = fitting.size() + refused.size();
  next_start_ = (start + decision.evaluated) % candidates.size();
  Nodes out;
  out.reserve(fitting.size());
  for (const std::size_t i : fitting) out.push_back(&candidates[(start + i) % candidates.size()]);
  // Only extenders can still refuse those that fit; without them, who fits nowhere else is of no interest.
  if (!out.empty() && extenders_.empty()) return out;
  decision.refusals.nodes.reserve(decision.refusals.nodes.size() + refused.size());
  const char* last = nullptr;  // Whose refusal was counted last: mostly one plugin refuses many nodes.
  for (auto& [i, verdict] : refused) {
    if (std::exchange(last, verdict.plugin.data()) != verdict.plugin.data()) {
      const auto plugin = std::ranges::find(profile_.plugins(), verdict.plugin, &ProfilePlugin::name);
      add_once(decision.rejected_by, plugin->index);
    }
    decision.refusals.nodes.push_back(std::move(verdict));
  }
  return out;
}

Result<void> Algorithm::pre_score(const CallContext& ctx, Cycle& cycle, const Nodes& nodes) const {
  for (const auto& [point, plugin] : profile_.pre_score) {
    metrics_.evaluated(Point::PreScore, plugin->index);
    auto prepared = timed(Point::PreScore, *plugin, [&, p = point] {
      return catch_as_error("pre-score", [&] { return p->pre_score(ctx, *cycle.pod, *cycle.snapshot, nodes); });
    });
    if (!prepared) return of_plugin(std::move(prepared).error(), *plugin);
    if (prepared->verdict.kind() == Verdict::Kind::Skip) {
      cycle.skip_score[plugin->index] = true;
    } else if (!prepared->verdict.ok()) {
      return of_plugin(Error(Reason::Internal, "pre-score refused the pod, which only filters may"), *plugin);
    }
    if (prepared->data != nullptr) cycle.data[plugin->index] = std::move(prepared->data);
  }
  return {};
}

Result<Algorithm::ScoreTable> Algorithm::scores(const Cycle& cycle, const Nodes& nodes) const {
  const std::size_t count = nodes.size();
  ScoreTable table;
  for (std::size_t i = 0; i < profile_.score.size(); ++i) {
    if (!skips(cycle.skip_score, *profile_.score[i].plugin)) table.scorers.push_back(i);
  }
  table.scores.resize(table.scorers.size() * count);
  for (const std::size_t scorer : table.scorers) metrics_.evaluated(Point::Score, profile_.score[scorer].plugin->index);
  if (sampling_) time_scores(cycle, *nodes.front());
  std::mutex mutex;
  std::optional<Error> failed;
  const auto fail = [&](Error error, const ProfilePlugin& plugin) {
    const std::lock_guard lock(mutex);
    failed = of_plugin(std::move(error), plugin);
  };
  const auto work = [&](std::size_t first, std::size_t last) {
    for (std::size_t row = 0; row < table.scorers.size(); ++row) {
      const auto& [point, plugin] = profile_.score[table.scorers[row]];
      const scheduler::CycleData* const data = cycle.data[plugin->index].get();
      std::int64_t* const out = table.scores.data() + row * count;
      try {
        for (std::size_t i = first; i < last; ++i) {
          auto score = point->score(*cycle.pod, data, *nodes[i], *cycle.snapshot);
          if (!score) return fail(std::move(score).error(), *plugin);
          out[i] = *score;
        }
      } catch (const std::exception& e) {
        return fail(Error(Reason::Internal, std::string("score: ") + e.what()), *plugin);
      }
    }
  };
  spread(score_cost_, count, count, work, [] { return false; });
  if (failed) return *std::move(failed);

  for (std::size_t row = 0; row < table.scorers.size(); ++row) {
    const auto& [point, plugin] = profile_.score[table.scorers[row]];
    const std::span<std::int64_t> of_nodes(table.scores.data() + row * count, count);
    point->normalize(*cycle.pod, cycle.data[plugin->index].get(), of_nodes);
    const auto wrong = std::ranges::find_if(
        of_nodes, [](std::int64_t score) { return score < 0 || score > scheduler::kMaxNodeScore; });
    if (wrong == of_nodes.end()) continue;
    return of_plugin(Error(Reason::Internal, "returned an invalid score " + std::to_string(*wrong) +
                                                 ", it should be in the range of [0, 100] after normalizing"),
                     *plugin);
  }
  return table;
}

std::vector<std::int64_t> Algorithm::totals(const ScoreTable& table, std::size_t nodes) const {
  std::vector<std::int64_t> out(nodes);
  for (std::size_t row = 0; row < table.scorers.size(); ++row) {
    const std::int64_t weight = profile_.score_weights[table.scorers[row]];
    const std::int64_t* const scores = table.scores.data() + row * nodes;
    for (std::size_t i = 0; i < nodes; ++i) out[i] += scores[i] * weight;
  }
  return out;
}

// An extender that cannot be asked leaves the choice to the others, as upstream.
void Algorithm::add_extender_scores(const CallContext& ctx, const Cycle& cycle, const Nodes& nodes,
                                    std::vector<std::int64_t>& sums) const {
  for (const auto& extender : extenders_) {
    if (!extender->scores() || !extender->interested_in(*cycle.pod)) continue;
    const auto added = extender->score(ctx, *cycle.pod, nodes);
    if (!added) {
      log_warning(log_, "extender does not score", {{"extender", extender->name()}, {"error", added.error()}});
      continue;
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) sums[i] += (*added)[i];
  }
}

Result<std::string> Algorithm::best(const CallContext& ctx, Cycle& cycle, const Nodes& nodes) {
  const Stopwatch preparing(clock_);
  const auto prepared = pre_score(ctx, cycle, nodes);
  metrics_.point(Point::PreScore, prepared ? PointStatus::Success : PointStatus::Error, preparing.elapsed());
  KUBERNEL_CHECK_OK(prepared);
  const Stopwatch scoring(clock_);
  auto scored = scores(cycle, nodes);
  metrics_.point(Point::Score, scored ? PointStatus::Success : PointStatus::Error, scoring.elapsed());
  KUBERNEL_TRY(const ScoreTable table, std::move(scored));
  std::vector<std::int64_t> sums = totals(table, nodes.size());
  add_extender_scores(ctx, cycle, nodes, sums);
  const std::int64_t highest = *std::ranges::max_element(sums);
  const auto tied = static_cast<std::size_t>(std::ranges::count(sums, highest));
  std::size_t chosen = tied == 1 ? 0 : random_below(random_, tied);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (sums[i] == highest && chosen-- == 0) return nodes[i]->name;
  }
  return Error(Reason::Internal, "no node has the highest score");
}

void Algorithm::time_filters(const Cycle& cycle, std::span<const Judge> judges, const NodeInfo& node) const {
  for (const Judge& judge : judges) {
    const Stopwatch watch(clock_);
    const auto verdict = catch_as_error("filter", [&] { return judge.filter->filter(*cycle.pod, judge.data, node); });
    metrics_.plugin_took(Point::Filter, judge.plugin->index, status_of(verdict), watch.elapsed());
    if (!verdict || !verdict->ok()) return;  // The next ones count on this one's yes.
  }
}

void Algorithm::time_scores(const Cycle& cycle, const NodeInfo& node) const {
  for (const auto& [point, plugin] : profile_.score) {
    if (skips(cycle.skip_score, *plugin)) continue;
    const Stopwatch watch(clock_);
    const auto score = catch_as_error("score", [&, p = point, at = plugin] {
      return p->score(*cycle.pod, cycle.data[at->index].get(), node, *cycle.snapshot);
    });
    metrics_.plugin_took(Point::Score, plugin->index, score ? PluginStatus::Success : PluginStatus::Error,
                         watch.elapsed());
  }
}

std::size_t Algorithm::enough(std::size_t nodes) const {
  if (nodes < kMinFeasible) return nodes;
  auto percentage = static_cast<std::size_t>(options_.percentage_of_nodes_to_score);
  if (percentage == 0) percentage = nodes >= (50 - kMinPercentage) * 125 ? kMinPercentage : 50 - nodes / 125;
  if (percentage >= 100) return nodes;
  return std::max(kMinFeasible, nodes * percentage / 100);
}

}  // namespace kubernel::plugins
