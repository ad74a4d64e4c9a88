// SPDX-License-Identifier: Apache-2.0
#include "cache.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace kubernel::plugins {

using scheduler::NodeInfo;
using scheduler::PodInfo;
using scheduler::Snapshot;
using Kind = scheduler::SnapshotChange::Kind;

namespace {

// Whether it makes no difference to whoever keeps counts which of two states of one pod he knows: nothing else of a
// bound pod may change.
bool counts_alike(const PodInfo& a, const PodInfo& b) {
  return a.object.head().deleting == b.object.head().deleting && a.priority == b.priority && a.requests == b.requests &&
         a.scoring_requests == b.scoring_requests && a.host_ports == b.host_ports &&
         a.object.labels() == b.object.labels() && a.spec["affinity"] == b.spec["affinity"] &&
         a.spec["volumes"] == b.spec["volumes"];
}

}  // namespace

void SchedulerCache::set_node(const api::Object& node) {
  const std::lock_guard lock(mutex_);
  auto info = std::make_shared<NodeInfo>(node);
  const auto known = nodes_.find(info->name);
  info->slot = known == nodes_.end() ? take_slot() : known->second.info->slot;
  log_->append({Kind::NodeSet, info->slot, info->name, nullptr});
  if (known != nodes_.end()) {
    catch_up(known->second, 1);
    for (const auto& pod : known->second.info->pods) info->add_pod(pod);
  } else if (const auto waiting = homeless_.find(info->name); waiting != homeless_.end()) {
    for (const std::string& uid : waiting->second) {
      const auto& pod = pods_.find(uid)->second.pod;
      info->add_pod(pod);
      log_->append({Kind::PodAdded, info->slot, {}, pod});
    }
    homeless_.erase(waiting);
  }
  info->generation = next_generation_++;
  const std::string name = info->name;
  nodes_.insert_or_assign(name, Node{std::move(info)});
  forget_snapshot();
}

void SchedulerCache::remove_node(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(name);
  if (found == nodes_.end()) return;
  catch_up(found->second, 1);
  const NodeInfo& info = *found->second.info;
  log_->append({Kind::NodeRemoved, info.slot, {}, nullptr});
  free_slots_.push_back(info.slot);
  for (const auto& pod : info.pods) homeless_[info.name].insert(pod->uid());
  forget_snapshot();
  nodes_.erase(found);
}

void SchedulerCache::set_pod(std::shared_ptr<const PodInfo> pod) {
  const std::lock_guard lock(mutex_);
  if (replace(pod)) return;
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

SchedulerCache::Sizes SchedulerCache::sizes() const {
  const std::lock_guard lock(mutex_);
  return {nodes_.size(), pods_.size(), assumed_};
}

std::shared_ptr<const Snapshot> SchedulerCache::snapshot() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<const NodeInfo>> nodes;
  if (current_ == nullptr) {
    nodes.reserve(nodes_.size());
    for (auto& [name, node] : nodes_) {
      catch_up(node, 1);
      nodes.push_back(node.info);
    }
    current_ = std::make_shared<Snapshot>(std::move(nodes), log_, log_->end());
    return current_;
  }
  if (changed_.empty()) return current_;
  // Only this mutex hands out new references, so a count of one stays one, and then the nodes are only ours and the
  // snapshot's.
  if (current_.use_count() > 1) current_ = std::make_shared<Snapshot>(*current_);
  for (Node* node : changed_) {
    catch_up(*node, 2);
    node->changed = false;
    nodes.push_back(node->info);
  }
  changed_.clear();
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

SchedulerCache::Node* SchedulerCache::find(std::string_view name) {
  const auto found = nodes_.find(name);
  return found == nodes_.end() ? nullptr : &found->second;
}

void SchedulerCache::add(Node& node, Step step) {
  constexpr std::size_t kMost = 64;
  if (!std::exchange(node.changed, true)) changed_.push_back(&node);
  // Nobody may be asking for snapshots: a scheduler that stands by.
  if (node.ahead.size() >= std::max(kMost, node.info->pods.size())) catch_up(node, 1);
  node.ahead.push_back(std::move(step));
}

void SchedulerCache::catch_up(Node& node, long ours) {
  if (node.ahead.empty()) return;
  if (node.info.use_count() > ours) node.info = std::make_shared<NodeInfo>(*node.info);
  for (Step& step : node.ahead) {
    if (step.gone != nullptr && step.come != nullptr) {
      node.info->replace_pod(*step.gone, std::move(step.come));
    } else if (step.gone != nullptr) {
      node.info->remove_pod(*step.gone);
    } else {
      node.info->add_pod(std::move(step.come));
    }
  }
  node.ahead.clear();
  node.info->generation = next_generation_++;
}

void SchedulerCache::place(Placed placed) {
  const std::string uid = placed.pod->uid();
  if (Node* node = find(placed.pod->node_name)) {
    add(*node, {nullptr, placed.pod});
    log_->append({Kind::PodAdded, node->info->slot, {}, placed.pod});
  } else {
    homeless_[placed.pod->node_name].insert(uid);
  }
  assumed_ += placed.assumed ? 1 : 0;
  pods_.insert_or_assign(uid, std::move(placed));
}

void SchedulerCache::displace(std::string_view uid) {
  const auto found = pods_.find(uid);
  if (found == pods_.end()) return;
  const PodInfo& pod = *found->second.pod;
  Node* const node = find(pod.node_name);
  if (node != nullptr) {
    add(*node, {found->second.pod, nullptr});
    log_->append({Kind::PodRemoved, node->info->slot, {}, found->second.pod});
  }
  if (const auto waiting = homeless_.find(pod.node_name); node == nullptr && waiting != homeless_.end()) {
    waiting->second.erase(found->first);
    if (waiting->second.empty()) homeless_.erase(waiting);
  }
  assumed_ -= found->second.assumed ? 1 : 0;
  pods_.erase(found);
}

// A pod that is confirmed, or whose status changed, still counts for the same.
bool SchedulerCache::replace(const std::shared_ptr<const PodInfo>& pod) {
  const auto found = pods_.find(std::string_view(pod->uid()));
  if (found == pods_.end()) return false;
  Placed& known = found->second;
  Node* const node = find(pod->node_name);
  if (node == nullptr || known.pod->node_name != pod->node_name || !counts_alike(*known.pod, *pod)) return false;
  add(*node, {std::exchange(known.pod, pod), pod});
  assumed_ -= std::exchange(known.assumed, false) ? 1 : 0;
  return true;
}

}  // namespace kubernel::plugins
