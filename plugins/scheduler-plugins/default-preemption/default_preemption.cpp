// SPDX-License-Identifier: Apache-2.0

#include "default_preemption.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>

#include <nlohmann/json.hpp>

#include "eviction.h"

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

// Pods whose victims are being deleted.
class Preempting {
 public:
  void add(const std::string& uid) {
    const std::lock_guard lock(mutex_);
    uids_.insert(uid);
  }
  void remove(const std::string& uid) {
    const std::lock_guard lock(mutex_);
    uids_.erase(uid);
  }
  bool contains(const std::string& uid) const {
    const std::lock_guard lock(mutex_);
    return uids_.contains(uid);
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_set<std::string> uids_;
};

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
    KUBERNEL_TRY(Search search, find_candidates(cycle, refusals));
    if (search.candidates.empty()) {
      // Nothing to hope for from an earlier nomination either.
      return refused(search.refusals.message(cycle.snapshot->nodes().size()), "");
    }
    KUBERNEL_TRY(const auto agreed, ask_extenders(ctx, cycle, std::move(search.candidates)));
    if (agreed.empty()) return refused("no candidate node for preemption", std::nullopt);
    const Candidate& chosen = pick_one(agreed, context_.clock.wall_now());
    victims_.observe(static_cast<double>(chosen.pods.size()));
    preempting_.add(cycle.pod->uid());
    context_.handle.run_in_background(
        [this, pod = cycle.pod, chosen](const CallContext& background) { make_room(background, *pod, chosen); });
    return PostFilterResult{Verdict::fits(), chosen.node};
  }

  Verdict pre_enqueue(const PodInfo& pod) const override {
    return preempting_.contains(pod.uid()) ? Verdict::unschedulable(std::string(kUnderWay)) : Verdict::fits();
  }

  std::vector<EventInterest> retry_on() const override {
    return {{ClusterEvent::PodDeleted, [this](const PodInfo& pod, const api::Object&, const api::Object&) {
               return !preempting_.contains(pod.uid());
             }}};
  }

 private:
  struct Search {
    std::vector<Candidate> candidates;
    Refusals refusals;
  };

  static PostFilterResult refused(const std::string& why, std::optional<std::string> nominated) {
    return {Verdict::unschedulable("preemption: " + why), std::move(nominated)};
  }

  void make_room(const CallContext& ctx, const PodInfo& pod, const Candidate& chosen) {
    const auto began = context_.clock.now();
    const auto evicted = evict(ctx, context_, pod, chosen, [&] { preempting_.remove(pod.uid()); });
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
    if (evicted && *evicted) return;
    // Nothing is going to happen that would wake it.
    preempting_.remove(pod.uid());
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

  std::size_t enough(std::size_t nodes) const {
    const auto share = static_cast<std::int64_t>(nodes) * arguments_.percentage / 100;
    return std::min(nodes, static_cast<std::size_t>(std::max(share, arguments_.absolute)));
  }

  // The dry run, beginning at a random node, so that not always the same ones suffer. Stops once there are enough
  // candidates and one of them breaks no budget.
  Result<Search> find_candidates(const Cycle& cycle, const Refusals& refusals) const {
    Search out;
    out.refusals.others = Verdict::unresolvable("Preemption is not helpful for scheduling");
    const std::vector<const NodeInfo*> nodes = refusals.preemptable(*cycle.snapshot);
    if (nodes.empty()) return out;
    std::vector<Budget> budgets;
    for (const api::Object& budget : budgets_->list("", api::LabelSelector::everything())) budgets.emplace_back(budget);

    const std::size_t wanted = enough(nodes.size());
    const std::size_t offset = random_below(context_.random, nodes.size());
    const auto now = context_.clock.wall_now();
    // In rounds, so that the outcome does not depend on which thread was faster.
    for (std::size_t done = 0; done < nodes.size();) {
      const std::size_t round =
          std::min(nodes.size() - done, std::max<std::size_t>(wanted - std::min(wanted, out.candidates.size()), 1));
      std::vector<std::optional<Result<NodeVictims>>> found(round);
      context_.handle.parallel_for(round, [&](std::size_t i) {
        found[i] = catch_as_error("filter", [&] {
          return select_victims(context_.handle, cycle, *nodes[(offset + done + i) % nodes.size()], budgets, now);
        });
      });
      for (std::size_t i = 0; i < round; ++i) {
        auto& victims = *found[i];
        if (!victims) return std::move(victims).error();
        if (victims->verdict.ok()) {
          out.candidates.push_back(std::move(victims->candidate));
        } else {
          out.refusals.nodes.push_back({nodes[(offset + done + i) % nodes.size()], {}, std::move(victims->verdict)});
        }
      }
      done += round;
      const bool harmless =
          std::ranges::any_of(out.candidates, [](const Candidate& c) { return c.budget_violations == 0; });
      if (harmless && out.candidates.size() >= wanted) break;
    }
    return out;
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
  Preempting preempting_;
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
