// SPDX-License-Identifier: Apache-2.0
#include "scheduler_framework.h"

#include "parallel.h"

namespace kubernel::plugins {

using scheduler::Cycle;
using scheduler::NodeInfo;
using scheduler::PodInfo;

Result<void> Scheduler::Framework::make(const ProfileSettings& settings,
                                        const std::vector<plugin::Provided<scheduler::PluginSpec>>& plugins) {
  const SchedulerContext& context = scheduler_.context_;
  events_ = client::make_event_recorder(context.api, {settings.scheduler_name, ""}, context.log, context.clock,
                                        context.random, context.blocking);
  KUBERNEL_TRY(profile_, Profile::make(plugins, settings,
                                       {*this, context.api, scheduler_.informers_, context.log, context.clock,
                                        context.metrics, context.random}));
  std::vector<std::string> names;
  for (const ProfilePlugin& plugin : profile_->plugins()) names.push_back(plugin.name);
  metrics_ = std::make_unique<ProfileMetrics>(context.metrics, settings.scheduler_name, names);
  Algorithm::Options options = scheduler_.options_.algorithm;
  options.percentage_of_nodes_to_score =
      settings.percentage_of_nodes_to_score.value_or(options.percentage_of_nodes_to_score);
  algorithm_ = std::make_unique<Algorithm>(
      Algorithm::Surroundings{*profile_, scheduler_.nominator_, scheduler_.extenders_, *metrics_, context.clock,
                              context.compute, context.random, context.log},
      options);
  return {};
}

void Scheduler::Framework::for_each_waiting(const std::function<void(scheduler::WaitingPod&)>& visit) {
  scheduler_.for_each_waiting(visit);
}

Result<scheduler::Verdict> Scheduler::Framework::run_filters(const Cycle& cycle, const NodeInfo& node) {
  KUBERNEL_TRY(auto verdict, algorithm_->filter_node(cycle, node));
  return std::move(verdict.verdict);
}

void Scheduler::Framework::pod_added(Cycle& cycle, const PodInfo& pod, const NodeInfo& node) {
  algorithm_->pod_added(cycle, pod, node);
}

void Scheduler::Framework::pod_removed(Cycle& cycle, const PodInfo& pod, const NodeInfo& node) {
  algorithm_->pod_removed(cycle, pod, node);
}

std::vector<std::shared_ptr<const PodInfo>> Scheduler::Framework::nominated_pods(std::string_view node) {
  return scheduler_.nominator_.on(node);
}

void Scheduler::Framework::parallel_for(std::size_t count, const std::function<void(std::size_t)>& work) {
  const auto piece = [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) work(i);
  };
  plugins::parallel_for(scheduler_.context_.compute, scheduler_.options_.algorithm.helpers, count, piece,
                        [] { return false; });
}

void Scheduler::Framework::activate(std::string_view uid) {
  if (scheduler_.queue_->activate(uid)) scheduler_.pump();
}

void Scheduler::Framework::run_in_background(std::function<void(const CallContext&)> task) {
  scheduler_.give(scheduler_.background_, [self = &scheduler_, task = std::move(task)] {
    if (!self->stop_.stop_requested()) task({self->stop_.get_token()});
  });
}

std::vector<scheduler::PreemptExtender*> Scheduler::Framework::preempt_extenders() {
  std::vector<scheduler::PreemptExtender*> out;
  for (const auto& extender : scheduler_.extenders_) {
    if (extender->preempts()) out.push_back(extender.get());
  }
  return out;
}

}  // namespace kubernel::plugins
