// SPDX-License-Identifier: Apache-2.0
#include "algorithm.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>

#include "parallel.h"

namespace kubernel::plugins {

using scheduler::Cycle;
using scheduler::NodeInfo;
using scheduler::NodeVerdict;
using scheduler::Verdict;

namespace {

// Upstream's minFeasibleNodesToFind and minFeasibleNodesPercentageToFind.
constexpr std::size_t kMinFeasible = 100;
constexpr std::size_t kMinPercentage = 5;

Error of_plugin(Error error, const ProfilePlugin& plugin) {
  return std::move(error).wrap("scheduler plugin " + plugin.name);
}

}  // namespace

std::string Decision::message(std::size_t nodes) const {
  if (nodes == 0) return "no nodes available to schedule pods";
  const std::string head = "0/" + std::to_string(nodes) + " nodes are available";
  if (!pre_filter_message.empty()) return head + ": " + pre_filter_message + ".";
  std::map<std::string, std::size_t> counts;
  for (const NodeVerdict& verdict : verdicts) {
    for (const std::string& reason : verdict.verdict.reasons()) ++counts[reason];
  }
  std::vector<std::string> parts;
  for (const auto& [reason, count] : counts) parts.push_back(std::to_string(count) + " " + reason);
  std::ranges::sort(parts);
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? ": " : ", ") + part;
  return head + out + ".";
}

Algorithm::Algorithm(const Profile& profile, Executor& compute, Random& random, Options options)
    : profile_(profile), compute_(compute), random_(random), options_(options) {}

Result<Decision> Algorithm::decide(const CallContext& ctx, Cycle& cycle) {
  Decision decision;
  cycle.data.clear();
  cycle.data.resize(profile_.plugins().size());
  KUBERNEL_TRY(const Nodes candidates, pre_filter(ctx, cycle, decision));
  if (candidates.empty()) return decision;
  KUBERNEL_TRY(const Nodes fitting, feasible(cycle, candidates, decision));
  decision.feasible = fitting.size();
  if (fitting.empty()) return decision;
  if (fitting.size() == 1) {
    decision.node = fitting.front()->name;
    return decision;
  }
  KUBERNEL_TRY(decision.node, best(ctx, cycle, fitting));
  return decision;
}

Result<Algorithm::Nodes> Algorithm::pre_filter(const CallContext& ctx, Cycle& cycle, Decision& decision) {
  skip_filter_.assign(profile_.plugins().size(), false);
  std::optional<std::set<std::string>> only;
  for (const ProfilePlugin& plugin : profile_.plugins()) {
    if (plugin.pre_filter == nullptr) continue;
    auto result = catch_as_error("pre-filter", [&] { return plugin.pre_filter->pre_filter(ctx, *cycle.pod, *cycle.snapshot); });
    if (!result) return of_plugin(std::move(result).error(), plugin);
    if (result->verdict.kind() == Verdict::Kind::Skip) skip_filter_[plugin.index] = true;
    if (!result->verdict.ok()) {
      for (const std::string& reason : result->verdict.reasons()) {
        decision.pre_filter_message += (decision.pre_filter_message.empty() ? "" : ", ") + reason;
      }
      decision.rejected_by.insert(plugin.index);
      return Nodes{};
    }
    if (result->nodes) {
      std::set<std::string> named(result->nodes->begin(), result->nodes->end());
      if (only) std::erase_if(named, [&](const std::string& name) { return !only->contains(name); });
      only = std::move(named);
      decision.rejected_by.insert(plugin.index);  // It already ruled nodes out.
    }
    cycle.data[plugin.index] = std::move(result->data);
  }

  Nodes out;
  for (const auto& node : cycle.snapshot->nodes()) {
    if (!only || only->contains(node->name)) out.push_back(node.get());
  }
  if (out.empty() && only) {
    decision.pre_filter_message = "node(s) didn't satisfy plugin(s) " + [&] {
      std::string names;
      for (const std::size_t index : decision.rejected_by) {
        names += (names.empty() ? "[" : " ") + profile_.plugins()[index].name;
      }
      return names + "]";
    }();
  }
  return out;
}

Result<NodeVerdict> Algorithm::filter_node(const Cycle& cycle, const NodeInfo& node) const {
  for (const ProfilePlugin& plugin : profile_.plugins()) {
    if (plugin.filter == nullptr || skip_filter_[plugin.index]) continue;
    auto verdict =
        catch_as_error("filter", [&] { return plugin.filter->filter(*cycle.pod, cycle.data[plugin.index].get(), node); });
    if (!verdict) return of_plugin(std::move(verdict).error(), plugin);
    if (!verdict->ok()) return NodeVerdict{&node, plugin.name, *std::move(verdict)};
  }
  return NodeVerdict{&node, {}, Verdict::fits()};
}

Result<Algorithm::Nodes> Algorithm::feasible(const Cycle& cycle, const Nodes& candidates, Decision& decision) {
  const std::size_t wanted = enough(candidates.size());
  const std::size_t start = candidates.empty() ? 0 : next_start_ % candidates.size();
  std::mutex mutex;  // Guards the three below; taken once a piece, not once a node.
  std::vector<std::size_t> fitting;
  std::vector<std::pair<std::size_t, NodeVerdict>> refused;
  std::optional<Error> failed;
  std::atomic<std::size_t> found = 0;

  const auto work = [&](std::size_t first, std::size_t last) {
    std::vector<std::size_t> good;
    std::vector<std::pair<std::size_t, NodeVerdict>> bad;
    std::optional<Error> error;
    for (std::size_t i = first; i < last && found.load(std::memory_order_relaxed) < wanted; ++i) {
      auto verdict = filter_node(cycle, *candidates[(start + i) % candidates.size()]);
      if (!verdict) {
        error = std::move(verdict).error();
        break;
      }
      if (verdict->verdict.ok()) {
        good.push_back(i);
        found.fetch_add(1, std::memory_order_relaxed);
      } else {
        bad.emplace_back(i, *std::move(verdict));
      }
    }
    const std::lock_guard lock(mutex);
    fitting.insert(fitting.end(), good.begin(), good.end());
    refused.insert(refused.end(), std::make_move_iterator(bad.begin()), std::make_move_iterator(bad.end()));
    if (error) failed = std::move(error);
  };
  parallel_for(compute_, options_.helpers, candidates.size(), work, [&] { return found.load() >= wanted; });
  if (failed) return *std::move(failed);

  // In node order, whatever thread was faster: the same seed gives the same decision.
  std::ranges::sort(fitting);
  if (fitting.size() > wanted) fitting.resize(wanted);
  decision.evaluated = fitting.size() + refused.size();
  next_start_ = (start + decision.evaluated) % std::max<std::size_t>(candidates.size(), 1);
  Nodes out;
  for (const std::size_t i : fitting) out.push_back(candidates[(start + i) % candidates.size()]);
  for (auto& [i, verdict] : refused) {
    const auto plugin = std::ranges::find(profile_.plugins(), verdict.plugin, &ProfilePlugin::name);
    decision.rejected_by.insert(plugin->index);
    decision.verdicts.push_back(std::move(verdict));
  }
  return out;
}

Result<std::vector<std::int64_t>> Algorithm::plugin_scores(const Cycle& cycle, const ProfilePlugin& plugin, const Nodes& nodes) {
  std::vector<std::int64_t> scores(nodes.size());
  std::mutex mutex;
  std::optional<Error> failed;
  const scheduler::CycleData* data = cycle.data[plugin.index].get();
  const auto work = [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      auto score = catch_as_error("score", [&] { return plugin.score->score(*cycle.pod, data, *nodes[i], *cycle.snapshot); });
      if (score) {
        scores[i] = *score;
        continue;
      }
      const std::lock_guard lock(mutex);
      failed = std::move(score).error();
    }
  };
  parallel_for(compute_, options_.helpers, nodes.size(), work, [] { return false; });
  if (failed) return of_plugin(*std::move(failed), plugin);
  plugin.score->normalize(*cycle.pod, data, scores);
  for (const std::int64_t score : scores) {
    if (score < 0 || score > scheduler::kMaxNodeScore) {
      return of_plugin(Error(Reason::Internal, "returned the score " + std::to_string(score) + ", which is not between 0 and 100"), plugin);
    }
  }
  return scores;
}

Result<std::string> Algorithm::best(const CallContext& ctx, Cycle& cycle, const Nodes& nodes) {
  std::vector<std::int64_t> totals(nodes.size());
  for (const ProfilePlugin& plugin : profile_.plugins()) {
    if (plugin.score == nullptr) continue;
    if (plugin.pre_score != nullptr) {
      auto prepared = catch_as_error("pre-score", [&] { return plugin.pre_score->pre_score(ctx, *cycle.pod, *cycle.snapshot, nodes); });
      if (!prepared) return of_plugin(std::move(prepared).error(), plugin);
      if (prepared->verdict.kind() == Verdict::Kind::Skip) continue;
      if (prepared->data != nullptr) cycle.data[plugin.index] = std::move(prepared->data);
    }
    KUBERNEL_TRY(const auto scores, plugin_scores(cycle, plugin, nodes));
    for (std::size_t i = 0; i < nodes.size(); ++i) totals[i] += scores[i] * plugin.weight;
  }
  const std::int64_t highest = *std::ranges::max_element(totals);
  std::vector<std::size_t> tied;
  for (std::size_t i = 0; i < totals.size(); ++i) {
    if (totals[i] == highest) tied.push_back(i);
  }
  return nodes[tied[random_below(random_, tied.size())]]->name;
}

std::size_t Algorithm::enough(std::size_t nodes) const {
  if (nodes < kMinFeasible) return nodes;
  auto percentage = static_cast<std::size_t>(options_.percentage_of_nodes_to_score);
  if (percentage == 0) percentage = std::max(kMinPercentage, nodes >= 50 * 125 ? 0 : 50 - nodes / 125);
  if (percentage >= 100) return nodes;
  return std::max(kMinFeasible, nodes * percentage / 100);
}

}  // namespace kubernel::plugins
