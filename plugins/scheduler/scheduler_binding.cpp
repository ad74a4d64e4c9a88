// SPDX-License-Identifier: Apache-2.0
//
// The binding cycle: reserve, permit, pre-bind, bind, post-bind.
#include <algorithm>
#include <map>
#include <utility>

#include <kubernel/api/time.h>

#include "scheduler_framework.h"

namespace kubernel::plugins {

using scheduler::Cycle;
using scheduler::PodInfo;
using scheduler::QueuedPod;
using scheduler::Verdict;

namespace {

// Upstream's maxTimeout of the permit phase.
constexpr std::chrono::minutes kLongestPermit{15};

}  // namespace

// A pod that at least one Permit plugin holds. The last allow(), the first reject() or a time-out decides, once.
class Scheduler::Permission final : public scheduler::WaitingPod, public std::enable_shared_from_this<Permission> {
 public:
  Permission(Scheduler& scheduler, std::shared_ptr<Binding> binding)
      : scheduler_(scheduler), binding_(std::move(binding)), watch_(scheduler.context_.clock) {}

  const PodInfo& pod() const override { return *binding_->queued.pod; }
  const std::shared_ptr<Binding>& binding() const { return binding_; }

  // Before anybody else knows of it.
  void expect(const ProfilePlugin& plugin, std::chrono::milliseconds patience) {
    pending_[plugin.name] = {&plugin, nullptr};
    const std::weak_ptr<Permission> weak = weak_from_this();
    const std::string why =
        "rejected due to timeout after waiting " + api::format_duration(patience) + " at plugin " + plugin.name;
    Clock& clock = scheduler_.context_.clock;
    auto timer = clock.call_at(clock.now() + patience, [self = &scheduler_, weak, name = plugin.name, why] {
      self->run_later(self->context_.blocking, [weak, name, why] {
        if (const auto held = weak.lock()) held->expire(name, why);
      });
    });
    pending_[plugin.name].second = std::move(timer);
  }

  void allow(std::string_view plugin) override {
    Pending done;
    {
      const std::lock_guard lock(mutex_);
      const auto found = pending_.find(plugin);
      if (found == pending_.end() || over_) return;
      done.insert(pending_.extract(found));
      if (!pending_.empty()) return;
      over_ = true;
    }
    scheduler_.metrics_.permit_waited("Success", watch_.elapsed());
    scheduler_.permitted(*this);
  }

  void reject(std::string_view plugin, std::string why) override { decide_against(plugin, std::move(why), false); }

 private:
  using Pending = std::map<std::string, std::pair<const ProfilePlugin*, std::unique_ptr<Subscription>>, std::less<>>;

  void expire(std::string_view plugin, std::string why) { decide_against(plugin, std::move(why), true); }

  void decide_against(std::string_view plugin, std::string why, bool only_when_pending) {
    const ProfilePlugin* by = nullptr;
    Pending timers;  // Destroyed without the lock.
    {
      const std::lock_guard lock(mutex_);
      const auto found = pending_.find(plugin);
      if (over_ || (only_when_pending && found == pending_.end())) return;
      over_ = true;
      if (found != pending_.end()) by = found->second.first;
      timers.swap(pending_);
    }
    scheduler_.metrics_.permit_waited("Unschedulable", watch_.elapsed());
    const auto keep_alive = scheduler_.forget_permission(*this);
    scheduler_.refuse_binding(*binding_, Verdict::unschedulable(std::move(why)), by);
    scheduler_.pump();
  }

  Scheduler& scheduler_;
  const std::shared_ptr<Binding> binding_;
  const Stopwatch watch_;
  std::mutex mutex_;
  Pending pending_;
  bool over_ = false;
};

void Scheduler::begin_binding(const std::shared_ptr<Binding>& binding) {
  // The pod counts on its node from here on, so that the next pod is decided on with it in place.
  cache_.assume(*binding->queued.pod, binding->node);
  nominator_.remove(binding->queued.pod->uid());
  const CallContext ctx{stop_.get_token()};
  const Stopwatch watch(context_.clock);
  for (const auto& [point, plugin] : binding->framework.profile().reserve) {
    const Verdict verdict = binding->timed(
        context_.clock, Point::Reserve, *plugin,
        [&, p = point] { return p->reserve(ctx, binding->cycle, binding->node); },
        [](const Verdict& said) { return status_of(said); });
    if (!verdict.ok()) {
      binding->framework.metrics().point(Point::Reserve, PointStatus::Unschedulable, watch.elapsed());
      refuse_binding(*binding, verdict, plugin);
      return;
    }
  }
  binding->framework.metrics().point(Point::Reserve, PointStatus::Success, watch.elapsed());
  ask_permission(binding);
}

void Scheduler::ask_permission(const std::shared_ptr<Binding>& binding) {
  const CallContext ctx{stop_.get_token()};
  const Stopwatch watch(context_.clock);
  std::vector<std::pair<const ProfilePlugin*, std::chrono::milliseconds>> holders;
  for (const auto& [point, plugin] : binding->framework.profile().permit) {
    const scheduler::PermitResult result = binding->timed(
        context_.clock, Point::Permit, *plugin,
        [&, p = point] { return p->permit(ctx, binding->cycle, binding->node); },
        [](const scheduler::PermitResult& permit) { return status_of(permit.verdict); });
    if (result.verdict.kind() == Verdict::Kind::Wait) {
      holders.emplace_back(plugin, std::min<std::chrono::milliseconds>(result.timeout, kLongestPermit));
    } else if (!result.verdict.ok()) {
      binding->framework.metrics().point(Point::Permit, PointStatus::Unschedulable, watch.elapsed());
      refuse_binding(*binding, result.verdict, plugin);
      return;
    }
  }
  binding->framework.metrics().point(Point::Permit, PointStatus::Success, watch.elapsed());
  binding->cycle.snapshot = nullptr;
  if (holders.empty()) {
    go_on(binding);
  } else {
    hold(binding, std::move(holders));
  }
}

void Scheduler::hold(const std::shared_ptr<Binding>& binding,
                     std::vector<std::pair<const ProfilePlugin*, std::chrono::milliseconds>> holders) {
  const auto permission = std::make_shared<Permission>(*this, binding);
  for (const auto& [plugin, patience] : holders) permission->expect(*plugin, patience);
  const std::lock_guard lock(waiting_mutex_);
  waiting_.push_back(permission);
}

std::shared_ptr<Scheduler::Permission> Scheduler::forget_permission(const Permission& held) {
  const std::lock_guard lock(waiting_mutex_);
  const auto found = std::ranges::find_if(waiting_, [&](const auto& p) { return p.get() == &held; });
  if (found == waiting_.end()) return nullptr;
  auto out = std::move(*found);
  waiting_.erase(found);
  return out;
}

void Scheduler::permitted(Permission& held) {
  const auto keep_alive = forget_permission(held);
  go_on(held.binding());
}

void Scheduler::go_on(std::shared_ptr<Binding> binding) {
  give(binders_, [this, binding = std::move(binding)] {
    metrics_.binding.add(1);
    finish_binding(*binding);
    metrics_.binding.add(-1);
  });
}

void Scheduler::give(Crew& crew, std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    crew.tasks.push_back(std::move(task));
    if (crew.at_work >= crew.size) return;
    ++crew.at_work;
  }
  if (run_later(context_.blocking, [this, &crew] { work_off(crew); })) return;
  const std::lock_guard lock(mutex_);
  --crew.at_work;
}

void Scheduler::work_off(Crew& crew) {
  for (;;) {
    std::function<void()> task;
    {
      const std::lock_guard lock(mutex_);
      if (crew.tasks.empty()) {
        --crew.at_work;
        return;
      }
      task = std::move(crew.tasks.front());
      crew.tasks.pop_front();
    }
    task();
  }
}

void Scheduler::finish_binding(Binding& binding) {
  const CallContext ctx{stop_.get_token()};
  auto bound = bind(ctx, binding);
  if (!bound) {
    fail_binding(binding, bound.error());
    pump();
    return;
  }
  if (!bound->ok()) {
    refuse_binding(binding, *bound, nullptr);
    pump();
    return;
  }
  const PodInfo& pod = *binding.queued.pod;
  queue_->done(pod.uid());
  const auto now = context_.clock.now();
  binding.framework.metrics().attempt(Outcome::Scheduled, now - binding.started);
  metrics_.scheduled(binding.queued.attempts, now - binding.queued.first_queued_at);
  binding.framework.events().record(pod.object, "Normal", "Scheduled",
                                    "Successfully assigned " + api::to_string(pod.key()) + " to " + binding.node);
  for (const auto& [point, plugin] : binding.framework.profile().post_bind)
    point->post_bind(ctx, binding.cycle, binding.node);
}

Result<Verdict> Scheduler::bind(const CallContext& ctx, Binding& binding) {
  const ProfileMetrics& metrics = binding.framework.metrics();
  const auto status = [](const Result<Verdict>& result) {
    return !result ? PointStatus::Error : result->ok() ? PointStatus::Success : PointStatus::Unschedulable;
  };
  const Stopwatch preparing(context_.clock);
  auto prepared = pre_bind(ctx, binding);
  metrics.point(Point::PreBind, status(prepared), preparing.elapsed());
  if (!prepared || !prepared->ok()) return prepared;
  const Stopwatch binding_time(context_.clock);
  auto bound = write_binding(ctx, binding);
  metrics.point(Point::Bind, status(bound), binding_time.elapsed());
  return bound;
}

Result<Verdict> Scheduler::pre_bind(const CallContext& ctx, Binding& binding) {
  for (const auto& [point, plugin] : binding.framework.profile().pre_bind) {
    auto verdict = binding.timed(
        context_.clock, Point::PreBind, *plugin,
        [&, p = point] {
          return catch_as_error("pre-bind", [&] { return p->pre_bind(ctx, binding.cycle, binding.node); });
        },
        &status_of);
    if (!verdict) return std::move(verdict).error().wrap("running PreBind plugin \"" + plugin->name + "\"");
    if (!verdict->ok()) return verdict;
  }
  return Verdict::fits();
}

Result<Verdict> Scheduler::write_binding(const CallContext& ctx, Binding& binding) {
  for (const auto& extender : extenders_) {
    if (!extender->binds() || !extender->interested_in(*binding.queued.pod)) continue;
    KUBERNEL_CHECK_OK(extender->bind(ctx, *binding.queued.pod, binding.node));
    return Verdict::fits();
  }
  for (const auto& [point, plugin] : binding.framework.profile().bind) {
    auto verdict = binding.timed(
        context_.clock, Point::Bind, *plugin,
        [&, p = point] { return catch_as_error("bind", [&] { return p->bind(ctx, binding.cycle, binding.node); }); },
        &status_of);
    if (!verdict)
      return std::move(verdict).error().wrap("binding rejected: running Bind plugin \"" + plugin->name + "\"");
    if (verdict->kind() != Verdict::Kind::Skip) return verdict;
  }
  return Error(Reason::Internal, "every bind plugin skipped the pod");
}

void Scheduler::take_back(Binding& binding) {
  const auto& reserve = binding.framework.profile().reserve;
  for (auto it = reserve.rbegin(); it != reserve.rend(); ++it)
    it->point->unreserve({stop_.get_token()}, binding.cycle, binding.node);
  const PodInfo& pod = *binding.queued.pod;
  cache_.forget(pod.uid());
  // The room it held is free again for others.
  queue_->on_event({scheduler::ClusterEvent::PodDeleted, pod.object, {}, {}, pod.uid()});
}

void Scheduler::refuse_binding(Binding& binding, const Verdict& refusal, const ProfilePlugin* plugin) {
  take_back(binding);
  scheduler::Refusals refusals;
  refusals.nodes.push_back({nullptr, {}, refusal});
  binding.framework.metrics().attempt(Outcome::Unschedulable, context_.clock.now() - binding.started);
  std::vector<std::size_t> rejected_by;
  if (plugin != nullptr) rejected_by.push_back(plugin->index);
  queue_->requeue_unschedulable(binding.queued.pod->uid(), std::move(rejected_by));
  report(binding.framework, binding.queued.pod, "Unschedulable", refusals.message(1), std::nullopt);
}

void Scheduler::fail_binding(Binding& binding, const Error& error) {
  take_back(binding);
  if (stop_.stop_requested()) return;  // The call was cancelled; the next scheduler tries again.
  if (error.reason() == Reason::NotFound) {
    queue_->done(binding.queued.pod->uid());  // Deleted before it was bound.
  } else {
    binding.framework.metrics().attempt(Outcome::Error, context_.clock.now() - binding.started);
    failed(binding.framework, binding.queued, error);
  }
}

void Scheduler::for_each_waiting(const std::function<void(scheduler::WaitingPod&)>& visit) {
  std::vector<std::shared_ptr<Permission>> held;
  {
    const std::lock_guard lock(waiting_mutex_);
    held = waiting_;
  }
  for (const auto& permission : held) visit(*permission);
}

}  // namespace kubernel::plugins
