// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

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
#include "event_labels.h"
#include "known_informers.h"
#include "metrics.h"
#include "nominator.h"
#include "profile.h"
#include "queue.h"

namespace kubernel::plugins {

struct SchedulerOptions {
  std::vector<ProfileSettings> profiles = std::vector<ProfileSettings>(1);
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
};

// Gives every pending pod of its profiles' names a node: informers feed the cache and the queue, one strand decides pod
// by pod, bindings and status are written beside it.
//
// Threads: make(), start() and stop() on one thread; for_each_waiting() on any; everything else is internal.
class Scheduler {
 public:
  // Makes the plugins; they ask for their informers now. Errors: as Profile::make(); Invalid for two profiles of one
  // name or with different queue sorts.
  static Result<std::unique_ptr<Scheduler>> make(const SchedulerContext& context, SchedulerOptions options,
                                                 const std::vector<plugin::Provided<scheduler::PluginSpec>>& plugins,
                                                 std::vector<std::unique_ptr<Extender>> extenders = {});
  ~Scheduler();

  // Begins to listen; pods are scheduled once the informers have synced.
  void start();
  bool has_synced() const { return context_.informers.has_synced(); }
  // Takes no more pods; returns when no pod is being scheduled or bound.
  void stop(const CallContext& ctx);

  void for_each_waiting(const std::function<void(scheduler::WaitingPod&)>& visit);

  // What the plugins say of a pending pod now. Errors: NotFound; BadRequest for a pod that is bound or another
  // scheduler's. Threads: any.
  Result<Explanation> explain(const CallContext& ctx, const api::ObjectKey& pod);

 private:
  struct Binding;
  class Permission;
  class Framework;  // One profile at work: its plugins, and what they may ask of the scheduler.

  Scheduler(const SchedulerContext& context, SchedulerOptions options);
  Result<void> add_profile(const ProfileSettings& settings,
                           const std::vector<plugin::Provided<scheduler::PluginSpec>>& plugins);
  Result<void> check_profiles() const;
  void make_queue();

  // scheduler_events.cpp: what the informers say.
  void listen();
  void listen_to_resources();
  void pod_changed(const api::Object* before, const api::Object* after);
  void place_pod(const api::Object* before, const api::Object& pod, const PodChanges& changes);
  void pending_pod_changed(const api::Object* before, const api::Object& pod);
  void pod_gone(const api::Object& pod);
  void node_changed(const api::Object* before, const api::Object* after);
  void node_updated(const api::Object& before, const api::Object& after, const Stopwatch& watch);
  void count_pod_event(const api::Object* before, const api::Object* after, const PodChanges& changes,
                       std::chrono::nanoseconds took);
  // `label`: as Happened::label.
  void happened(scheduler::ClusterEvent event, const api::Object* before, const api::Object* after,
                const api::Resource& resource = {}, std::string_view label = {});

  // Runs until no pod is active. Called through pump(), on the strand.
  void drain();
  void pump();
  void arm_timer();

  Framework* framework_of(const api::Object& pod);
  void schedule_one(SchedulingQueue::Popped popped);
  void unschedulable(Framework& framework, const scheduler::QueuedPod& queued, const scheduler::Cycle& cycle,
                     Decision decision);
  void failed(Framework& framework, const scheduler::QueuedPod& queued, const Error& error);
  // Tells the user, once: an event and the pod's condition. `nominated`: what status.nominatedNodeName becomes.
  void report(Framework& framework, const std::shared_ptr<const scheduler::PodInfo>& pod, std::string_view reason,
              const std::string& message, std::optional<std::string> nominated);
  void write_status(const std::shared_ptr<const scheduler::PodInfo>& pod, std::string_view reason,
                    const std::string& message, const std::optional<std::string>& nominated);
  // What to write; empty when the status says it already.
  nlohmann::json changed_status(const api::Object& pod, std::string_view reason, const std::string& message,
                                const std::optional<std::string>& nominated) const;

  // scheduler_binding.cpp: from a chosen node to a bound pod.
  void begin_binding(const std::shared_ptr<Binding>& binding);
  void ask_permission(const std::shared_ptr<Binding>& binding);
  void hold(const std::shared_ptr<Binding>& binding,
            std::vector<std::pair<const ProfilePlugin*, std::chrono::milliseconds>> holders);
  void permitted(Permission& held);
  std::shared_ptr<Permission> forget_permission(const Permission& held);
  void go_on(std::shared_ptr<Binding> binding);
  void finish_binding(Binding& binding);
  Result<scheduler::Verdict> bind(const CallContext& ctx, Binding& binding);
  Result<scheduler::Verdict> pre_bind(const CallContext& ctx, Binding& binding);
  Result<scheduler::Verdict> write_binding(const CallContext& ctx, Binding& binding);
  // Undoes what was reserved and puts the pod back: refused by `plugin`, or failed.
  void refuse_binding(Binding& binding, const scheduler::Verdict& refusal, const ProfilePlugin* plugin);
  void fail_binding(Binding& binding, const Error& error);
  void take_back(Binding& binding);
  void show_pending();

  // Runs `task` on `executor` and keeps stop() waiting for it. Returns whether it could be queued.
  bool run_later(Executor& executor, std::function<void()> task);

  // So many at a time, on the blocking pool.
  struct Crew {
    const int size;
    int at_work = 0;
    std::deque<std::function<void()>> tasks = {};  // Not yet taken up.
  };
  void give(Crew& crew, std::function<void()> task);
  void work_off(Crew& crew);

  const SchedulerContext context_;
  const SchedulerOptions options_;
  KnownInformers informers_;
  std::vector<std::unique_ptr<Extender>> extenders_;
  SchedulerMetrics metrics_;
  std::vector<std::unique_ptr<Framework>> frameworks_;
  Nominator nominator_;
  std::unique_ptr<SchedulingQueue> queue_;
  SchedulerCache cache_;
  std::unique_ptr<Executor> strand_;   // Decisions.
  std::unique_ptr<Executor> reports_;  // Conditions, in order.
  std::shared_ptr<client::Informer> pods_;
  std::shared_ptr<client::Informer> nodes_;
  bool tell_of_pods_ = false;  // Some plugin asked for ResourceChanged of pods.
  std::vector<std::unique_ptr<Subscription>> subscriptions_;
  std::stop_source stop_;

  std::mutex deciding_;  // Held while plugins look at one pod.

  std::mutex mutex_;  // Guards the six below.
  std::condition_variable idle_;
  int running_ = 0;
  bool pumping_ = false;
  std::unique_ptr<Subscription> timer_;
  // Enough bindings at once that a store which commits in groups has groups to commit, and half of the pool's threads,
  // so that the informers and the API go on.
  Crew binders_{8};
  Crew background_{4};

  std::mutex waiting_mutex_;
  std::vector<std::shared_ptr<Permission>> waiting_;
};

}  // namespace kubernel::plugins
