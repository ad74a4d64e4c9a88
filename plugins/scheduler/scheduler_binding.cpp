// SPDX-License-Identifier: Apache-2.0
//
// The binding cycle: reserve, permit, pre-bind, bind, post-bind.
#include <algorithm>
#include <utility>

#include "scheduler.h"

namespace kubernel::plugins {

using scheduler::Cycle;
using scheduler::PodInfo;
using scheduler::QueuedPod;
using scheduler::Verdict;

// A pod with a chosen node, until it is bound or given up.
struct Scheduler::Binding {
  QueuedPod queued;
  Cycle cycle;
  std::string node;
  Clock::TimePoint started;
};

// A pod that at least one Permit plugin holds. The last allow(), the first reject() or the time-out decides, once.
class Scheduler::Permission final : public scheduler::WaitingPod {
 public:
  Permission(std::shared_ptr<Binding> binding, std::vector<std::string> plugins,
             std::function<void(Permission&, const Verdict*)> decided)
      : binding_(std::move(binding)), pending_(std::move(plugins)), decided_(std::move(decided)) {}

  const PodInfo& pod() const override { return *binding_->queued.pod; }

  void allow(std::string_view plugin) override {
    {
      const std::lock_guard lock(mutex_);
      std::erase(pending_, plugin);
      if (!pending_.empty() || std::exchange(over_, true)) return;
    }
    decided_(*this, nullptr);
  }

  void reject(std::string_view plugin, std::string why) override {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(over_, true)) return;
    }
    const Verdict refusal = Verdict::unschedulable((plugin.empty() ? "" : std::string(plugin) + ": ") + why);
    decided_(*this, &refusal);
  }

  const std::shared_ptr<Binding>& binding() const { return binding_; }
  void set_timer(std::unique_ptr<Subscription> timer) { timer_ = std::move(timer); }

 private:
  const std::shared_ptr<Binding> binding_;
  std::mutex mutex_;
  std::vector<std::string> pending_;
  bool over_ = false;
  const std::function<void(Permission&, const Verdict*)> decided_;
  std::unique_ptr<Subscription> timer_;
};

void Scheduler::begin_binding(QueuedPod queued, Cycle cycle, std::string node) {
  auto binding = std::make_shared<Binding>(Binding{std::move(queued), std::move(cycle), std::move(node), context_.clock.now()});
  // The pod counts on its node from here on, so that the next pod is decided on with it in place.
  cache_.assume(*binding->queued.pod, binding->node);
  const CallContext ctx{stop_.get_token()};
  for (const ProfilePlugin& plugin : profile_->plugins()) {
    if (plugin.reserve == nullptr) continue;
    const Verdict verdict = plugin.reserve->reserve(ctx, binding->cycle, binding->node);
    if (!verdict.ok()) {
      abandon(*binding, &verdict, nullptr, &plugin);
      return;
    }
  }
  ask_permission(binding);
}

void Scheduler::ask_permission(const std::shared_ptr<Binding>& binding) {
  const CallContext ctx{stop_.get_token()};
  std::vector<std::string> holders;
  auto patience = std::chrono::milliseconds::max();
  for (const ProfilePlugin& plugin : profile_->plugins()) {
    if (plugin.permit == nullptr) continue;
    const scheduler::PermitResult result = plugin.permit->permit(ctx, binding->cycle, binding->node);
    if (result.verdict.kind() == Verdict::Kind::Wait) {
      holders.push_back(plugin.name);
      patience = std::min(patience, result.timeout);
    } else if (!result.verdict.ok()) {
      abandon(*binding, &result.verdict, nullptr, &plugin);
      return;
    }
  }
  const auto go_on = [this](const std::shared_ptr<Binding>& permitted) {
    run_later(context_.blocking, [this, permitted] { finish_binding(permitted); });
  };
  if (holders.empty()) {
    go_on(binding);
    return;
  }
  const auto permission = std::make_shared<Permission>(binding, holders, [this, go_on](Permission& held, const Verdict* refusal) {
    const auto decided = held.binding();
    std::shared_ptr<Permission> keep_alive;
    {
      const std::lock_guard lock(waiting_mutex_);
      const auto found = std::ranges::find_if(waiting_, [&](const auto& p) { return p.get() == &held; });
      if (found != waiting_.end()) {
        keep_alive = std::move(*found);
        waiting_.erase(found);
      }
    }
    if (refusal == nullptr) {
      go_on(decided);
    } else {
      abandon(*decided, refusal, nullptr, nullptr);
      pump();
    }
  });
  {
    const std::lock_guard lock(waiting_mutex_);
    waiting_.push_back(permission);
  }
  const std::weak_ptr<Permission> weak = permission;
  permission->set_timer(context_.clock.call_at(context_.clock.now() + patience, [this, weak] {
    run_later(context_.blocking, [weak] {
      if (const auto held = weak.lock()) held->reject("", "timed out waiting for permission");
    });
  }));
}

void Scheduler::finish_binding(const std::shared_ptr<Binding>& binding) {
  const CallContext ctx{stop_.get_token()};
  auto bound = bind(ctx, *binding);
  if (!bound || !bound->ok()) {
    abandon(*binding, bound ? &*bound : nullptr, bound ? nullptr : &bound.error(), nullptr);
    pump();
    return;
  }
  const PodInfo& pod = *binding->queued.pod;
  queue_->done(pod.uid());
  count_attempt("scheduled");
  context_.events.record(pod.object, "Normal", "Scheduled",
                         "Successfully assigned " + api::to_string(pod.key()) + " to " + binding->node);
  for (const ProfilePlugin& plugin : profile_->plugins()) {
    if (plugin.post_bind != nullptr) plugin.post_bind->post_bind(ctx, binding->cycle, binding->node);
  }
}

Result<Verdict> Scheduler::bind(const CallContext& ctx, Binding& binding) {
  for (const ProfilePlugin& plugin : profile_->plugins()) {
    if (plugin.pre_bind == nullptr) continue;
    KUBERNEL_TRY(Verdict verdict, catch_as_error("pre-bind", [&] { return plugin.pre_bind->pre_bind(ctx, binding.cycle, binding.node); }));
    if (!verdict.ok()) return verdict;
  }
  for (const ProfilePlugin& plugin : profile_->plugins()) {
    if (plugin.bind == nullptr) continue;
    auto verdict = catch_as_error("bind", [&] { return plugin.bind->bind(ctx, binding.cycle, binding.node); });
    if (!verdict) return std::move(verdict).error().wrap("scheduler plugin " + plugin.name);
    if (verdict->kind() != Verdict::Kind::Skip) return verdict;
  }
  return Error(Reason::Internal, "every bind plugin skipped the pod");
}

// Undoes what was reserved and puts the pod back. `refusal` or `error` says why.
void Scheduler::abandon(Binding& binding, const Verdict* refusal, const Error* error, const ProfilePlugin* plugin) {
  const CallContext ctx{stop_.get_token()};
  const auto& plugins = profile_->plugins();
  for (auto it = plugins.rbegin(); it != plugins.rend(); ++it) {
    if (it->reserve != nullptr) it->reserve->unreserve(ctx, binding.cycle, binding.node);
  }
  const PodInfo& pod = *binding.queued.pod;
  cache_.forget(pod.uid());
  // The room it held is free again for others.
  happened(scheduler::ClusterEvent::PodDeleted, &pod.object, nullptr);
  if (error != nullptr) {
    if (error->reason() == Reason::NotFound) {
      queue_->done(pod.uid());  // Deleted before it was bound.
    } else {
      failed(binding.queued, *error);
    }
    return;
  }
  std::string message;
  for (const std::string& reason : refusal->reasons()) message += (message.empty() ? "" : ", ") + reason;
  count_attempt("unschedulable");
  queue_->requeue_unschedulable(binding.queued, plugin == nullptr ? std::set<std::size_t>{} : std::set<std::size_t>{plugin->index});
  report(pod, "Unschedulable", message);
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
