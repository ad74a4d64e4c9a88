// SPDX-License-Identifier: Apache-2.0
//
// What the informers tell the scheduler, and which waiting pods that may help.
#include <algorithm>
#include <set>

#include "scheduler_framework.h"

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

const char* kind_of_change(const Object* before, const Object* after) {
  return before == nullptr ? "Add" : after == nullptr ? "Delete" : "Update";
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

// A node that says nothing of resources leaves it to the spec what a pod needs.
bool reports_resources(const Object& pod) {
  const Value status = pod["status"];
  if (status["resources"]) return true;
  for (const char* list : {"containerStatuses", "initContainerStatuses"}) {
    const Value containers = status[list];
    if (std::any_of(containers.begin(), containers.end(),
                    [](Value one) { return static_cast<bool>(one["resources"]); }))
      return true;
  }
  return false;
}

// Whether a running pod now needs less of something (KEP-1287 in-place resize).
bool released_resources(const Object& before, const Object& after) {
  if (before["spec"] == after["spec"] && !reports_resources(before)) return false;
  const scheduler::Resources was = scheduler::pod_requests(before["spec"], before["status"]);
  scheduler::Resources most = scheduler::pod_requests(after["spec"], after["status"]);
  const scheduler::Resources is = most;
  most.raise_to(was);
  return !(most == is);
}

}  // namespace

void Scheduler::listen() {
  listen_to_resources();
  subscriptions_.push_back(
      nodes_->add_handler({[this](const Object& node) { node_changed(nullptr, &node); },
                           [this](const Object& before, const Object& after) { node_changed(&before, &after); },
                           [this](const Object& node) { node_changed(&node, nullptr); }}));
  subscriptions_.push_back(
      pods_->add_handler({[this](const Object& pod) { pod_changed(nullptr, &pod); },
                          [this](const Object& before, const Object& after) { pod_changed(&before, &after); },
                          [this](const Object& pod) { pod_changed(&pod, nullptr); }}));
  informers_.on_synced([this] { pump(); });
}

// What plugins asked for with ResourceChanged.
void Scheduler::listen_to_resources() {
  std::set<api::Resource> resources;
  for (const auto& framework : frameworks_) {
    for (const auto& plugin : framework->profile().interests()) {
      for (const scheduler::EventInterest& interest : plugin) {
        if (interest.event == ClusterEvent::ResourceChanged) resources.insert(interest.resource);
      }
    }
  }
  tell_of_pods_ = resources.erase(api::resources::kPods) > 0;  // Their informer is there already.
  for (const api::Resource& resource : resources) {
    const auto informer = informers_.informer(resource, {});
    const auto tell = [this, resource](const Object* before, const Object* after) {
      happened(ClusterEvent::ResourceChanged, before, after, resource);
      pump();
    };
    subscriptions_.push_back(
        informer->add_handler({[tell](const Object& object) { tell(nullptr, &object); },
                               [tell](const Object& before, const Object& after) { tell(&before, &after); },
                               [tell](const Object& object) { tell(&object, nullptr); }}));
  }
}

void Scheduler::happened(ClusterEvent event, const Object* before, const Object* after, const api::Resource& resource) {
  static const Object kNone;
  queue_->on_event({event, before == nullptr ? kNone : *before, after == nullptr ? kNone : *after, resource, {}});
}

void Scheduler::pod_changed(const Object* before, const Object* after) {
  const Stopwatch watch(context_.clock);
  const Object& now = after == nullptr ? *before : *after;
  place_pod(before, after, now);
  if (tell_of_pods_) happened(ClusterEvent::ResourceChanged, before, after, api::resources::kPods);
  metrics_.handled((is_assigned(now) ? std::string("AssignedPod") : std::string("Pod")) + kind_of_change(before, after),
                   watch.elapsed());
  pump();
}

void Scheduler::place_pod(const Object* before, const Object* after, const Object& now) {
  if (after == nullptr || has_ended(*after)) {
    pod_gone(now);
  } else if (is_assigned(now)) {
    queue_->remove(now.uid());
    nominator_.remove(now.uid());
    cache_.set_pod(std::make_shared<const PodInfo>(now));
    const bool was_assigned = before != nullptr && is_assigned(*before);
    if (!was_assigned || !(before->labels() == now.labels())) happened(ClusterEvent::PodAssigned, before, after);
    if (was_assigned && released_resources(*before, now)) happened(ClusterEvent::PodDeleted, before, after);
  } else {
    pending_pod_changed(before, now);
  }
}

void Scheduler::pod_gone(const Object& pod) {
  const bool nominated = !nominator_.node_of(pod.uid()).empty();
  const bool held = cache_.knows(pod.uid());
  queue_->remove(pod.uid());
  nominator_.remove(pod.uid());
  // Whoever waits for permission gives up what it reserved.
  for_each_waiting([&](scheduler::WaitingPod& waiting) {
    if (waiting.pod().uid() == pod.uid()) waiting.reject("", "the pod was deleted");
  });
  cache_.remove_pod(pod.uid());
  if (held || nominated) happened(ClusterEvent::PodDeleted, &pod, nullptr);
}

void Scheduler::pending_pod_changed(const Object* before, const Object& pod) {
  if (pod.head().deleting) {
    queue_->remove(pod.uid());
    return;
  }
  const Framework* const mine = framework_of(pod);
  if (mine == nullptr) return;
  // A pod this scheduler has decided on comes back through its binding, not through the queue.
  if (cache_.knows(pod.uid())) return;
  const auto info = std::make_shared<const PodInfo>(pod);
  const std::string_view nominated = pod.pointer("/status/nominatedNodeName").string();
  if (!nominated.empty()) {
    nominator_.set(info, nominated);
  } else if (before != nullptr && !before->pointer("/status/nominatedNodeName").string().empty()) {
    nominator_.remove(pod.uid());
  }  // Otherwise what this process has decided counts, whose status write may be on its way.
  queue_->set(info, mine->index());
}

void Scheduler::node_changed(const Object* before, const Object* after) {
  const Stopwatch watch(context_.clock);
  if (after == nullptr) {
    cache_.remove_node(before->name());
    happened(ClusterEvent::NodeDeleted, before, nullptr);
  } else if (before == nullptr) {
    cache_.set_node(*after);
    happened(ClusterEvent::NodeAdded, nullptr, after);
  } else {
    node_updated(*before, *after);
  }
  metrics_.handled(std::string("Node") + kind_of_change(before, after), watch.elapsed());
  pump();
}

void Scheduler::node_updated(const Object& before, const Object& after) {
  const Value was = before.body();
  const Value is = after.body();
  const bool allocatable = !(was["status"]["allocatable"] == is["status"]["allocatable"]);
  const bool labels = !(before.labels() == after.labels());
  const bool taints = !(was["spec"] == is["spec"]);
  const bool conditions = !heartbeat_aside_equal(was["status"]["conditions"], is["status"]["conditions"]);
  const bool images = !(was["status"]["images"] == is["status"]["images"]);
  if (!allocatable && !labels && !taints && !conditions && !images) return;  // A heartbeat.
  cache_.set_node(after);
  if (allocatable) happened(ClusterEvent::NodeAllocatableChanged, &before, &after);
  if (labels) happened(ClusterEvent::NodeLabelsChanged, &before, &after);
  if (taints) happened(ClusterEvent::NodeTaintsChanged, &before, &after);
  if (conditions) happened(ClusterEvent::NodeConditionsChanged, &before, &after);
}

}  // namespace kubernel::plugins
