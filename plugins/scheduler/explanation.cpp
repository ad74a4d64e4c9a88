// SPDX-License-Identifier: Apache-2.0
#include "explanation.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "algorithm.h"

namespace kubernel::plugins {

using scheduler::Cycle;
using scheduler::NodeInfo;
using scheduler::Verdict;

namespace {

const char* name_of(Verdict::Kind kind) {
  switch (kind) {
    case Verdict::Kind::Fits: return "Fits";
    case Verdict::Kind::Unschedulable: return "Unschedulable";
    case Verdict::Kind::Unresolvable: return "UnschedulableAndUnresolvable";
    case Verdict::Kind::Skip: return "Skip";
    case Verdict::Kind::Wait: return "Wait";
  }
  return "";
}

}  // namespace

std::string Explanation::json() const {
  nlohmann::json out = {
      {"pod", pod}, {"scheduler", scheduler}, {"refused", refused}, {"nodes", nlohmann::json::array()}};
  for (const Node& node : nodes) {
    nlohmann::json entry = {{"name", node.name},
                            {"fits", node.fits},
                            {"total", node.total},
                            {"filters", nlohmann::json::array()},
                            {"scores", nlohmann::json::array()}};
    for (const Filtered& filter : node.filters) {
      entry["filters"].push_back({{"plugin", filter.plugin},
                                  {"verdict", name_of(filter.verdict.kind())},
                                  {"reasons", filter.verdict.reasons()}});
    }
    for (const Scored& score : node.scores) {
      entry["scores"].push_back({{"plugin", score.plugin}, {"score", score.score}, {"weight", score.weight}});
    }
    out["nodes"].push_back(std::move(entry));
  }
  return out.dump();
}

Result<Explanation> Algorithm::explain(const CallContext& ctx, Cycle& cycle) const {
  Explanation out;
  Decision decision;
  begin(cycle);
  KUBERNEL_TRY(const Candidates candidates, run_pre_filters(ctx, cycle, decision));
  out.refused = decision.pre_filter_message;
  Nodes fitting;
  for (const auto& shared : cycle.snapshot->nodes()) {
    Explanation::Node& node = out.nodes.emplace_back();
    node.name = shared->name;
    if (!candidates.contains(*shared)) {
      node.filters.push_back(
          {"PreFilter", out.refused.empty() ? decision.refusals.others : Verdict::unresolvable(out.refused)});
      continue;
    }
    KUBERNEL_TRY(node.filters, explain_filters(cycle, *shared));
    node.fits =
        std::ranges::all_of(node.filters, [](const Explanation::Filtered& filter) { return filter.verdict.ok(); });
    if (node.fits) fitting.push_back(shared.get());
  }
  if (!fitting.empty()) KUBERNEL_CHECK_OK(explain_scores(ctx, cycle, fitting, out));
  return out;
}

Result<std::vector<Explanation::Filtered>> Algorithm::explain_filters(const Cycle& cycle, const NodeInfo& node) const {
  std::vector<Explanation::Filtered> out;
  for (const auto& [point, plugin] : profile_.filter) {
    if (cycle.skip_filter[plugin->index]) {
      out.push_back({plugin->name, Verdict::skip()});
      continue;
    }
    auto verdict = catch_as_error(
        "filter", [&, p = point, at = plugin] { return p->filter(*cycle.pod, cycle.data[at->index].get(), node); });
    if (!verdict) return std::move(verdict).error().wrap("running \"" + plugin->name + "\" plugin");
    out.push_back({plugin->name, *std::move(verdict)});
  }
  return out;
}

Result<void> Algorithm::explain_scores(const CallContext& ctx, Cycle& cycle, const Nodes& fitting,
                                       Explanation& out) const {
  KUBERNEL_CHECK_OK(pre_score(ctx, cycle, fitting));
  KUBERNEL_TRY(const ScoreTable table, scores(cycle, fitting));
  for (std::size_t i = 0; i < fitting.size(); ++i) {
    Explanation::Node& node = *std::ranges::find(out.nodes, fitting[i]->name, &Explanation::Node::name);
    for (std::size_t row = 0; row < table.scorers.size(); ++row) {
      const std::size_t scorer = table.scorers[row];
      const Explanation::Scored scored{profile_.score[scorer].plugin->name, table.scores[row * fitting.size() + i],
                                       profile_.score_weights[scorer]};
      node.scores.push_back(scored);
      node.total += scored.score * scored.weight;
    }
  }
  return {};
}

}  // namespace kubernel::plugins
