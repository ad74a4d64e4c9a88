// SPDX-License-Identifier: Apache-2.0
#include "job.h"

#include <utility>

#include <kubernel/controller/owners.h>
#include <kubernel/controller/pods.h>

#include "job_pass.h"

namespace kubernel::plugins::job {
namespace {

using api::LabelSelector;
using api::Object;
using api::ObjectKey;
using api::resources::kJobs;
using api::resources::kPods;
using controller::Next;

// Keys are jobs; one whose name begins with this character, which no name can, is a pod whose job is gone or over.
constexpr char kOrphan = ':';

class JobReconciler final : public controller::Reconciler {
 public:
  explicit JobReconciler(const controller::ControllerContext& context) : context_(context), memory_(context.clock) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    queue_ = &queue;
    jobs_ = informers.informer(kJobs, {});
    pods_ = informers.informer(kPods, {});
    on_jobs_ = jobs_->add_handler({.added = [this](const Object& job) { queue_->add(job.key()); },
                                   .updated = [this](const Object&, const Object& after) { job_updated(after); },
                                   .deleted = [this](const Object& job) { job_gone(job); }});
    on_pods_ = pods_->add_handler(
        {.added = [this](const Object& pod) { pod_added(pod); },
         .updated = [this](const Object& before, const Object& after) { pod_updated(before, after); },
         .deleted =
             [this](const Object& pod) {
               memory_.release_seen(pod.uid());
               pod_going(pod);
             }});
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    if (key.name.starts_with(kOrphan)) return release_orphan(ctx, {key.ns, key.name.substr(1)});
    const auto found = jobs_->find(key);
    if (!found) {
      memory_.gone(key);
      return Next::done();
    }
    const Object& job = *found;
    // The cache has not shown our last write yet; when it does, that brings us back.
    if (!ours(job) || memory_.stale(job)) return Next::done();
    if (finished(job)) {
      memory_.forget(key);
      return Next::done();
    }
    if (const std::string field = unsupported(job); !field.empty()) {
      context_.events.record(job, "Warning", "NotSupported", "Job is not started: spec." + field + " is not supported");
      return Next::done();
    }
    const bool caught_up = memory_.expectations.satisfied(key);
    const auto selector = LabelSelector::from_api(job.pointer("/spec/selector"));
    if (!selector) return selector.error();
    KUBERNEL_TRY(auto pods,
                 controller::claim(ctx, context_.api, kJobs, job, kPods, *selector, pods_->list(job.ns(), {})));
    return JobPass(ctx, context_, memory_, job, std::move(pods), caught_up).run();
  }

 private:
  static bool ours(const Object& job) {
    return job.pointer("/spec/managedBy").string("kubernetes.io/job-controller") == "kubernetes.io/job-controller";
  }

  // Nobody counts such a pod any more; its finalizer would keep it for ever.
  Result<Next> release_orphan(const CallContext& ctx, const ObjectKey& key) {
    const auto pod = pods_->find(key);
    if (!pod || !tracked(*pod)) return Next::done();
    if (const auto job = owner(*pod); job && !finished(*job)) return Next::done();
    // The cache may not have shown the job yet.
    if (const auto reference = controller::controller_of(*pod); reference && reference["kind"].string() == "Job") {
      const auto live = context_.api.get(ctx, kJobs, {key.ns, std::string(reference["name"].string())}, {});
      if (!live && live.error().reason() != Reason::NotFound) return live.error();
      if (live && live->uid() == reference["uid"].string() && !finished(*live)) return Next::done();
    }
    KUBERNEL_CHECK_OK(release(ctx, context_.api, *pod));
    return Next::done();
  }

  std::optional<Object> owner(const Object& pod) const { return controller::resolve_controller(*jobs_, "Job", pod); }

  void add_orphan(const Object& pod) {
    if (tracked(pod)) queue_->add({pod.ns(), kOrphan + pod.name()});
  }

  void job_updated(const Object& job) {
    queue_->add(job.key());
    if (finished(job)) add_orphans(job);
  }

  void job_gone(const Object& job) {
    memory_.gone(job.key());
    queue_->add(job.key());
    add_orphans(job);
  }

  void add_orphans(const Object& job) {
    for (const Object& pod : pods_->owned_by(job.uid())) add_orphan(pod);
  }

  void pod_added(const Object& pod) {
    if (pod.head().deleting) return pod_going(pod);
    if (controller::controller_of(pod)) {
      const auto job = owner(pod);
      if (!job) return add_orphan(pod);
      memory_.expectations.creation_observed(job->key());
      queue_->add(job->key());
      if (finished(*job)) add_orphan(pod);
      return;
    }
    add_orphan(pod);
    add_matching(pod);
  }

  void pod_updated(const Object& before, const Object& after) {
    if (!tracked(after)) memory_.release_seen(after.uid());
    if (after.head().deleting) return pod_going(after);
    if (before.head().controller_uid != after.head().controller_uid) {
      if (const auto job = owner(before)) queue_->add(job->key());
    }
    if (const auto job = owner(after)) {
      queue_->add(job->key());
      return;
    }
    add_orphan(after);
    if (!controller::controller_of(after) && before.labels() != after.labels()) add_matching(after);
  }

  void pod_going(const Object& pod) {
    const auto job = owner(pod);
    if (!job || finished(*job)) return add_orphan(pod);
    memory_.expectations.deletion_observed(job->key(), pod.key());
    queue_->add(job->key());
  }

  void add_matching(const Object& pod) {
    for (const ObjectKey& key : controller::possible_adopters(*jobs_, pod)) queue_->add(key);
  }

  const controller::ControllerContext context_;
  Memory memory_;
  controller::KeyQueue* queue_ = nullptr;
  std::shared_ptr<client::Informer> jobs_;
  std::shared_ptr<client::Informer> pods_;
  std::unique_ptr<Subscription> on_jobs_;
  std::unique_ptr<Subscription> on_pods_;
};

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  return std::make_unique<JobReconciler>(context);
}

}  // namespace kubernel::plugins::job
