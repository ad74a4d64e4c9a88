// SPDX-License-Identifier: Apache-2.0
#include "event_labels.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <string>

namespace kubernel::plugins {

using api::Object;
using api::Value;
using scheduler::ClusterEvent;

namespace {

std::string kind_of(const api::Resource& resource) {
  static const std::map<std::string_view, const char*> kKinds = {
      {"persistentvolumes", "PersistentVolume"},
      {"persistentvolumeclaims", "PersistentVolumeClaim"},
      {"csidrivers", "storage.k8s.io/CSIDriver"},
      {"csinodes", "storage.k8s.io/CSINode"},
      {"csistoragecapacities", "storage.k8s.io/CSIStorageCapacity"},
      {"storageclasses", "storage.k8s.io/StorageClass"},
      {"volumeattachments", "storage.k8s.io/VolumeAttachment"},
      {"deviceclasses", "resource.k8s.io/DeviceClass"},
      {"resourceclaims", "resource.k8s.io/ResourceClaim"},
      {"resourceslices", "resource.k8s.io/ResourceSlice"},
      {"podgroups", "scheduling.k8s.io/PodGroup"},
  };
  const auto known = kKinds.find(resource.plural);
  const bool upstreams = resource.group.empty() || std::string_view(resource.group).ends_with(".k8s.io");
  if (known != kKinds.end() && upstreams) return known->second;
  return std::string(resource.plural) + "." + std::string(resource.version) + "." + std::string(resource.group);
}

// Few: three for each resource that a plugin listens to.
std::string_view kept(std::string label) {
  static std::mutex mutex;
  static std::set<std::string> labels;
  const std::lock_guard lock(mutex);
  return *labels.insert(std::move(label)).first;
}

std::string_view resize_pending(Value status) {
  for (const Value condition : status["conditions"]) {
    if (condition["type"].string() == "PodResizePending") return condition["reason"].string();
  }
  return {};
}

// Whether the node reports the same resources: most changes of a status are about something else.
bool same_resources(Value before, Value after) {
  const auto same = [](Value one, Value other) {
    return one["resources"] == other["resources"] && one["allocatedResources"] == other["allocatedResources"];
  };
  if (!same(before, after) || resize_pending(before) != resize_pending(after)) return false;
  for (const char* list : {"containerStatuses", "initContainerStatuses"}) {
    const Value was = before[list], is = after[list];
    const bool all = std::equal(was.begin(), was.end(), is.begin(), is.end(), [&](Value one, Value other) {
      return one["name"].string() == other["name"].string() && same(one, other);
    });
    if (!all) return false;
  }
  return true;
}

bool needs_less(const Object& before, const Object& after, bool same_spec) {
  if (same_spec && same_resources(before["status"], after["status"])) return false;
  const scheduler::Resources was = scheduler::pod_requests(before["spec"], before["status"]);
  scheduler::Resources most = scheduler::pod_requests(after["spec"], after["status"]);
  const scheduler::Resources is = most;
  most.raise_to(was);
  return !(most == is);
}

}  // namespace

std::string_view label_of(ClusterEvent event) {
  switch (event) {
    case ClusterEvent::NodeAdded: return "NodeAdd";
    case ClusterEvent::NodeDeleted: return "NodeDelete";
    case ClusterEvent::NodeAllocatableChanged: return "NodeUpdateNodeAllocatable";
    case ClusterEvent::NodeLabelsChanged: return "NodeUpdateNodeLabel";
    case ClusterEvent::NodeTaintsChanged: return "NodeUpdateNodeTaint";
    case ClusterEvent::NodeConditionsChanged: return "NodeUpdateNodeCondition";
    case ClusterEvent::PodAssigned: return "AssignedPodAdd";
    case ClusterEvent::PodDeleted: return "AssignedPodDelete";
    case ClusterEvent::PodUpdated: return "UnschedulablePodUpdate";
    case ClusterEvent::ResourceChanged: break;
  }
  return "*Update";
}

ResourceLabels labels_of(const api::Resource& resource) {
  const std::string kind = kind_of(resource);
  return {kept(kind + "Add"), kept(kind + "Update"), kept(kind + "Delete")};
}

PodChanges PodChanges::between(const Object& before, const Object& after) {
  const Value was = before["spec"], is = after["spec"];
  const bool same_spec = was == is;
  PodChanges out;
  out.labels = !(before.labels() == after.labels());
  out.scaled_down = needs_less(before, after, same_spec);
  out.gates_eliminated = !same_spec && is["schedulingGates"].empty() && !was["schedulingGates"].empty();
  // The API lets nobody change or remove one.
  out.tolerations = !same_spec && is["tolerations"].size() != was["tolerations"].size();
  for (const char* claims : {"resourceClaimStatuses", "extendedResourceClaimStatus"}) {
    out.generated_claims = out.generated_claims || !(before["status"][claims] == after["status"][claims]);
  }
  return out;
}

std::vector<std::string_view> PodChanges::event_labels(bool assigned) const {
  std::vector<std::string_view> out;
  const auto add = [&](bool changed, std::string_view of_assigned, std::string_view of_waiting) {
    if (changed) out.push_back(assigned ? of_assigned : of_waiting);
  };
  add(labels, "AssignedPodUpdatePodLabel", "UnschedulablePodUpdatePodLabel");
  add(scaled_down, "AssignedPodUpdatePodScaleDown", "UnschedulablePodUpdatePodScaleDown");
  add(gates_eliminated, "AssignedPodUpdatePodSchedulingGatesEliminated",
      "UnschedulablePodUpdatePodSchedulingGatesEliminated");
  add(tolerations, "AssignedPodUpdatePodToleration", "UnschedulablePodUpdatePodToleration");
  add(generated_claims, "AssignedPodUpdatePodGeneratedResourceClaim",
      "UnschedulablePodUpdatePodGeneratedResourceClaim");
  add(out.empty(), "AssignedPodUpdate", "UnschedulablePodUpdate");
  return out;
}

}  // namespace kubernel::plugins
