// SPDX-License-Identifier: Apache-2.0
#include "scheduler.h"

#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

namespace kubernel::plugins {

using scheduler::Cycle;
using scheduler::PodInfo;
using scheduler::QueuedPod;

namespace {

constexpr double kAttemptBuckets[] = {0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384};

}  // namespace

Scheduler::Scheduler(const SchedulerContext& context, SchedulerOptions options)
    : context_(context), options_(std::move(options)), strand_(make_strand(context.blocking)) {}

Scheduler::~Scheduler() = default;

Result<std::unique_ptr<Scheduler>> Scheduler::make(const SchedulerContext& context, SchedulerOptions options,
                                                   const std::vector<plugin::Provided<scheduler::PluginSpec>>& plugins) {
  std::unique_ptr<Scheduler> self(new Scheduler(context, std::move(options)));
  KUBERNEL_TRY(self->profile_, Profile::make(plugins, self->options_.disabled, self->options_.weights,
                                             {*self, context.api, context.informers, context.log, context.clock}));
  self->algorithm_ = std::make_unique<Algorithm>(*self->profile_, context.compute, context.random, self->options_.algorithm);
  self->queue_ = std::make_unique<SchedulingQueue>(context.clock, self->profile_->queue_sort(), self->profile_->interests(),
                                                   self->options_.queue);
  // A pod that has ended holds nothing any more (upstream's scheduler informer selects the same).
  self->pods_ = context.informers.informer(api::resources::kPods,
                                           {.field_selector = "status.phase!=Succeeded,status.phase!=Failed"});
  self->nodes_ = context.informers.informer(api::resources::kNodes, {});
  return self;
}

void Scheduler::start() {
  subscriptions_.push_back(nodes_->add_handler(
      {[this](const api::Object& node) { node_changed(nullptr, &node); },
       [this](const api::Object& before, const api::Object& after) { node_changed(&before, &after); },
       [this](const api::Object& node) { node_changed(&node, nullptr); }}));
  subscriptions_.push_back(pods_->add_handler(
      {[this](const api::Object& pod) { pod_changed(nullptr, &pod); },
       [this](const api::Object& before, const api::Object& after) { pod_changed(&before, &after); },
       [this](const api::Object& pod) { pod_changed(&pod, nullptr); }}));
  nodes_->on_synced([this] { pump(); });
  pods_->on_synced([this] { pump(); });
}

void Scheduler::stop(const CallContext&) {
  stop_.request_stop();
  subscriptions_.clear();  // No handler runs after this.
  std::unique_ptr<Subscription> timer;
  {
    const std::lock_guard lock(mutex_);
    timer = std::move(timer_);
  }
  timer.reset();
  for_each_waiting([](scheduler::WaitingPod& pod) { pod.reject("", "the scheduler is stopping"); });
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return running_ == 0; });
}

void Scheduler::run_later(Executor& executor, std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    ++running_;
  }
  const auto leave = [this] {
    const std::lock_guard lock(mutex_);
    if (--running_ == 0) idle_.notify_all();
  };
  const auto submitted = executor.submit([task = std::move(task), leave] {
    task();
    leave();
  });
  if (!submitted) {
    // The pool is full or stopping; the flush timer or the next event tries again.
    log_warning(context_.log, "cannot queue work", {{"error", submitted.error()}});
    leave();
  }
}

void Scheduler::pump() {
  if (stop_.stop_requested() || !context_.informers.has_synced()) return;
  {
    const std::lock_guard lock(mutex_);
    if (pumping_) return;  // drain() looks again before it ends.
    pumping_ = true;
  }
  run_later(*strand_, [this] { drain(); });
}

void Scheduler::drain() {
  for (;;) {
    queue_->flush();
    auto queued = stop_.stop_requested() ? std::nullopt : queue_->pop();
    if (queued) {
      schedule_one(*std::move(queued));
      continue;
    }
    const std::lock_guard lock(mutex_);
    // A pod that came between pop() and here has called pump(), which saw pumping_.
    if (!stop_.stop_requested() && queue_->counts().active > 0) continue;
    pumping_ = false;
    break;
  }
  arm_timer();
}

void Scheduler::arm_timer() {
  const auto due = queue_->next_due();
  std::unique_ptr<Subscription> old;
  const std::lock_guard lock(mutex_);
  old = std::move(timer_);
  if (due && !stop_.stop_requested()) timer_ = context_.clock.call_at(*due, [this] { pump(); });
}

void Scheduler::schedule_one(QueuedPod queued) {
  const auto started = context_.clock.now();
  const CallContext ctx{stop_.get_token()};
  Cycle cycle{queued.pod, cache_.snapshot(), {}};
  if (cache_.knows(queued.pod->uid())) {  // Bound by somebody else while it waited.
    queue_->done(queued.pod->uid());
    return;
  }
  auto decision = algorithm_->decide(ctx, cycle);
  context_.metrics.histogram("scheduler_scheduling_algorithm_duration_seconds", "Scheduling algorithm latency in seconds",
                             kAttemptBuckets, {})
      .observe(std::chrono::duration<double>(context_.clock.now() - started).count());
  if (!decision) {
    failed(queued, decision.error());
  } else if (decision->node.empty()) {
    unschedulable(queued, cycle, *decision);
  } else {
    begin_binding(std::move(queued), std::move(cycle), std::move(decision->node));
  }
}

void Scheduler::unschedulable(const QueuedPod& queued, const Cycle& cycle, const Decision& decision) {
  count_attempt("unschedulable");
  std::string message = decision.message(cycle.snapshot->nodes().size());
  std::string nominated;
  for (const ProfilePlugin& plugin : profile_->plugins()) {
    if (plugin.post_filter == nullptr || !nominated.empty()) continue;
    const CallContext ctx{stop_.get_token()};
    auto result = catch_as_error("post-filter", [&] { return plugin.post_filter->post_filter(ctx, cycle, decision.verdicts); });
    if (!result) {
      log_error(context_.log, "post-filter failed", {{"plugin", plugin.name}, {"error", result.error()}});
      continue;
    }
    nominated = result->nominated_node;
    if (!result->message.empty()) message += " " + result->message;
  }
  const QueuedPod copy = queued;
  queue_->requeue_unschedulable(copy, decision.rejected_by);
  report(*queued.pod, "Unschedulable", message);
}

void Scheduler::failed(const QueuedPod& queued, const Error& error) {
  count_attempt("error");
  log_error(context_.log, "cannot schedule pod", {{"pod", api::to_string(queued.pod->key())}, {"error", error}});
  queue_->requeue_after_error(queued);
  report(*queued.pod, "SchedulerError", error.message());
}

void Scheduler::report(const PodInfo& pod, std::string_view reason, const std::string& message) {
  context_.events.record(pod.object, "Warning", "FailedScheduling", message);
  for (const api::Value condition : pod.object.body()["status"]["conditions"]) {
    const bool same = condition["type"].string() == "PodScheduled" && condition["reason"].string() == reason &&
                      condition["message"].string() == message && condition["status"].string() == "False";
    if (same) return;
  }
  const nlohmann::json patch = {
      {"status",
       {{"conditions",
         {{{"type", "PodScheduled"},
           {"status", "False"},
           {"reason", reason},
           {"message", message},
           {"lastProbeTime", nullptr},
           {"lastTransitionTime", api::format_time(context_.clock.wall_now())}}}}}}};
  const auto written = context_.api.patch({stop_.get_token()}, api::resources::kPods, pod.key(),
                                          client::PatchType::StrategicMerge, patch, {.subresource = "status"});
  if (!written && written.error().reason() != Reason::NotFound) {
    log_warning(context_.log, "cannot write the pod's condition", {{"pod", api::to_string(pod.key())}, {"error", written.error()}});
  }
}

void Scheduler::count_attempt(std::string_view result) {
  context_.metrics
      .counter("scheduler_schedule_attempts_total", "Number of attempts to schedule pods, by the result.",
               {{"profile", options_.scheduler_name}, {"result", std::string(result)}})
      .add(1);
}

Result<scheduler::Verdict> Scheduler::run_filters(const Cycle& cycle, const scheduler::NodeInfo& node) {
  KUBERNEL_TRY(auto verdict, algorithm_->filter_node(cycle, node));
  return std::move(verdict.verdict);
}

}  // namespace kubernel::plugins
