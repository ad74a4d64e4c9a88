// SPDX-License-Identifier: Apache-2.0

#include "default_preemption.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "eviction.h"
#include "preempting.h"
#include "search.h"

namespace kubernel::plugins {
namespace {

using namespace scheduler;
using api::Value;

const api::Resource kBudgets{"policy", "v1", "poddisruptionbudgets"};
constexpr std::string_view kUnderWay = "waiting for the preemption for this pod to be finished";
// 10 ms, doubled 19 times.
constexpr auto kDurationBuckets = [] {
  std::array<double, 20> out{};
  double bound = 0.01;
  for (double& bucket : out) bucket = std::exchange(bound, bound * 2);
  return out;
}();
constexpr double kVictimBuckets[] = {1, 2, 4, 8, 16, 32, 64};

struct Arguments {
  std::int64_t percentage = 10;
  std::int64_t absolute = 100;
};

bool terminating_by_preemption(const PodInfo& pod) {
  if (!pod.object.head().deleting) return false;
  for (const Value condition : pod.object.pointer("/status/conditions")) {
    if (condition["type"].string() == "DisruptionTarget") {
      return condition["status"].string() == "True" && condition["reason"].string() == "PreemptionByScheduler";
    }
  }
  return false;
}

// The victims are deleted beside the scheduling (KEP-4832). Until the last but one is gone their preemptor is kept out
// of the queue; the deletion of the last wakes it.
class DefaultPreemption final : public Plugin, public PreEnqueue, public PostFilter {
 public:
  DefaultPreemption(const PluginContext& context, Arguments arguments)
      : context_(context),
        arguments_(arguments),
        budgets_(context.informers.informer(kBudgets, {})),
        attempts_(context.metrics.counter("scheduler_preemption_attempts_total",
                                          "Total preemption attempts in the cluster till now", {})),
        victims_(context.metrics.histogram("scheduler_preemption_victims", "Number of selected preemption victims",
                                           kVictimBuckets, {})) {}

  Result<PostFilterResult> post_filter(const CallContext& ctx, const Cycle& cycle, const Refusals& refusals) override {
    attempts_.add(1);
    if (const std::string why = ineligible(cycle, refusals); !why.empty()) return refused(why, std::nullopt);
    std::vector<Budget> budgets;
    for (const api::Object& budget : budgets_->list("", api::LabelSelector::everything())) budgets.emplace_back(budget);
    const std::vector<const NodeInfo*> nodes = refusals.preemptable(*cycle.snapshot);
    VictimSearch search(context_.handle, cycle, budgets, known_, terms(nodes.size()));
    remember(cycle, nodes, budgets);
    KUBERNEL_CHECK_OK(search.run(nodes));
    if (search.candidates().empty()) {
      Refusals why;
      why.others = Verdict::unresolvable("Preemption is not helpful for scheduling");
      why.nodes = search.take_refusals();
      // Nothing to hope for from an earlier nomination either.
      return refused(why.message(cycle.snapshot->nodes().size()), "");
    }
    KUBERNEL_TRY(const Candidate chosen, choose(ctx, cycle, search.candidates()));
    if (chosen.pods.empty()) return refused("no candidate node for preemption", std::nullopt);
    victims_.observe(static_cast<double>(chosen.pods.size()));
    preempting_.begin(cycle.pod->uid(), chosen.pods);
    context_.handle.run_in_background(
        [this, pod = cycle.pod, chosen](const CallContext& background) { make_room(background, *pod, chosen); });
    return PostFilterResult{Verdict::fits(), chosen.node};
  }

  Verdict pre_enqueue(const PodInfo& pod) const override {
    return preempting_.contains(pod.uid()) ? Verdict::unschedulable(std::string(kUnderWay)) : Verdict::fits();
  }

  std::vector<EventInterest> retry_on() const override {
    const auto lets_in = [this](const PodInfo& pod, const api::Object&, const api::Object&) {
      return !preempting_.contains(pod.uid());
    };
    const auto own_uid = [](const PodInfo& pod) { return std::vector<std::string>{pod.uid()}; };
    const auto helped = [this](const api::Object& before, const api::Object& after) {
      return std::optional(after ? preempting_.waiting() : preempting_.helped_by_end_of(before.uid()));
    };
    return {{.event = ClusterEvent::PodDeleted, .names_of_pod = own_uid, .names_of_change = helped},
            {ClusterEvent::NodeAdded, lets_in},
            {ClusterEvent::NodeAllocatableChanged, lets_in},
            {ClusterEvent::NodeLabelsChanged, lets_in},
            {ClusterEvent::NodeTaintsChanged, lets_in}};
  }

 private:
  static PostFilterResult refused(const std::string& why, std::optional<std::string> nominated) {
    return {Verdict::unschedulable("preemption: " + why), std::move(nominated)};
  }

  void make_room(const CallContext& ctx, const PodInfo& pod, const Candidate& chosen) {
    const auto began = context_.clock.now();
    const auto evicted = evict(ctx, context_, pod, chosen, preempting_);
    if (!evicted)
      log_error(context_.log, "preemption failed",
                {{"pod", api::to_string(pod.key())}, {"node", chosen.node}, {"error", evicted.error()}});
    const MetricLabels result = {{"result", evicted ? "success" : "error"}};
    context_.metrics
        .counter("scheduler_preemption_goroutines_execution_total", "Number of preemption goroutines executed.", result)
        .add(1);
    context_.metrics
        .histogram("scheduler_preemption_goroutines_duration_seconds",
                   "Duration in seconds for running goroutines for the preemption.", kDurationBuckets, result)
        .observe(std::chrono::duration<double>(context_.clock.now() - began).count());
    if (evicted && preempting_.told(pod.uid())) return;
    // Nothing is going to happen that would wake it.
    preempting_.forget(pod.uid());
    context_.handle.activate(pod.uid());
  }

  std::string ineligible(const Cycle& cycle, const Refusals& refusals) const {
    const PodInfo& pod = *cycle.pod;
    if (preempting_.contains(pod.uid())) return std::string(kUnderWay);
    if (pod.spec["preemptionPolicy"].string() == "Never") return "not eligible due to preemptionPolicy=Never.";
    const std::string_view nominated = pod.object.pointer("/status/nominatedNodeName").string();
    if (nominated.empty() || refusals.of(nominated).kind() == Verdict::Kind::Unresolvable) return "";
    const NodeInfo* const node = cycle.snapshot->find(nominated);
    if (node == nullptr) return "";
    const bool on_its_way = std::ranges::any_of(node->pods, [&](const auto& other) {
      return other->priority < pod.priority && terminating_by_preemption(*other);
    });
    return on_its_way ? "not eligible due to a terminating pod on the nominated node." : "";
  }

  VictimSearch::Terms terms(std::size_t nodes) const {
    if (nodes == 0) return {};
    const auto share = static_cast<std::int64_t>(nodes) * arguments_.percentage / 100;
    return {std::min(nodes, static_cast<std::size_t>(std::max(share, arguments_.absolute))),
            static_cast<std::size_t>(random_below(context_.random, nodes)), context_.clock.wall_now()};
  }

  // What is known of a node holds for pods like this one and while the budgets are the same.
  void remember(const Cycle& cycle, const std::vector<const NodeInfo*>& nodes, const std::vector<Budget>& budgets) {
    std::string signature = cycle.signature;
    if (!signature.empty()) {
      for (const Budget& budget : budgets)
        signature += '\n' + budget.object.uid() + ' ' + std::to_string(budget.object.head().resource_version);
    }
    std::size_t slots = 0;
    for (const NodeInfo* node : nodes) {
      if (node->slot != kNoSlot) slots = std::max<std::size_t>(slots, node->slot + std::size_t{1});
    }
    known_.begin(std::move(signature), slots);
  }

  // Without a victim: none that the extenders agree with.
  Result<Candidate> choose(const CallContext& ctx, const Cycle& cycle, const std::vector<NodeVictims>& found) {
    std::vector<Rank> ranks;
    const bool asked = std::ranges::any_of(context_.handle.preempt_extenders(),
                                           [&](const auto* extender) { return extender->interested_in(*cycle.pod); });
    if (!asked) {
      for (const NodeVictims& one : found) ranks.push_back(one.victims->rank);
      return found[pick_one(ranks, context_.clock.wall_now())].candidate();
    }
    std::vector<Candidate> candidates;
    for (const NodeVictims& one : found) candidates.push_back(one.candidate());
    KUBERNEL_TRY(candidates, ask_extenders(ctx, cycle, std::move(candidates)));
    if (candidates.empty()) return Candidate{};
    for (const Candidate& one : candidates) ranks.push_back(rank_of(one.pods, one.budget_violations));
    return std::move(candidates[pick_one(ranks, context_.clock.wall_now())]);
  }

  Result<std::vector<Candidate>> ask_extenders(const CallContext& ctx, const Cycle& cycle,
                                               std::vector<Candidate> candidates) const {
    const auto now = context_.clock.wall_now();
    for (PreemptExtender* extender : context_.handle.preempt_extenders()) {
      if (candidates.empty() || !extender->interested_in(*cycle.pod)) continue;
      auto agreed = extender->preempt(ctx, *cycle.pod, candidates, *cycle.snapshot);
      if (!agreed && !extender->ignorable()) return std::move(agreed).error();
      if (!agreed) {
        log_warning(context_.log, "extender left out of preemption",
                    {{"extender", extender->name()}, {"error", agreed.error()}});
        continue;
      }
      candidates = *std::move(agreed);
      for (Candidate& candidate : candidates) {
        if (candidate.pods.empty())
          return Error(Reason::Internal, "expected at least one victim pod on node \"" + candidate.node + "\"");
        std::ranges::stable_sort(candidate.pods,
                                 [now](const auto& a, const auto& b) { return more_important(*a, *b, now); });
      }
    }
    return candidates;
  }

  const PluginContext context_;
  const Arguments arguments_;
  const std::shared_ptr<client::Informer> budgets_;
  mutable Preempting preempting_;  // retry_on() hands out functions that tell it who is gone.
  KnownVictims known_;
  Counter& attempts_;
  Histogram& victims_;
};

Result<Arguments> parse_arguments(const std::string& config_json) {
  const auto config = nlohmann::json::parse(config_json);
  Arguments out;
  out.percentage = config.value("minCandidateNodesPercentage", out.percentage);
  out.absolute = config.value("minCandidateNodesAbsolute", out.absolute);
  if (out.percentage == 0 && out.absolute == 0) {
    return Error(Reason::Invalid, "minCandidateNodesPercentage and minCandidateNodesAbsolute cannot both be zero");
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<Plugin>> make_default_preemption(const PluginContext& context) {
  KUBERNEL_TRY(const Arguments arguments,
               catch_as_error("DefaultPreemption arguments", [&] { return parse_arguments(context.config_json); }));
  return std::make_unique<DefaultPreemption>(context, arguments);
}

}  // namespace kubernel::plugins
