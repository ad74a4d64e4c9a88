// SPDX-License-Identifier: Apache-2.0
#include "replicaset.h"

#include <algorithm>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>
#include <kubernel/controller/conditions.h>
#include <kubernel/controller/expectations.h>
#include <kubernel/controller/owners.h>
#include <kubernel/controller/pods.h>

namespace kubernel::plugins::replicaset {
namespace {

using api::LabelSelector;
using api::Object;
using api::ObjectKey;
using api::resources::kPods;
using api::resources::kReplicaSets;
using controller::Next;
using nlohmann::json;
using std::chrono::seconds;

constexpr int kBurst = 500;  // Pods created or deleted in one go.

std::int64_t wanted(const Object& set) {
  return set.pointer("/spec/replicas").integer(1);
}
seconds min_ready(const Object& set) {
  return seconds(set.pointer("/spec/minReadySeconds").integer());
}

class ReplicaSetReconciler final : public controller::Reconciler {
 public:
  explicit ReplicaSetReconciler(const controller::ControllerContext& context)
      : context_(context), expectations_(context.clock) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    queue_ = &queue;
    sets_ = informers.informer(kReplicaSets, {});
    pods_ = informers.informer(kPods, {});
    on_sets_ = sets_->add_handler(
        {.added = [this](const Object& set) { queue_->add(set.key()); },
         .updated = [this](const Object& before, const Object& after) { set_updated(before, after); },
         .deleted =
             [this](const Object& set) {
               expectations_.forget(set.key());
               queue_->add(set.key());
             }});
    on_pods_ = pods_->add_handler(
        {.added = [this](const Object& pod) { pod_added(pod); },
         .updated = [this](const Object& before, const Object& after) { pod_updated(before, after); },
         .deleted = [this](const Object& pod) { pod_going(pod); }});
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    const auto found = sets_->find(key);
    if (!found) {
      expectations_.forget(key);
      return Next::done();
    }
    const Object& set = *found;
    // Looked at before the pods are listed: what arrives in between makes another round.
    const bool caught_up = expectations_.satisfied(key);
    const auto selector = LabelSelector::from_api(set.pointer("/spec/selector"));
    if (!selector) {
      log_error(context_.log, "replica set has an unusable selector",
                {{"key", to_string(key)}, {"error", selector.error()}});
      return Next::done();
    }
    KUBERNEL_TRY(const auto pods, claimed_pods(ctx, set, *selector));
    Managed managed{};
    if (caught_up && !set.head().deleting) managed = manage(ctx, set, pods.active);
    KUBERNEL_CHECK_OK(write_status(ctx, set, status_of(set, pods, managed)));
    if (managed.error) return *managed.error;
    return when_available(set, pods.active);
  }

 private:
  struct Pods {
    std::vector<Object> active;
    std::int64_t terminating = 0;
  };
  struct Managed {
    std::optional<Error> error;
    bool creating = false;  // What the error hit.
  };

  Result<Pods> claimed_pods(const CallContext& ctx, const Object& set, const LabelSelector& selector) {
    std::vector<Object> candidates;
    for (const Object& pod : pods_->list(set.ns(), {})) {
      if (!controller::pod_terminal(pod)) candidates.push_back(pod);
    }
    KUBERNEL_TRY(auto claimed, controller::claim(ctx, context_.api, kReplicaSets, set, kPods, selector, candidates));
    Pods out;
    for (Object& pod : claimed) {
      if (pod.head().deleting) {
        ++out.terminating;
      } else {
        out.active.push_back(std::move(pod));
      }
    }
    return out;
  }

  Managed manage(const CallContext& ctx, const Object& set, const std::vector<Object>& active) {
    const auto surplus = static_cast<std::int64_t>(active.size()) - wanted(set);
    if (surplus < 0) return {create(ctx, set, static_cast<int>(std::min<std::int64_t>(-surplus, kBurst))), true};
    if (surplus > 0)
      return {remove(ctx, set, active, static_cast<int>(std::min<std::int64_t>(surplus, kBurst))), false};
    return {};
  }

  std::optional<Error> create(const CallContext& ctx, const Object& set, int count) {
    expectations_.expect_creations(set.key(), count);
    const json pod = controller::pod_from_template(set.pointer("/spec/template").to_json(), set);
    const auto outcome = controller::slow_start(count, [&](int) -> Result<void> {
      if (ctx.stopping()) return Error(Reason::Cancelled, "stopping");
      const auto created = controller::create_pod(ctx, context_.api, context_.events, set, pod);
      // The namespace is going, and the set with it: nothing to try again.
      if (!created && !controller::namespace_terminating(created.error())) return created.error();
      if (!created) expectations_.creation_observed(set.key());
      return {};
    });
    // Neither those that failed nor those that were not tried will appear.
    for (int i = outcome.succeeded; i < count; ++i) expectations_.creation_observed(set.key());
    return outcome.error;
  }

  std::optional<Error> remove(const CallContext& ctx, const Object& set, const std::vector<Object>& active, int count) {
    std::vector<controller::RankedPod> ranked = rank(set, active);
    const auto now = context_.clock.wall_now();
    std::ranges::sort(ranked, [&](const auto& a, const auto& b) { return controller::deleted_before(a, b, now); });
    ranked.resize(static_cast<std::size_t>(count));
    std::vector<ObjectKey> keys;
    for (const auto& entry : ranked) keys.push_back(entry.pod.key());
    expectations_.expect_deletions(set.key(), keys);
    std::optional<Error> first;
    for (const auto& entry : ranked) {
      const auto removed = controller::delete_pod(ctx, context_.api, context_.events, set, entry.pod);
      if (removed) continue;
      expectations_.deletion_observed(set.key(), entry.pod.key());
      if (!first) first = removed.error();
    }
    return first;
  }

  // A pod is the rather dispensable the more pods of the same Deployment (all its sets) its node has.
  std::vector<controller::RankedPod> rank(const Object& set, const std::vector<Object>& active) {
    std::map<std::string, int, std::less<>> per_node;
    for (const Object& related : related_sets(set)) {
      for (const Object& pod : pods_->owned_by(related.uid())) {
        if (controller::pod_active(pod)) ++per_node[std::string(pod.pointer("/spec/nodeName").string())];
      }
    }
    std::vector<controller::RankedPod> out;
    for (const Object& pod : active) {
      const auto found = per_node.find(pod.pointer("/spec/nodeName").string());
      out.push_back({pod, found == per_node.end() ? 0 : found->second});
    }
    return out;
  }

  std::vector<Object> related_sets(const Object& set) {
    const std::string& controller = set.head().controller_uid;
    return controller.empty() ? std::vector<Object>{set} : sets_->owned_by(controller);
  }

  json status_of(const Object& set, const Pods& pods, const Managed& managed) {
    const auto now = context_.clock.wall_now();
    const auto template_labels = LabelSelector::from_map(set.pointer("/spec/template/metadata/labels"));
    std::int64_t labeled = 0, ready = 0, available = 0;
    for (const Object& pod : pods.active) {
      labeled += template_labels.matches(pod.labels()) ? 1 : 0;
      ready += controller::pod_ready(pod) ? 1 : 0;
      available += controller::pod_available(pod, min_ready(set), now) ? 1 : 0;
    }
    json status = {{"replicas", pods.active.size()}, {"observedGeneration", set.head().generation}};
    // Absent when zero, as Go's omitempty leaves them; terminatingReplicas is a pointer there and always written.
    if (labeled > 0) status["fullyLabeledReplicas"] = labeled;
    if (ready > 0) status["readyReplicas"] = ready;
    if (available > 0) status["availableReplicas"] = available;
    status["terminatingReplicas"] = pods.terminating;
    json conditions =
        set.pointer("/status/conditions").is_array() ? set.pointer("/status/conditions").to_json() : json::array();
    if (!managed.error) {
      controller::remove_condition(conditions, "ReplicaFailure");
    } else if (controller::find_condition(conditions, "ReplicaFailure") == nullptr) {
      controller::set_condition(conditions, {{"type", "ReplicaFailure"},
                                             {"status", "True"},
                                             {"reason", managed.creating ? "FailedCreate" : "FailedDelete"},
                                             {"message", managed.error->message()},
                                             {"lastTransitionTime", api::format_time(now)}});
    }
    if (!conditions.empty()) status["conditions"] = std::move(conditions);
    return status;
  }

  Result<void> write_status(const CallContext& ctx, const Object& set, const json& status) {
    if (set["status"].to_json() == status) return {};
    json document = set.to_json();
    document["status"] = status;
    const auto written = context_.api.update(ctx, kReplicaSets, set.key(), document, {.subresource = "status"});
    if (!written && written.error().reason() != Reason::NotFound) return written.error();
    return {};
  }

  // Readiness has no event when minReadySeconds have passed: a look in time instead.
  Next when_available(const Object& set, const std::vector<Object>& active) {
    std::optional<seconds> soonest;
    for (const Object& pod : active) {
      const auto in = controller::pod_available_in(pod, min_ready(set), context_.clock.wall_now());
      if (in && (!soonest || *in < *soonest)) soonest = in;
    }
    return soonest ? Next::after(std::max(*soonest, seconds(1))) : Next::done();
  }

  void set_updated(const Object& before, const Object& after) {
    if (before.uid() != after.uid()) expectations_.forget(before.key());
    queue_->add(after.key());
  }

  void pod_added(const Object& pod) {
    if (pod.head().deleting) return pod_going(pod);  // After a restart of ours a pod may first be seen on its way out.
    if (controller::controller_of(pod)) {
      if (const auto set = owner(pod)) {
        expectations_.creation_observed(set->key());
        queue_->add(set->key());
      }
      return;
    }
    add_matching(pod);
  }

  void pod_updated(const Object& before, const Object& after) {
    const bool labels_changed = before.labels() != after.labels();
    if (after.head().deleting) {
      // A pod that goes gracefully is replaced now, not when it is gone.
      pod_going(after);
      if (labels_changed) pod_going(before);
      return;
    }
    const bool owner_changed = before.head().controller_uid != after.head().controller_uid;
    if (owner_changed) {
      if (const auto set = owner(before)) queue_->add(set->key());
    }
    if (controller::controller_of(after)) {
      if (const auto set = owner(after)) queue_->add(set->key());
      return;
    }
    if (labels_changed || owner_changed) add_matching(after);
  }

  void pod_going(const Object& pod) {
    const auto set = owner(pod);
    if (!set) return;
    expectations_.deletion_observed(set->key(), pod.key());
    queue_->add(set->key());
  }

  std::optional<Object> owner(const Object& pod) const {
    return controller::resolve_controller(*sets_, "ReplicaSet", pod);
  }

  // An orphan: whoever selects it may adopt it.
  void add_matching(const Object& pod) {
    for (const ObjectKey& key : controller::possible_adopters(*sets_, pod)) queue_->add(key);
  }

  const controller::ControllerContext context_;
  controller::Expectations expectations_;
  controller::KeyQueue* queue_ = nullptr;
  std::shared_ptr<client::Informer> sets_;
  std::shared_ptr<client::Informer> pods_;
  std::unique_ptr<Subscription> on_sets_;
  std::unique_ptr<Subscription> on_pods_;
};

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  return std::make_unique<ReplicaSetReconciler>(context);
}

}  // namespace kubernel::plugins::replicaset
