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

// By what they say, not when they said it or why.
bool conditions_equal(Value before, Value after) {
  if (before.size() != after.size()) return false;
  return std::all_of(after.begin(), after.end(), [&](Value condition) {
    const auto same = std::find_if(before.begin(), before.end(),
                                   [&](Value one) { return one["type"].string() == condition["type"].string(); });
    return same != before.end() && (*same)["status"].string() == condition["status"].string();
  });
}

bool opened(Value spec_before, Value spec_after) {
  return spec_before["unschedulable"].boolean() && !spec_after["unschedulable"].boolean();
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
    const auto tell = [this, resource, labels = labels_of(resource)](const Object* before, const Object* after) {
      const Stopwatch watch(context_.clock);
      const std::string_view label = labels.of(before, after);
      happened(ClusterEvent::ResourceChanged, before, after, resource, label);
      metrics_.handled(label, watch.elapsed());
      pump();
    };
    subscriptions_.push_back(
        informer->add_handler({[tell](const Object& object) { tell(nullptr, &object); },
                               [tell](const Object& before, const Object& after) { tell(&before, &after); },
                               [tell](const Object& object) { tell(&object, nullptr); }}));
  }
}

void Scheduler::happened(ClusterEvent event, const Object* before, const Object* after, const api::Resource& resource,
                         std::string_view label) {
  static const Object kNone;
  queue_->on_event(
      {event, before == nullptr ? kNone : *before, after == nullptr ? kNone : *after, resource, {}, label});
}

void Scheduler::pod_changed(const Object* before, const Object* after) {
  const Stopwatch watch(context_.clock);
  // The informer keeps none that has ended.
  const Object* const is = after == nullptr || has_ended(*after) ? nullptr : after;
  const bool stays = is != nullptr && before != nullptr && is_assigned(*before) == is_assigned(*is);
  const PodChanges changes = stays ? PodChanges::between(*before, *is) : PodChanges();
  if (is == nullptr) {
    pod_gone(after == nullptr ? *before : *after);
  } else {
    place_pod(before, *is, changes);
  }
  if (tell_of_pods_) {
    static constexpr ResourceLabels kAssigned = {"AssignedPodAdd", "AssignedPodUpdate", "AssignedPodDelete"};
    static constexpr ResourceLabels kWaiting = {"UnschedulablePodAdd", "UnschedulablePodUpdate",
                                                "UnschedulablePodDelete"};
    const bool assigned = is_assigned(after == nullptr ? *before : *after);
    happened(ClusterEvent::ResourceChanged, before, after, api::resources::kPods,
             (assigned ? kAssigned : kWaiting).of(before, after));
  }
  count_pod_event(before, is, changes, watch.elapsed());
  pump();
}

// As upstream does: pods without a node are counted when they are this scheduler's; an update counts under each
// property that changed, too.
void Scheduler::count_pod_event(const Object* before, const Object* after, const PodChanges& changes,
                                std::chrono::nanoseconds took) {
  const auto count = [&](std::string_view label) { metrics_.handled(label, took); };
  const bool was_assigned = before != nullptr && is_assigned(*before);
  const bool was_waiting = before != nullptr && !was_assigned && framework_of(*before) != nullptr;
  if (after == nullptr) {
    if (was_assigned) count("AssignedPodDelete");
    if (was_waiting) count("UnschedulablePodDelete");
  } else if (was_assigned) {
    count("AssignedPodUpdate");
    std::ranges::for_each(changes.event_labels(true), count);
  } else if (is_assigned(*after)) {
    count("AssignedPodAdd");
    if (was_waiting) count("UnschedulablePodDelete");
  } else if (was_waiting) {
    count("UnschedulablePodUpdate");
    for (const std::string_view label : changes.event_labels(false)) {
      if (label != "UnschedulablePodUpdate") count(label);
    }
  } else if (framework_of(*after) != nullptr) {
    count("UnschedulablePodAdd");
  }
}

void Scheduler::place_pod(const Object* before, const Object& pod, const PodChanges& changes) {
  if (!is_assigned(pod)) {
    pending_pod_changed(before, pod);
    return;
  }
  queue_->remove(pod.uid());
  nominator_.remove(pod.uid());
  cache_.set_pod(std::make_shared<const PodInfo>(pod));
  if (before == nullptr || !is_assigned(*before)) {
    happened(ClusterEvent::PodAssigned, before, &pod);
    return;
  }
  if (changes.labels) happened(ClusterEvent::PodAssigned, before, &pod, {}, "AssignedPodUpdatePodLabel");
  if (changes.scaled_down) happened(ClusterEvent::PodDeleted, before, &pod, {}, "AssignedPodUpdatePodScaleDown");
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
    metrics_.handled("NodeDelete", watch.elapsed());
  } else if (before == nullptr) {
    cache_.set_node(*after);
    happened(ClusterEvent::NodeAdded, nullptr, after);
    metrics_.handled("NodeAdd", watch.elapsed());
  } else {
    node_updated(*before, *after, watch);
  }
  pump();
}

void Scheduler::node_updated(const Object& before, const Object& after, const Stopwatch& watch) {
  const Value was = before.body();
  const Value is = after.body();
  const bool spec = !(was["spec"] == is["spec"]);
  const bool allocatable = !(was["status"]["allocatable"] == is["status"]["allocatable"]);
  const bool labels = !(before.labels() == after.labels());
  const bool taints = spec && (opened(was["spec"], is["spec"]) || !(was["spec"]["taints"] == is["spec"]["taints"]));
  const bool conditions = !conditions_equal(was["status"]["conditions"], is["status"]["conditions"]);
  const bool images = !(was["status"]["images"] == is["status"]["images"]);
  if (spec || allocatable || labels || conditions || images) cache_.set_node(after);  // Else a heartbeat.
  const std::chrono::nanoseconds updating = watch.elapsed();
  const auto tell = [&](bool changed, ClusterEvent event) {
    if (!changed) return;
    const Stopwatch moving(context_.clock);
    happened(event, &before, &after);
    metrics_.handled(label_of(event), updating + moving.elapsed());
  };
  tell(allocatable, ClusterEvent::NodeAllocatableChanged);
  tell(labels, ClusterEvent::NodeLabelsChanged);
  tell(taints, ClusterEvent::NodeTaintsChanged);
  tell(conditions, ClusterEvent::NodeConditionsChanged);
  // No plugin can ask for these.
  if (!(before.annotations() == after.annotations())) metrics_.handled("NodeUpdateNodeAnnotation", updating);
  if (!(was["status"]["declaredFeatures"] == is["status"]["declaredFeatures"]))
    metrics_.handled("NodeUpdateNodeDeclaredFeature", updating);
}

}  // namespace kubernel::plugins
