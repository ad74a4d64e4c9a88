// SPDX-License-Identifier: Apache-2.0
#include "eviction.h"

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

namespace kubernel::plugins {

using nlohmann::json;
using scheduler::PluginContext;
using scheduler::PodInfo;

namespace {

// A victim that only waits for permission has no container to stop: it gives up its place at once.
bool reject_waiting(const PluginContext& context, const PodInfo& victim) {
  bool waiting = false;
  context.handle.for_each_waiting([&](scheduler::WaitingPod& pod) {
    if (pod.pod().uid() != victim.uid()) return;
    waiting = true;
    pod.reject("DefaultPreemption", "preempted");
  });
  return waiting;
}

Result<void> mark(const CallContext& ctx, const PluginContext& context, const PodInfo& preemptor,
                  const PodInfo& victim) {
  for (const api::Value condition : victim.object.pointer("/status/conditions")) {
    if (condition["type"].string() == "DisruptionTarget" && condition["status"].string() == "True") return {};
  }
  const std::string by(preemptor.spec["schedulerName"].string("default-scheduler"));
  const json condition = {
      {"type", "DisruptionTarget"},        {"status", "True"},
      {"reason", "PreemptionByScheduler"}, {"message", by + ": preempting to accommodate a higher priority pod"},
      {"lastProbeTime", nullptr},          {"lastTransitionTime", api::format_time(context.clock.wall_now())}};
  const json patch = {{"status", {{"conditions", json::array({condition})}}}};
  const auto written = context.api.patch(ctx, api::resources::kPods, victim.key(), client::PatchType::StrategicMerge,
                                         patch, {.subresource = "status"});
  if (!written && written.error().reason() != Reason::NotFound) return written.error();
  return {};
}

// Whether its going is still to be seen: a victim that is no more has been seen to go.
Result<bool> evict_one(const CallContext& ctx, const PluginContext& context, const PodInfo& preemptor,
                       const PodInfo& victim, const std::string& node) {
  bool existed = true;
  if (!reject_waiting(context, victim)) {
    KUBERNEL_CHECK_OK(mark(ctx, context, preemptor, victim));
    const auto removed =
        context.api.remove(ctx, api::resources::kPods, victim.key(), {.precondition_uid = victim.uid()});
    // Gone, or another pod of that name: either way the victim is no more.
    if (!removed && removed.error().reason() != Reason::NotFound && removed.error().reason() != Reason::Conflict)
      return removed.error();
    existed = static_cast<bool>(removed);
  }
  context.handle.events().record(victim.object, "Normal", "Preempted",
                                 "Preempted by pod " + preemptor.uid() + " on node " + node);
  return existed;
}

// They were promised room that the preemptor takes now; they may look elsewhere.
void clear_lesser_nominations(const CallContext& ctx, const PluginContext& context, const PodInfo& preemptor,
                              const std::string& node) {
  for (const auto& pod : context.handle.nominated_pods(node)) {
    if (pod->priority >= preemptor.priority) continue;
    const json patch = {{"status", {{"nominatedNodeName", nullptr}}}};
    const auto cleared = context.api.patch(ctx, api::resources::kPods, pod->key(), client::PatchType::StrategicMerge,
                                           patch, {.subresource = "status"});
    if (!cleared && cleared.error().reason() != Reason::NotFound) {
      log_warning(context.log, "cannot clear nominatedNodeName",
                  {{"pod", api::to_string(pod->key())}, {"error", cleared.error()}});
    }
  }
}

}  // namespace

Result<void> evict(const CallContext& ctx, const PluginContext& context, const PodInfo& preemptor,
                   const Candidate& chosen, Preempting& preempting) {
  Pods untold = chosen.pods;
  std::erase_if(untold, [](const auto& victim) { return victim->object.head().deleting; });
  if (untold.empty()) clear_lesser_nominations(ctx, context, preemptor, chosen.node);
  for (const auto& victim : untold) {
    if (victim == untold.back()) {
      clear_lesser_nominations(ctx, context, preemptor, chosen.node);
      preempting.let_in(preemptor.uid());
    }
    const auto existed = evict_one(ctx, context, preemptor, *victim, chosen.node);
    if (!existed) return Error(existed.error()).wrap("preempting pod " + api::to_string(victim->key()));
    if (!*existed) preempting.gone(preemptor.uid(), victim->uid());
  }
  return {};
}

}  // namespace kubernel::plugins
