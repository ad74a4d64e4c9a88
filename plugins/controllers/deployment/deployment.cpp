// SPDX-License-Identifier: Apache-2.0
#include "deployment.h"

#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/controller/owners.h>

#include "rollout.h"

namespace kubernel::plugins::deployment {
namespace {

using api::LabelSelector;
using api::Object;
using api::ObjectKey;
using api::resources::kDeployments;
using api::resources::kPods;
using api::resources::kReplicaSets;
using controller::Next;
using nlohmann::json;

class DeploymentReconciler final : public controller::Reconciler {
 public:
  explicit DeploymentReconciler(const controller::ControllerContext& context) : context_(context) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    queue_ = &queue;
    deployments_ = informers.informer(kDeployments, {});
    sets_ = informers.informer(kReplicaSets, {});
    pods_ = informers.informer(kPods, {});
    const auto add = [this](const Object& deployment) { queue_->add(deployment.key()); };
    on_deployments_ = deployments_->add_handler(
        {.added = add, .updated = [add](const Object&, const Object& after) { add(after); }, .deleted = add});
    on_sets_ = sets_->add_handler(
        {.added = [this](const Object& set) { set_seen(set); },
         .updated = [this](const Object& before, const Object& after) { set_updated(before, after); },
         .deleted = [this](const Object& set) { add_owner(set); }});
    on_pods_ = pods_->add_handler({.deleted = [this](const Object& pod) { pod_deleted(pod); }});
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    const auto found = deployments_->find(key);
    if (!found) return Next::done();  // Its sets are garbage collected.
    const Object& deployment = *found;
    const auto selector = LabelSelector::from_api(deployment.pointer("/spec/selector"));
    if (!selector || selector->matches_everything()) return refuse_selector(ctx, deployment);
    KUBERNEL_TRY(auto sets, controller::claim(ctx, context_.api, kDeployments, deployment, kReplicaSets, *selector,
                                              sets_->list(deployment.ns(), {})));
    Rollout rollout(ctx, context_, deployment, std::move(sets),
                    [this](const Object& set) { return pods_->owned_by(set.uid()); });
    return rollout.run();
  }

 private:
  Result<Next> refuse_selector(const CallContext& ctx, const Object& deployment) {
    context_.events.record(deployment, "Warning", "SelectingAll",
                           "This deployment is selecting all pods. A non-empty selector is required.");
    if (deployment.pointer("/status/observedGeneration").integer() < deployment.head().generation) {
      json document = deployment.to_json();
      document["status"]["observedGeneration"] = deployment.head().generation;
      KUBERNEL_CHECK_OK(context_.api.update(ctx, kDeployments, deployment.key(), document, {.subresource = "status"}));
    }
    return Next::done();
  }

  void add_owner(const Object& set) {
    if (const auto owner = controller::resolve_controller(*deployments_, "Deployment", set)) queue_->add(owner->key());
  }

  void set_seen(const Object& set) {
    if (set.head().deleting || controller::controller_of(set)) return add_owner(set);
    add_matching(set);
  }

  void set_updated(const Object& before, const Object& after) {
    const bool owner_changed = before.head().controller_uid != after.head().controller_uid;
    if (owner_changed) add_owner(before);
    if (controller::controller_of(after)) return add_owner(after);
    if (owner_changed || before.labels() != after.labels()) add_matching(after);
  }

  // An orphan: whoever selects it may adopt it.
  void add_matching(const Object& set) {
    for (const ObjectKey& key : controller::possible_adopters(*deployments_, set)) queue_->add(key);
  }

  // Recreate waits for the last old pod.
  void pod_deleted(const Object& pod) {
    const auto set = controller::resolve_controller(*sets_, "ReplicaSet", pod);
    if (!set) return;
    const auto deployment = controller::resolve_controller(*deployments_, "Deployment", *set);
    if (deployment && !rolling(*deployment)) queue_->add(deployment->key());
  }

  const controller::ControllerContext context_;
  controller::KeyQueue* queue_ = nullptr;
  std::shared_ptr<client::Informer> deployments_;
  std::shared_ptr<client::Informer> sets_;
  std::shared_ptr<client::Informer> pods_;
  std::unique_ptr<Subscription> on_deployments_;
  std::unique_ptr<Subscription> on_sets_;
  std::unique_ptr<Subscription> on_pods_;
};

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  return std::make_unique<DeploymentReconciler>(context);
}

}  // namespace kubernel::plugins::deployment
