// SPDX-License-Identifier: Apache-2.0
#include "cache.h"

#include <utility>
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
  info->slot = known == nodes_.end() ? take_slot() : known->second.info->slot;
  log_->append({Kind::NodeSet, info->slot, info->name, nullptr});
  if (known != nodes_.end()) {
    for (const auto& pod : known->second.info->pods) info->add_pod(pod);
  } else if (const auto waiting = homeless_.find(info->name); waiting != homeless_.end()) {
    for (const std::string& uid : waiting->second) {
      const auto& pod = pods_.find(uid)->second.pod;
      info->add_pod(pod);
      log_->append({Kind::PodAdded, info->slot, {}, pod});
    }
    homeless_.erase(waiting);
  }
  const std::string name = info->name;
  nodes_.insert_or_assign(name, Node{std::move(info)});
  forget_snapshot();
}

void SchedulerCache::remove_node(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(name);
  if (found == nodes_.end()) return;
  const NodeInfo& info = *found->second.info;
  log_->append({Kind::NodeRemoved, info.slot, {}, nullptr});
  free_slots_.push_back(info.slot);
  for (const auto& pod : info.pods) homeless_[info.name].insert(pod->uid());
  forget_snapshot();
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
  std::vector<std::shared_ptr<const NodeInfo>> nodes;
  if (current_ == nullptr) {
    nodes.reserve(nodes_.size());
    for (const auto& [name, node] : nodes_) nodes.push_back(node.info);
    current_ = std::make_shared<Snapshot>(std::move(nodes), log_, log_->end());
    return current_;
  }
  if (changed_.empty()) return current_;
  for (Node* node : changed_) {
    node->changed = false;
    nodes.push_back(node->info);
  }
  changed_.clear();
  // Only this mutex hands out new references, so a count of one stays one.
  if (current_.use_count() > 1) current_ = std::make_shared<Snapshot>(*current_);
  current_->update(nodes, log_->end());
  return current_;
}

void SchedulerCache::forget_snapshot() {
  current_ = nullptr;
  for (Node* node : changed_) node->changed = false;
  changed_.clear();
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
  Node& node = found->second;
  if (!std::exchange(node.changed, true)) changed_.push_back(&node);
  if (node.info.use_count() > 1) node.info = std::make_shared<NodeInfo>(*node.info);
  return node.info.get();
}

void SchedulerCache::place(Placed placed) {
  const std::string uid = placed.pod->uid();
  if (NodeInfo* node = edit(placed.pod->node_name)) {
    node->add_pod(placed.pod);
    log_->append({Kind::PodAdded, node->slot, {}, placed.pod});
  } else {
    homeless_[placed.pod->node_name].insert(uid);
  }
  pods_.insert_or_assign(uid, std::move(placed));
}

void SchedulerCache::displace(std::string_view uid) {
  const auto found = pods_.find(uid);
  if (found == pods_.end()) return;
  const PodInfo& pod = *found->second.pod;
  NodeInfo* const node = edit(pod.node_name);
  if (node != nullptr && node->remove_pod(uid)) log_->append({Kind::PodRemoved, node->slot, {}, found->second.pod});
  if (const auto waiting = homeless_.find(pod.node_name); node == nullptr && waiting != homeless_.end()) {
    waiting->second.erase(found->first);
    if (waiting->second.empty()) homeless_.erase(waiting);
  }
  pods_.erase(found);
}

}  // namespace kubernel::plugins
