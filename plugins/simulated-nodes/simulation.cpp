// SPDX-License-Identifier: Apache-2.0
#include "simulation.h"

#include <kubernel/api/time.h>

#include "pod_life.h"

namespace kubernel::plugins {

using api::Object;
using api::ObjectKey;
using api::Value;
using controller::Next;
using nlohmann::json;

namespace {

constexpr const char* kLeaseNamespace = "kube-node-lease";
constexpr const char* kByNode = "simulated-nodes/node";

bool is_ready(const Object& node) {
  for (const Value condition : node.pointer("/status/conditions")) {
    if (condition["type"].string() == "Ready") return condition["status"].string() == "True";
  }
  return false;
}

std::string node_of(const Object& pod) {
  return std::string(pod.pointer("/spec/nodeName").string());
}

}  // namespace

Simulation::Simulation(SimulationSettings settings, client::ApiClient& api, Clock& clock)
    : settings_(std::move(settings)), api_(api), clock_(clock) {
  for (const NodeTemplate& t : settings_.templates) {
    for (std::size_t i = 0; i < t.count; ++i) planned_.try_emplace(t.name_of(i), &t, i);
  }
}

Result<void> Simulation::watch(client::InformerFactory& informers, controller::KeyQueue& queue) {
  queue_ = &queue;
  nodes_ = informers.informer(api::resources::kNodes, {.label_selector = std::string(kSimulatedLabel) + "=true"});
  pods_ = informers.informer(api::resources::kPods, {.field_selector = "spec.nodeName!="});
  informers_ = {nodes_, pods_};
  pods_->add_index(kByNode, [](const Object& pod) -> std::vector<std::string> { return {node_of(pod)}; });
  subscriptions_.push_back(nodes_->add_handler({[this](const Object& node) {
                                                  queue_->add(node.key());
                                                  for (const Object& pod : pods_->by_index(kByNode, node.name()))
                                                    pod_changed(nullptr, pod);
                                                },
                                                [this](const Object& before, const Object& after) {
                                                  if (is_ready(before) && !is_ready(after)) queue_->add(after.key());
                                                },
                                                {}}));
  subscriptions_.push_back(
      pods_->add_handler({[this](const Object& pod) { pod_changed(nullptr, pod); },
                          [this](const Object& before, const Object& after) { pod_changed(&before, after); },
                          {}}));
  return {};
}

void Simulation::make_nodes() {
  for (const NodeTemplate& t : settings_.templates) {
    for (std::size_t i = 0; i < t.count; ++i) queue_->add({{}, t.name_of(i)});
  }
}

std::size_t Simulation::missing_nodes() const {
  const std::lock_guard lock(mutex_);
  return planned_.size() - created_.size();
}

Result<Next> Simulation::reconcile(const CallContext& ctx, const ObjectKey& key) {
  return key.ns.empty() ? reconcile_node(ctx, key.name) : reconcile_pod(ctx, key);
}

// Each step of a pod's life is queued by the event that leads to it, with the time it takes.
void Simulation::pod_changed(const Object* before, const Object& after) {
  if (!nodes_->find({{}, node_of(after)})) return;
  const PodStage stage = stage_of(after);
  if (after.head().deleting) {
    if (before == nullptr || !before->head().deleting) queue_->add_after(after.key(), settings_.stop_delay);
  } else if (stage == PodStage::Pending) {
    if (before == nullptr || node_of(*before).empty()) queue_->add_after(after.key(), settings_.start_delay);
  } else if (stage == PodStage::Running && runs_to_completion(after)) {
    if (before == nullptr || stage_of(*before) != PodStage::Running)
      queue_->add_after(after.key(), settings_.job_duration);
  }
}

Result<Next> Simulation::reconcile_node(const CallContext& ctx, const std::string& name) {
  const auto node = nodes_->find({{}, name});
  if (!node) {
    KUBERNEL_CHECK_OK(create_node(ctx, name));
    return Next::done();  // It comes back through the informer, if it exists.
  }
  {
    const std::lock_guard lock(mutex_);
    if (planned_.contains(name)) created_.insert(name);
  }
  KUBERNEL_CHECK_OK(keep_ready(ctx, *node));
  KUBERNEL_CHECK_OK(renew_lease(ctx, *node));
  // Nodes that were made together drift apart, so that their leases are not all written at once.
  const auto period = std::chrono::milliseconds(settings_.lease_duration) / 4;
  const auto share = static_cast<std::int64_t>(std::hash<std::string>()(name) % 16);
  return Next::after(period - period * share / 64);
}

Result<void> Simulation::create_node(const CallContext& ctx, const std::string& name) {
  const auto planned = planned_.find(name);
  if (planned == planned_.end()) return {};
  {
    const std::lock_guard lock(mutex_);
    if (created_.contains(name)) return {};
  }
  const auto& [node_template, index] = planned->second;
  const auto made = api_.create(ctx, api::resources::kNodes, {}, node_template->node(index, clock_.wall_now()), {});
  if (!made && made.error().reason() != Reason::AlreadyExists) return made.error();
  const std::lock_guard lock(mutex_);
  created_.insert(name);
  return {};
}

Result<void> Simulation::keep_ready(const CallContext& ctx, const Object& node) {
  if (is_ready(node)) return {};
  json document = node.to_json();
  const auto planned = planned_.find(node.name());
  const json given = document.value("/status/capacity"_json_pointer, json::object());
  const json capacity = planned != planned_.end() ? planned->second.first->capacity : given;
  document["status"].update(healthy_status(capacity, node.name(), clock_.wall_now()));
  const auto written = api_.update(ctx, api::resources::kNodes, node.key(), document, {.subresource = "status"});
  if (!written && written.error().reason() != Reason::NotFound) return written.error();
  return {};
}

Result<void> Simulation::renew_lease(const CallContext& ctx, const Object& node) {
  const std::string now = api::format_micro_time(clock_.wall_now());
  json renewal = json::object();
  renewal["spec"]["renewTime"] = now;
  const ObjectKey key{kLeaseNamespace, node.name()};
  auto renewed = api_.patch(ctx, api::resources::kLeases, key, client::PatchType::Merge, renewal, {});
  if (renewed || renewed.error().reason() != Reason::NotFound) return renewed ? Result<void>() : renewed.error();
  json owner = {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node.name()}, {"uid", node.uid()}};
  const json lease = {
      {"metadata",
       {{"name", node.name()}, {"namespace", kLeaseNamespace}, {"ownerReferences", json::array({std::move(owner)})}}},
      {"spec",
       {{"holderIdentity", node.name()},
        {"leaseDurationSeconds", settings_.lease_duration.count()},
        {"renewTime", now}}}};
  const auto made = api_.create(ctx, api::resources::kLeases, {kLeaseNamespace, {}}, lease, {});
  if (!made && made.error().reason() != Reason::AlreadyExists) return made.error();
  return {};
}

Result<Next> Simulation::reconcile_pod(const CallContext& ctx, const ObjectKey& key) {
  const auto pod = pods_->find(key);
  if (!pod) return Next::done();
  if (pod->head().deleting) {
    const auto removed =
        api_.remove(ctx, api::resources::kPods, key, {.grace_period_seconds = 0, .precondition_uid = pod->uid()});
    const bool gone =
        removed || removed.error().reason() == Reason::NotFound || removed.error().reason() == Reason::Conflict;
    if (!gone) return removed.error();
    return Next::done();
  }
  const PodStage stage = stage_of(*pod);
  const bool completes = stage == PodStage::Running && runs_to_completion(*pod);
  if (stage == PodStage::Pending || completes) KUBERNEL_CHECK_OK(write_pod(ctx, *pod, completes));
  return Next::done();
}

Result<void> Simulation::write_pod(const CallContext& ctx, const Object& pod, bool completed) {
  const json document =
      with_stage(pod, completed ? PodStage::Completed : PodStage::Running, next_ip(), clock_.wall_now());
  const auto written = api_.update(ctx, api::resources::kPods, pod.key(), document, {.subresource = "status"});
  if (written || written.error().reason() == Reason::NotFound) return {};
  return written.error();  // A conflict is retried with the version the informer has by then.
}

std::string Simulation::next_ip() {
  const std::uint32_t n = next_ip_.fetch_add(1, std::memory_order_relaxed);
  return "10." + std::to_string(128 + (n >> 16) % 64) + "." + std::to_string((n >> 8) & 255) + "." +
         std::to_string(n & 255);
}

}  // namespace kubernel::plugins
