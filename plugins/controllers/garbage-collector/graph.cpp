// SPDX-License-Identifier: Apache-2.0
#include "graph.h"

#include <algorithm>
#include <utility>

namespace kubernel::plugins::garbage_collector {

using api::Object;
using api::Value;

std::vector<Owner> owners_of(const Object& object) {
  std::vector<Owner> out;
  for (const Value reference : object.pointer("/metadata/ownerReferences")) {
    out.push_back({std::string(reference["uid"].string()), std::string(reference["apiVersion"].string()),
                   std::string(reference["kind"].string()), std::string(reference["name"].string()),
                   reference["blockOwnerDeletion"].boolean()});
  }
  return out;
}

bool has_finalizer(const Object& object, std::string_view finalizer) {
  for (const Value present : object.pointer("/metadata/finalizers")) {
    if (present.string() == finalizer) return true;
  }
  return false;
}

namespace {

const Owner* find_owner(const std::vector<Owner>& owners, const std::string& uid) {
  const auto found = std::ranges::find(owners, uid, &Owner::uid);
  return found == owners.end() ? nullptr : &*found;
}

}  // namespace

std::vector<std::string> Graph::put(const Object& object, const api::Resource& resource) {
  std::vector<std::string> look_at;
  const std::lock_guard lock(mutex_);
  Node& node = nodes_[object.uid()];
  const Node before = node;
  node.uid = object.uid();
  node.gvk = object.head().gvk;
  node.resource = resource;
  node.key = object.key();
  node.observed = true;
  node.deleting = object.head().deleting;
  node.foreground = node.deleting && has_finalizer(object, kForeground);
  node.orphan = node.deleting && has_finalizer(object, kOrphan);
  node.owners = owners_of(object);

  for (const Owner& old : before.owners) {
    const Owner* now = find_owner(node.owners, old.uid);
    if (now == nullptr) {
      unlink(node.uid, old, look_at);
    } else if (old.blocks && !now->blocks) {
      // It may have been the last one its owner waited for.
      if (const auto owner = nodes_.find(old.uid); owner != nodes_.end() && owner->second.foreground)
        look_at.push_back(old.uid);
    }
  }
  link(node, look_at);
  if ((node.foreground && !before.foreground) || (node.orphan && !before.orphan)) look_at.push_back(node.uid);
  if (node.foreground && !before.foreground)
    look_at.insert(look_at.end(), node.dependents.begin(), node.dependents.end());
  return look_at;
}

void Graph::link(const Node& node, std::vector<std::string>& look_at) {
  for (const Owner& reference : node.owners) {
    if (reference.uid.empty()) continue;
    auto [it, unknown] = nodes_.try_emplace(reference.uid);
    Node& owner = it->second;
    const bool added = owner.dependents.insert(node.uid).second;
    if (unknown) {
      // Not seen yet, or gone long ago: whoever looks at it reads it live.
      owner.uid = reference.uid;
      owner.gvk = api::make_gvk(reference.api_version, reference.kind);
      owner.key = {node.key.ns, reference.name};
      look_at.push_back(reference.uid);
      continue;
    }
    if (!added) continue;
    const bool elsewhere = owner.observed && !owner.key.ns.empty() && owner.key.ns != node.key.ns;
    if (owner.foreground || elsewhere) look_at.push_back(node.uid);
  }
}

void Graph::unlink(const std::string& uid, const Owner& reference, std::vector<std::string>& look_at) {
  const auto owner = nodes_.find(reference.uid);
  if (owner == nodes_.end()) return;
  owner->second.dependents.erase(uid);
  if (owner->second.foreground) look_at.push_back(reference.uid);
  if (!owner->second.observed && owner->second.dependents.empty()) nodes_.erase(owner);
}

std::vector<std::string> Graph::remove(const std::string& uid) {
  std::vector<std::string> look_at;
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(uid);
  if (found == nodes_.end()) return look_at;
  const Node gone = std::move(found->second);
  nodes_.erase(found);
  look_at.assign(gone.dependents.begin(), gone.dependents.end());
  for (const Owner& owner : gone.owners) unlink(uid, owner, look_at);
  return look_at;
}

std::optional<Node> Graph::find(const std::string& uid) const {
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(uid);
  if (found == nodes_.end()) return std::nullopt;
  return found->second;
}

std::vector<Node> Graph::dependents(const std::string& uid) const {
  const std::lock_guard lock(mutex_);
  std::vector<Node> out;
  const auto found = nodes_.find(uid);
  if (found == nodes_.end()) return out;
  for (const std::string& dependent : found->second.dependents) {
    if (const auto node = nodes_.find(dependent); node != nodes_.end()) out.push_back(node->second);
  }
  return out;
}

}  // namespace kubernel::plugins::garbage_collector
