// SPDX-License-Identifier: Apache-2.0
//
// What the informers tell the scheduler, and which waiting pods that may help.
#include "scheduler.h"

namespace kubernel::plugins {

using api::Object;
using api::Value;
using scheduler::ClusterEvent;
using scheduler::PodInfo;

namespace {

bool is_assigned(const Object& pod) {
  return !pod.pointer("/spec/nodeName").string().empty();
}

bool has_ended(const Object& pod) {
  const auto phase = pod.pointer("/status/phase").string();
  return phase == "Succeeded" || phase == "Failed";
}

bool heartbeat_aside_equal(Value before, Value after) {
  if (before.size() != after.size()) return false;
  for (std::size_t i = 0; i < before.size(); ++i) {
    for (const char* member : {"type", "status", "reason"}) {
      if (before.at(i)[member].string() != after.at(i)[member].string()) return false;
    }
  }
  return true;
}

}  // namespace

void Scheduler::happened(ClusterEvent event, const Object* before, const Object* after) {
  static const Object kNone;
  queue_->on_event(event, before == nullptr ? kNone : *before, after == nullptr ? kNone : *after);
}

void Scheduler::pod_changed(const Object* before, const Object* after) {
  const Object& now = after == nullptr ? *before : *after;
  const bool gone = after == nullptr || has_ended(*after);
  if (gone) {
    const bool held = cache_.knows(now.uid());
    queue_->remove(now.uid());
    cache_.remove_pod(now.uid());
    if (held) happened(ClusterEvent::PodDeleted, &now, nullptr);
  } else if (is_assigned(now)) {
    queue_->remove(now.uid());
    cache_.set_pod(std::make_shared<const PodInfo>(now));
    const bool labels_changed = before != nullptr && !(before->labels() == now.labels());
    if (before == nullptr || !is_assigned(*before) || labels_changed) happened(ClusterEvent::PodAssigned, before, after);
  } else if (now.head().deleting) {
    queue_->remove(now.uid());
  } else if (now.pointer("/spec/schedulerName").string("default-scheduler") == options_.scheduler_name) {
    // A pod this scheduler has decided on comes back through its binding, not through the queue.
    if (!cache_.knows(now.uid())) queue_->set(std::make_shared<const PodInfo>(now));
  }
  pump();
}

void Scheduler::node_changed(const Object* before, const Object* after) {
  if (after == nullptr) {
    cache_.remove_node(before->name());
    return;
  }
  if (before == nullptr) {
    cache_.set_node(*after);
    happened(ClusterEvent::NodeAdded, nullptr, after);
    pump();
    return;
  }
  const Value was = before->body();
  const Value is = after->body();
  const bool allocatable = !(was["status"]["allocatable"] == is["status"]["allocatable"]);
  const bool labels = !(before->labels() == after->labels());
  const bool taints = !(was["spec"] == is["spec"]);
  const bool conditions = !heartbeat_aside_equal(was["status"]["conditions"], is["status"]["conditions"]);
  const bool images = !(was["status"]["images"] == is["status"]["images"]);
  if (!allocatable && !labels && !taints && !conditions && !images) return;  // A heartbeat.
  cache_.set_node(*after);
  if (allocatable) happened(ClusterEvent::NodeAllocatableChanged, before, after);
  if (labels) happened(ClusterEvent::NodeLabelsChanged, before, after);
  if (taints) happened(ClusterEvent::NodeTaintsChanged, before, after);
  if (conditions) happened(ClusterEvent::NodeConditionsChanged, before, after);
  pump();
}

}  // namespace kubernel::plugins
