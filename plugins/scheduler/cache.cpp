// SPDX-License-Identifier: Apache-2.0
#include "cache.h"

#include <vector>

namespace kubernel::plugins {

using scheduler::NodeInfo;
using scheduler::PodInfo;
using scheduler::Snapshot;
using Kind = scheduler::SnapshotChange::Kind;

void SchedulerCache::set_node(const api::Object& node) {
  const std::lock_guard lock(mutex_);
  auto info = std::make_shared<NodeInfo>(node);
  const auto known = nodes_.find(info->name);
  info->slot = known == nodes_.end() ? take_slot() : known->second->slot;
  log_->append({Kind::NodeSet, info->slot, info->name, nullptr});
  if (known != nodes_.end()) {
    for (const auto& pod : known->second->pods) info->add_pod(pod);
  } else {
    for (const auto& [uid, placed] : pods_) {
      if (placed.pod->node_name != info->name) continue;
      info->add_pod(placed.pod);
      log_->append({Kind::PodAdded, info->slot, {}, placed.pod});
    }
  }
  nodes_.insert_or_assign(info->name, std::move(info));
  current_ = nullptr;
}

void SchedulerCache::remove_node(std::string_view name) {
  const std::lock_guard lock(mutex_);
  current_ = nullptr;
  const auto found = nodes_.find(name);
  if (found == nodes_.end()) return;
  log_->append({Kind::NodeRemoved, found->second->slot, {}, nullptr});
  free_slots_.push_back(found->second->slot);
  nodes_.erase(found);
}

void SchedulerCache::set_pod(std::shared_ptr<const PodInfo> pod) {
  const std::lock_guard lock(mutex_);
  displace(pod->uid());
  place({std::move(pod), false});
}

void SchedulerCache::remove_pod(std::string_view uid) {
  const std::lock_guard lock(mutex_);
  displace(uid);
}

void SchedulerCache::assume(const PodInfo& pod, std::string_view node) {
  auto bound = std::make_shared<PodInfo>(pod);
  bound->node_name = std::string(node);
  const std::lock_guard lock(mutex_);
  displace(pod.uid());
  place({std::move(bound), true});
}

void SchedulerCache::forget(std::string_view uid) {
  const std::lock_guard lock(mutex_);
  const auto found = pods_.find(uid);
  if (found != pods_.end() && found->second.assumed) displace(uid);
}

bool SchedulerCache::knows(std::string_view uid) const {
  const std::lock_guard lock(mutex_);
  return pods_.contains(uid);
}

std::shared_ptr<const Snapshot> SchedulerCache::snapshot() {
  const std::lock_guard lock(mutex_);
  if (current_ == nullptr) {
    std::vector<std::shared_ptr<const NodeInfo>> nodes;
    nodes.reserve(nodes_.size());
    for (const auto& [name, info] : nodes_) nodes.push_back(info);
    current_ = std::make_shared<const Snapshot>(std::move(nodes), log_, log_->end());
  }
  return current_;
}

std::uint32_t SchedulerCache::take_slot() {
  if (free_slots_.empty()) return next_slot_++;
  const std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

NodeInfo* SchedulerCache::edit(std::string_view name) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end()) return nullptr;
  current_ = nullptr;  // Before the count below: our own snapshot is no reason to copy.
  // Only this mutex hands out new references, so a count of one stays one.
  if (found->second.use_count() > 1) found->second = std::make_shared<NodeInfo>(*found->second);
  return found->second.get();
}

void SchedulerCache::place(Placed placed) {
  if (NodeInfo* node = edit(placed.pod->node_name)) {
    node->add_pod(placed.pod);
    log_->append({Kind::PodAdded, node->slot, {}, placed.pod});
  }
  const std::string uid = placed.pod->uid();
  pods_.insert_or_assign(uid, std::move(placed));
}

void SchedulerCache::displace(std::string_view uid) {
  const auto found = pods_.find(uid);
  if (found == pods_.end()) return;
  NodeInfo* node = edit(found->second.pod->node_name);
  if (node != nullptr && node->remove_pod(uid)) log_->append({Kind::PodRemoved, node->slot, {}, found->second.pod});
  pods_.erase(found);
}

}  // namespace kubernel::plugins
