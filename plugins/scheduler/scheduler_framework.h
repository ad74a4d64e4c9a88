// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "scheduler.h"

namespace kubernel::plugins {

class Scheduler::Framework final : public scheduler::Handle {
 public:
  Framework(Scheduler& scheduler, std::size_t index) : scheduler_(scheduler), index_(index) {}

  // Errors: as Profile::make().
  Result<void> make(const ProfileSettings& settings,
                    const std::vector<plugin::Provided<scheduler::PluginSpec>>& plugins);

  std::size_t index() const noexcept { return index_; }
  const std::string& name() const noexcept { return profile_->name(); }
  const Profile& profile() const noexcept { return *profile_; }
  Algorithm& algorithm() noexcept { return *algorithm_; }
  const ProfileMetrics& metrics() const noexcept { return *metrics_; }

  void for_each_waiting(const std::function<void(scheduler::WaitingPod&)>& visit) override;
  Result<scheduler::Verdict> run_filters(const scheduler::Cycle& cycle, const scheduler::NodeInfo& node) override;
  void pod_added(scheduler::Cycle& cycle, const scheduler::PodInfo& pod, const scheduler::NodeInfo& node) override;
  void pod_removed(scheduler::Cycle& cycle, const scheduler::PodInfo& pod, const scheduler::NodeInfo& node) override;
  std::vector<std::shared_ptr<const scheduler::PodInfo>> nominated_pods(std::string_view node) override;
  void parallel_for(std::size_t count, const std::function<void(std::size_t)>& work) override;
  void activate(std::string_view uid) override;
  std::vector<scheduler::PreemptExtender*> preempt_extenders() override;
  client::EventRecorder& events() override { return *events_; }
  void run_in_background(std::function<void(const CallContext&)> task) override;

 private:
  Scheduler& scheduler_;
  const std::size_t index_;
  std::unique_ptr<client::EventRecorder> events_;
  std::unique_ptr<ProfileMetrics> metrics_;
  std::unique_ptr<Profile> profile_;
  std::unique_ptr<Algorithm> algorithm_;
};

// A pod with a chosen node, until it is bound or given up.
struct Scheduler::Binding {
  Framework& framework;
  scheduler::QueuedPod queued;
  scheduler::Cycle cycle;
  std::string node;
  Clock::TimePoint started;  // Of the attempt.
  bool sampled;              // Its plugins are timed one by one.

  // Calls `call`, timed when the pod is sampled; `status` reads its result.
  template <class Call, class Status>
  auto timed(const Clock& clock, Point point, const ProfilePlugin& plugin, Call&& call, Status&& status) const {
    if (!sampled) return call();
    const Stopwatch watch(clock);
    auto result = call();
    framework.metrics().plugin_took(point, plugin.index, status(result), watch.elapsed());
    return result;
  }
};

}  // namespace kubernel::plugins
