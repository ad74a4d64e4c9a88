// SPDX-License-Identifier: Apache-2.0

#include "find_volumes.h"

#include <algorithm>

#include <kubernel/api/quantity.h>
#include <kubernel/api/selector.h>

namespace kubernel::plugins {

using api::Object;
using api::Value;
using scheduler::NodeInfo;

namespace {

constexpr const char* kAffinityConflict = "node(s) had volume node affinity conflict";
constexpr const char* kNothingToBind = "node(s) didn't find available persistent volumes to bind";
constexpr const char* kMissingVolume = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
constexpr const char* kNoSpace = "node(s) did not have enough free storage";

bool usable_on(const Object& volume, const NodeInfo& node) {
  const Value required = volume.pointer("/spec/nodeAffinity/required");
  return !required || scheduler::matches_node_selector(required, node);
}

bool contains(Value list, Value wanted) {
  return std::all_of(wanted.begin(), wanted.end(),
                     [&](Value w) { return std::find(list.begin(), list.end(), w) != list.end(); });
}

bool reserved_for(const Object& volume, const Object& claim) {
  const Value ref = volume.pointer("/spec/claimRef");
  if (ref["name"].string() != claim.name() || ref["namespace"].string() != claim.ns()) return false;
  return ref["uid"].string().empty() || ref["uid"].string() == claim.uid();
}

// Everything but size and whose it is.
bool suits(const Object& volume, const Object& claim, const NodeInfo& node) {
  const Value has = volume["spec"];
  const Value wants = claim["spec"];
  return !volume.head().deleting &&
         has["volumeMode"].string("Filesystem") == wants["volumeMode"].string("Filesystem") &&
         has["volumeAttributesClassName"].string() == wants["volumeAttributesClassName"].string() &&
         usable_on(volume, node);
}

bool is_free(const Object& volume, const Object& claim, const api::LabelSelector& selector) {
  return !volume.pointer("/spec/claimRef") && volume.pointer("/status/phase").string() == "Available" &&
         selector.matches(volume.labels()) &&
         contains(volume.pointer("/spec/accessModes"), claim.pointer("/spec/accessModes"));
}

// The volume reserved for the claim, else the smallest free one that is large enough and not in `taken`.
Object find_match(const Object& claim, const NodeInfo& node, const std::vector<Object>& volumes,
                  const std::vector<NodeVolumes::Match>& taken) {
  const Value written = claim.pointer("/spec/selector");
  const auto selector = written ? api::LabelSelector::from_api(written) : api::LabelSelector::everything();
  Object best;
  for (const Object& volume : volumes) {
    const bool is_taken =
        std::ranges::any_of(taken, [&](const auto& match) { return match.volume.name() == volume.name(); });
    if (is_taken || capacity_of(volume) < wanted_by(claim) || !suits(volume, claim, node)) continue;
    if (reserved_for(volume, claim)) return volume;
    if (!selector || !is_free(volume, claim, *selector)) continue;
    if (!best || capacity_of(volume) < capacity_of(best)) best = volume;
  }
  return best;
}

// StorageClass.allowedTopologies: alternatives; all expressions of one must hold.
bool topology_allowed(const Object& storage_class, const NodeInfo& node) {
  const Value terms = storage_class["allowedTopologies"];
  if (terms.empty()) return true;
  return std::any_of(terms.begin(), terms.end(), [&](Value term) {
    const Value expressions = term["matchLabelExpressions"];
    return !expressions.empty() && std::all_of(expressions.begin(), expressions.end(), [&](Value e) {
      const Value label = node.labels()[e["key"].string()];
      const Value values = e["values"];
      return label && std::any_of(values.begin(), values.end(), [&](Value v) { return v.string() == label.string(); });
    });
  });
}

void refuse(NodeVolumes& out, const char* why, bool hopeless) {
  if (std::ranges::find(out.refusals, why) == out.refusals.end()) out.refusals.emplace_back(why);
  out.hopeless = out.hopeless || hopeless;
}

Result<void> check_bound(const PodClaims& claims, const NodeInfo& node, const VolumeCache& cache, NodeVolumes& out) {
  for (const PodClaims::Bound& bound : claims.bound) {
    const Object* volume = &bound.volume;
    if (bound.in_tree != nullptr) {
      const auto csi_node = cache.csi_node(node.name);
      if (csi_node && scheduler::has_migrated(*csi_node, *bound.in_tree)) {
        if (!bound.as_csi) return Error(bound.as_csi.error()).wrap("could not translate pv");
        volume = &*bound.as_csi;
      }
    }
    if (!*volume) {
      refuse(out, kMissingVolume, true);
    } else if (!usable_on(*volume, node)) {
      refuse(out, kAffinityConflict, true);
    }
  }
  return {};
}

void check_provisioning(const NodeInfo& node, const VolumeCache& cache, NodeVolumes& out) {
  for (const Object& claim : out.to_provision) {
    const auto storage_class = cache.storage_class_of(claim);
    const std::string_view provisioner =
        storage_class ? storage_class->body()["provisioner"].string() : std::string_view();
    if (provisioner.empty() || provisioner == "kubernetes.io/no-provisioner" ||
        !topology_allowed(*storage_class, node)) {
      refuse(out, kNothingToBind, true);
    } else if (const std::int64_t space = storage_for(claim, node, cache); space >= 0 && space < wanted_by(claim)) {
      refuse(out, kNoSpace, true);
    }
  }
}

}  // namespace

std::int64_t capacity_of(const Object& volume) {
  return api::Quantity::read(volume.pointer("/spec/capacity/storage")).value();
}

std::int64_t wanted_by(const Object& claim) {
  return api::Quantity::read(claim.pointer("/spec/resources/requests/storage")).value();
}

std::int64_t largest_volume_of(const Object& capacity) {
  const Value largest = capacity["maximumVolumeSize"] ? capacity["maximumVolumeSize"] : capacity["capacity"];
  return largest ? api::Quantity::read(largest).value() : -1;
}

std::int64_t storage_for(const Object& claim, const NodeInfo& node, const VolumeCache& cache) {
  const auto storage_class = cache.storage_class_of(claim);
  if (!storage_class) return -1;
  const auto driver = cache.driver(std::string(storage_class->body()["provisioner"].string()));
  if (!driver || !driver->pointer("/spec/storageCapacity").boolean()) return -1;
  std::int64_t most = 0;
  for (const Object& capacity : cache.capacities(storage_class->name())) {
    const auto reach = api::LabelSelector::from_api(capacity["nodeTopology"]);  // Missing: no node.
    if (!reach || !reach->matches(node.labels())) continue;
    most = std::max(most, largest_volume_of(capacity));
  }
  return most;
}

Result<NodeVolumes> NodeVolumes::find(const PodClaims& claims, const NodeInfo& node, const VolumeCache& cache) {
  NodeVolumes out;
  KUBERNEL_CHECK_OK(check_bound(claims, node, cache, out));
  std::vector<Object> wanting;
  for (const Object& claim : claims.delayed) {
    const Value selected = claim.annotations()[kSelectedNode];
    if (!selected) {
      wanting.push_back(claim);
    } else if (selected.string() == node.name) {
      out.to_provision.push_back(claim);
    } else {
      refuse(out, kNothingToBind, true);
    }
  }
  // The small ones first, so that they do not take what a large one needs.
  std::ranges::stable_sort(wanting, {}, wanted_by);
  for (const Object& claim : wanting) {
    const auto volumes = cache.volumes_of_class(std::string(claim.pointer("/spec/storageClassName").string()));
    if (Object volume = find_match(claim, node, volumes, out.matches)) {
      out.matches.push_back({claim, std::move(volume)});
    } else {
      out.to_provision.push_back(claim);
    }
  }
  check_provisioning(node, cache, out);
  return out;
}

}  // namespace kubernel::plugins
