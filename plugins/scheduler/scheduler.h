// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>
#include <kubernel/base/random.h>
#include <kubernel/client/events.h>
#include <kubernel/client/informer.h>
#include <kubernel/scheduler/framework.h>

#include "algorithm.h"
#include "cache.h"
#include "profile.h"
#include "queue.h"

namespace kubernel::plugins {

struct SchedulerOptions {
  std::string scheduler_name = "default-scheduler";
  std::vector<std::string> disabled;
  std::vector<std::pair<std::string, int>> weights;
  Algorithm::Options algorithm;
  QueueOptions queue;
};

// Lent for the scheduler's life.
struct SchedulerContext {
  Logger& log;
  Metrics& metrics;
  Clock& clock;
  Random& random;
  Executor& blocking;
  Executor& compute;
  client::ApiClient& api;
  client::InformerFactory& informers;
  client::EventRecorder& events;
};

// Gives every pending pod of its name a node: informers feed the cache and the queue, one strand decides pod by pod, bindings are
// written beside it.
//
// Threads: make(), start() and stop() on one thread; everything else is internal.
class Scheduler final : public scheduler::Handle {
 public:
  // Makes the plugins; they ask for their informers now. Errors: as Profile::make().
  static Result<std::unique_ptr<Scheduler>> make(const SchedulerContext& context, SchedulerOptions options,
                                                 const std::vector<plugin::Provided<scheduler::PluginSpec>>& plugins);
  ~Scheduler() override;

  // Begins to listen; pods are scheduled once the informers have synced.
  void start();
  bool has_synced() const { return context_.informers.has_synced(); }
  // Takes no more pods; returns when no pod is being scheduled or bound.
  void stop(const CallContext& ctx);

  void for_each_waiting(const std::function<void(scheduler::WaitingPod&)>& visit) override;
  Result<scheduler::Verdict> run_filters(const scheduler::Cycle& cycle, const scheduler::NodeInfo& node) override;

 private:
  struct Binding;
  class Permission;

  Scheduler(const SchedulerContext& context, SchedulerOptions options);

  // scheduler_events.cpp: what the informers say.
  void pod_changed(const api::Object* before, const api::Object* after);
  void node_changed(const api::Object* before, const api::Object* after);
  void happened(scheduler::ClusterEvent event, const api::Object* before, const api::Object* after);

  // Runs until no pod is active. Called through pump(), on the strand.
  void drain();
  void pump();
  void arm_timer();

  void schedule_one(scheduler::QueuedPod queued);
  void unschedulable(const scheduler::QueuedPod& queued, const scheduler::Cycle& cycle, const Decision& decision);
  void failed(const scheduler::QueuedPod& queued, const Error& error);
  void report(const scheduler::PodInfo& pod, std::string_view reason, const std::string& message);

  // scheduler_binding.cpp: from a chosen node to a bound pod.
  void begin_binding(scheduler::QueuedPod queued, scheduler::Cycle cycle, std::string node);
  void ask_permission(const std::shared_ptr<Binding>& binding);
  void finish_binding(const std::shared_ptr<Binding>& binding);
  Result<scheduler::Verdict> bind(const CallContext& ctx, Binding& binding);
  void abandon(Binding& binding, const scheduler::Verdict* refusal, const Error* error, const ProfilePlugin* plugin);
  void count_attempt(std::string_view result);

  // Runs `task` on the blocking pool and keeps stop() waiting for it.
  void run_later(Executor& executor, std::function<void()> task);

  const SchedulerContext context_;
  const SchedulerOptions options_;
  std::unique_ptr<Profile> profile_;
  std::unique_ptr<Algorithm> algorithm_;
  std::unique_ptr<SchedulingQueue> queue_;
  SchedulerCache cache_;
  std::unique_ptr<Executor> strand_;
  std::shared_ptr<client::Informer> pods_;
  std::shared_ptr<client::Informer> nodes_;
  std::vector<std::unique_ptr<Subscription>> subscriptions_;
  std::stop_source stop_;

  std::mutex mutex_;  // Guards the four below.
  std::condition_variable idle_;
  int running_ = 0;
  bool pumping_ = false;
  std::unique_ptr<Subscription> timer_;

  std::mutex waiting_mutex_;
  std::vector<std::shared_ptr<Permission>> waiting_;
};

}  // namespace kubernel::plugins
