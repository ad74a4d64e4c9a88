// SPDX-License-Identifier: Apache-2.0
#include "scheduler.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

#include "scheduler_framework.h"

namespace kubernel::plugins {

using scheduler::Cycle;
using scheduler::PodInfo;
using scheduler::QueuedPod;
using scheduler::Verdict;

namespace {

// An Event's message may be this long (events.k8s.io NoteLengthLimit).
constexpr std::size_t kMessageLimit = 1024;

std::string shortened(const std::string& message) {
  constexpr std::string_view kEnd = " ...";
  return message.size() <= kMessageLimit ? message : message.substr(0, kMessageLimit - kEnd.size()) + std::string(kEnd);
}

api::Value scheduled_condition(const api::Object& pod) {
  for (const api::Value condition : pod.pointer("/status/conditions")) {
    if (condition["type"].string() == "PodScheduled") return condition;
  }
  return {};
}

}  // namespace

Scheduler::Scheduler(const SchedulerContext& context, SchedulerOptions options)
    : context_(context),
      options_(std::move(options)),
      informers_(context.informers),
      metrics_(context.metrics),
      strand_(make_strand(context.blocking)),
      reports_(make_strand(context.blocking)) {}

Scheduler::~Scheduler() = default;

Result<std::unique_ptr<Scheduler>> Scheduler::make(const SchedulerContext& context, SchedulerOptions options,
                                                   const std::vector<plugin::Provided<scheduler::PluginSpec>>& plugins,
                                                   std::vector<std::unique_ptr<Extender>> extenders) {
  std::unique_ptr<Scheduler> self(new Scheduler(context, std::move(options)));
  self->extenders_ = std::move(extenders);
  for (const ProfileSettings& settings : self->options_.profiles)
    KUBERNEL_CHECK_OK(self->add_profile(settings, plugins));
  KUBERNEL_CHECK_OK(self->check_profiles());
  self->make_queue();
  // A pod that has ended holds nothing any more (upstream's scheduler informer selects the same).
  self->pods_ = self->informers_.informer(api::resources::kPods,
                                          {.field_selector = "status.phase!=Succeeded,status.phase!=Failed"});
  self->nodes_ = self->informers_.informer(api::resources::kNodes, {});
  return self;
}

Result<void> Scheduler::add_profile(const ProfileSettings& settings,
                                    const std::vector<plugin::Provided<scheduler::PluginSpec>>& plugins) {
  for (const auto& other : frameworks_) {
    if (other->name() == settings.scheduler_name) {
      return Error(Reason::Invalid, "profiles: two of them have the schedulerName \"" + settings.scheduler_name + "\"");
    }
  }
  auto framework = std::make_unique<Framework>(*this, frameworks_.size());
  KUBERNEL_CHECK_OK(framework->make(settings, plugins));
  frameworks_.push_back(std::move(framework));
  return {};
}

// All profiles share one queue, so they must agree on its order.
Result<void> Scheduler::check_profiles() const {
  if (frameworks_.empty()) return Error(Reason::Invalid, "profiles: at least one is required");
  const Profile& first = frameworks_.front()->profile();
  const ProfilePlugin& sort = *first.sorts.front().plugin;
  for (const auto& framework : frameworks_) {
    const Profile& profile = framework->profile();
    const ProfilePlugin& other = *profile.sorts.front().plugin;
    if (other.name != sort.name || profile.arguments(other) != first.arguments(sort)) {
      return Error(Reason::Invalid, "profiles: all need the same queue-sort plugin with the same arguments; \"" +
                                        first.name() + "\" and \"" + profile.name() + "\" differ");
    }
  }
  return {};
}

void Scheduler::make_queue() {
  std::vector<QueueProfile> profiles;
  for (const auto& framework : frameworks_) {
    const Profile& profile = framework->profile();
    QueueProfile known{profile.interests(), {}};
    if (!profile.pre_enqueue.empty()) {
      known.gate = [&profile](const PodInfo& pod) -> std::optional<std::size_t> {
        const ProfilePlugin* const gate = profile.gate(pod);
        return gate == nullptr ? std::nullopt : std::optional(gate->index);
      };
    }
    profiles.push_back(std::move(known));
  }
  queue_ = std::make_unique<SchedulingQueue>(context_.clock, frameworks_.front()->profile().queue_sort(),
                                             std::move(profiles), options_.queue);
  queue_->on_hint(
      [this](std::size_t profile, std::size_t plugin, std::string_view event, bool helps,
             std::chrono::nanoseconds took) { frameworks_[profile]->metrics().hinted(plugin, event, helps, took); });
  queue_->on_incoming([this](std::string_view place, std::string_view event) { metrics_.incoming(place, event); });
}

void Scheduler::start() {
  listen();
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

bool Scheduler::run_later(Executor& executor, std::function<void()> task) {
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
  return static_cast<bool>(submitted);
}

void Scheduler::pump() {
  if (stop_.stop_requested() || !informers_.has_synced()) return;
  {
    const std::lock_guard lock(mutex_);
    if (pumping_) return;  // drain() looks again before it ends.
    pumping_ = true;
  }
  run_later(*strand_, [this] { drain(); });
}

void Scheduler::drain() {
  constexpr int kShownEvery = 64;
  for (int decided = 0;; ++decided) {
    if (decided % kShownEvery == 0) show_pending();
    queue_->flush();
    auto popped = stop_.stop_requested() ? std::nullopt : queue_->pop();
    if (popped) {
      schedule_one(*std::move(popped));
      continue;
    }
    const std::lock_guard lock(mutex_);
    // A pod that came between pop() and here has called pump(), which saw pumping_.
    if (!stop_.stop_requested() && queue_->flush()) continue;
    pumping_ = false;
    break;
  }
  show_pending();
  arm_timer();
}

void Scheduler::arm_timer() {
  const auto due = queue_->next_due();
  std::unique_ptr<Subscription> old;
  const std::lock_guard lock(mutex_);
  old = std::move(timer_);
  if (due && !stop_.stop_requested()) timer_ = context_.clock.call_at(*due, [this] { pump(); });
}

void Scheduler::schedule_one(SchedulingQueue::Popped popped) {
  Framework& framework = *frameworks_[popped.profile];
  QueuedPod& queued = popped.queued;
  if (cache_.knows(queued.pod->uid())) {  // Bound by somebody else while it waited.
    queue_->done(queued.pod->uid());
    return;
  }
  const std::lock_guard deciding(deciding_);
  const auto started = context_.clock.now();
  const Stopwatch watch(context_.clock);
  Cycle cycle{queued.pod, cache_.snapshot(), {}, {}, {}};
  auto decision = framework.algorithm().decide({stop_.get_token()}, cycle);
  metrics_.algorithm_duration.observe(std::chrono::duration<double>(watch.elapsed()).count());
  if (!decision) {
    failed(framework, queued, decision.error());
    framework.metrics().attempt(Outcome::Error, watch.elapsed());
  } else if (decision->node.empty()) {
    unschedulable(framework, queued, cycle, *std::move(decision));
    framework.metrics().attempt(Outcome::Unschedulable, watch.elapsed());
  } else {
    begin_binding(std::make_shared<Binding>(Binding{framework, std::move(queued), std::move(cycle),
                                                    std::move(decision->node), started, decision->sampled}));
  }
}

void Scheduler::unschedulable(Framework& framework, const QueuedPod& queued, const Cycle& cycle, Decision decision) {
  const std::size_t nodes = cycle.snapshot->nodes().size();
  std::string message = decision.message(nodes);
  std::optional<std::string> nominated;
  std::string attempts;
  for (const auto& [point, plugin] : framework.profile().post_filter) {
    if (nodes == 0) break;
    auto result = catch_as_error(
        "post-filter", [&, p = point] { return p->post_filter({stop_.get_token()}, cycle, decision.refusals); });
    if (!result) {
      log_error(context_.log, "post-filter failed", {{"plugin", plugin->name}, {"error", result.error()}});
      attempts = result.error().message();
      break;
    }
    if (result->nominated_node) nominated = std::move(result->nominated_node);
    if (result->verdict.ok()) attempts.clear();
    for (const std::string& reason : result->verdict.reasons()) attempts += (attempts.empty() ? "" : ", ") + reason;
    if (result->verdict.kind() != Verdict::Kind::Unschedulable) break;
  }
  if (!attempts.empty()) message += " " + attempts;
  if (nominated && nominated->empty()) nominator_.remove(queued.pod->uid());
  if (nominated && !nominated->empty()) nominator_.set(queued.pod, *nominated);
  // What changes an extender's mind is unknown: any event is worth a try.
  if (decision.rejected_by_extender) decision.rejected_by.clear();
  queue_->requeue_unschedulable(queued.pod->uid(), std::move(decision.rejected_by));
  report(framework, queued.pod, "Unschedulable", message, std::move(nominated));
}

void Scheduler::failed(Framework& framework, const QueuedPod& queued, const Error& error) {
  log_error(context_.log, "cannot schedule pod", {{"pod", api::to_string(queued.pod->key())}, {"error", error}});
  queue_->requeue_after_error(queued.pod->uid());
  report(framework, queued.pod, "SchedulerError", error.message(), std::nullopt);
}

void Scheduler::report(Framework& framework, const std::shared_ptr<const PodInfo>& pod, std::string_view reason,
                       const std::string& message, std::optional<std::string> nominated) {
  if (stop_.stop_requested()) return;  // The next scheduler will say.
  framework.events().record(pod->object, "Warning", "FailedScheduling", shortened(message));
  run_later(*reports_, [this, pod, text = std::string(reason), message, chosen = std::move(nominated)] {
    write_status(pod, text, message, chosen);
  });
}

// The latest object known counts: the one in hand may be older than what was last written. What is written must not
// overtake a binding.
void Scheduler::write_status(const std::shared_ptr<const PodInfo>& pod, std::string_view reason,
                             const std::string& message, const std::optional<std::string>& nominated) {
  constexpr int kTries = 3;
  const CallContext ctx{stop_.get_token()};
  api::Object latest = pods_->find(pod->key()).value_or(pod->object);
  for (int i = 0; i < kTries; ++i) {
    if (latest.uid() != pod->uid() || cache_.knows(pod->uid()) || !latest.pointer("/spec/nodeName").string().empty())
      return;
    nlohmann::json status = changed_status(latest, reason, message, nominated);
    if (status.empty()) return;
    const nlohmann::json patch = {{"metadata", {{"resourceVersion", std::to_string(latest.head().resource_version)}}},
                                  {"status", std::move(status)}};
    const auto written = context_.api.patch(ctx, api::resources::kPods, pod->key(), client::PatchType::StrategicMerge,
                                            patch, {.subresource = "status"});
    if (written || written.error().reason() == Reason::NotFound) return;
    auto fresh = written.error().reason() == Reason::Conflict
                     ? context_.api.get(ctx, api::resources::kPods, pod->key(), "")
                     : written;
    if (!fresh) {
      log_warning(context_.log, "cannot write the pod's condition",
                  {{"pod", api::to_string(pod->key())}, {"error", fresh.error()}});
      return;
    }
    latest = *std::move(fresh);
  }
}

nlohmann::json Scheduler::changed_status(const api::Object& pod, std::string_view reason, const std::string& message,
                                         const std::optional<std::string>& nominated) const {
  nlohmann::json status = nlohmann::json::object();
  const api::Value old = scheduled_condition(pod);
  const bool was_false = old["status"].string() == "False";
  if (!was_false || old["reason"].string() != reason || old["message"].string() != message) {
    nlohmann::json condition = {{"type", "PodScheduled"},
                                {"status", "False"},
                                {"reason", reason},
                                {"message", message},
                                {"lastProbeTime", nullptr},
                                {"lastTransitionTime", was_false ? std::string(old["lastTransitionTime"].string())
                                                                 : api::format_time(context_.clock.wall_now())}};
    if (pod.head().generation > 0) condition["observedGeneration"] = pod.head().generation;
    status["conditions"] = nlohmann::json::array({std::move(condition)});
  }
  if (nominated && pod.pointer("/status/nominatedNodeName").string() != *nominated) {
    status["nominatedNodeName"] = nominated->empty() ? nlohmann::json(nullptr) : nlohmann::json(*nominated);
  }
  return status;
}

Scheduler::Framework* Scheduler::framework_of(const api::Object& pod) {
  const std::string_view wanted = pod.pointer("/spec/schedulerName").string("default-scheduler");
  const auto mine =
      std::ranges::find_if(frameworks_, [&](const auto& framework) { return framework->name() == wanted; });
  return mine == frameworks_.end() ? nullptr : mine->get();
}

Result<Explanation> Scheduler::explain(const CallContext& ctx, const api::ObjectKey& key) {
  const auto pod = pods_->find(key);
  if (!pod) return Error(Reason::NotFound, "pods \"" + key.name + "\" not found");
  const std::string_view node = pod->pointer("/spec/nodeName").string();
  if (!node.empty())
    return Error(Reason::BadRequest, "pod " + api::to_string(key) + " is bound to " + std::string(node));
  Framework* const framework = framework_of(*pod);
  if (framework == nullptr) {
    return Error(Reason::BadRequest, "pod " + api::to_string(key) + " belongs to another scheduler, " +
                                         std::string(pod->pointer("/spec/schedulerName").string()));
  }
  const std::lock_guard deciding(deciding_);
  const auto info = std::make_shared<const PodInfo>(*pod);
  Cycle cycle{info, cache_.snapshot(), {}, {}, {}};
  KUBERNEL_TRY(Explanation out, framework->algorithm().explain(ctx, cycle));
  out.pod = api::to_string(key);
  out.scheduler = framework->name();
  for (const auto& [point, plugin] : framework->profile().pre_enqueue) {
    for (const std::string& reason : point->pre_enqueue(*info).reasons())
      out.refused += (out.refused.empty() ? "" : ", ") + reason;
  }
  return out;
}

void Scheduler::show_pending() {
  const SchedulingQueue::Counts counts = queue_->counts();
  metrics_.active.set(static_cast<double>(counts.active));
  metrics_.backoff.set(static_cast<double>(counts.backoff));
  metrics_.unschedulable.set(static_cast<double>(counts.unschedulable));
  metrics_.gated.set(static_cast<double>(counts.gated));
  for (const auto& framework : frameworks_) {
    const auto sleepers = queue_->sleepers(framework->index());
    for (std::size_t plugin = 0; plugin < sleepers.size(); ++plugin)
      framework->metrics().refused(plugin, sleepers[plugin]);
  }
  const SchedulerCache::Sizes sizes = cache_.sizes();
  metrics_.cached_nodes.set(static_cast<double>(sizes.nodes));
  metrics_.cached_pods.set(static_cast<double>(sizes.pods));
  metrics_.assumed_pods.set(static_cast<double>(sizes.assumed));
}

}  // namespace kubernel::plugins
