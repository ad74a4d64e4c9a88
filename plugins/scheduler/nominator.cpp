// SPDX-License-Identifier: Apache-2.0
#include "nominator.h"

#include <algorithm>

namespace kubernel::plugins {

using scheduler::PodInfo;

void Nominator::set(std::shared_ptr<const PodInfo> pod, std::string_view node) {
  const std::lock_guard lock(mutex_);
  erase(pod->uid());
  nodes_.emplace(pod->uid(), node);
  OnNode& there = by_node_.try_emplace(std::string(node)).first->second;
  there.pods.push_back(std::move(pod));
  there.version = ++last_version_;
  count_.store(nodes_.size(), std::memory_order_release);
}

void Nominator::remove(std::string_view uid) {
  if (empty()) return;
  const std::lock_guard lock(mutex_);
  erase(uid);
  count_.store(nodes_.size(), std::memory_order_release);
}

std::string Nominator::node_of(std::string_view uid) const {
  if (empty()) return {};
  const std::shared_lock lock(mutex_);
  const auto found = nodes_.find(uid);
  return found == nodes_.end() ? std::string() : found->second;
}

std::vector<std::shared_ptr<const PodInfo>> Nominator::on(std::string_view node) const {
  if (empty()) return {};
  const std::shared_lock lock(mutex_);
  const auto found = by_node_.find(node);
  return found == by_node_.end() ? std::vector<std::shared_ptr<const PodInfo>>{} : found->second.pods;
}

std::vector<std::shared_ptr<const PodInfo>> Nominator::ahead_of(const PodInfo& pod, std::string_view node) const {
  std::vector<std::shared_ptr<const PodInfo>> out;
  if (empty()) return out;
  const std::shared_lock lock(mutex_);
  const auto found = by_node_.find(node);
  if (found == by_node_.end()) return out;
  for (const auto& other : found->second.pods) {
    if (other->priority >= pod.priority && other->uid() != pod.uid()) out.push_back(other);
  }
  return out;
}

std::uint64_t Nominator::version(std::string_view node) const {
  if (empty()) return 0;
  const std::shared_lock lock(mutex_);
  const auto found = by_node_.find(node);
  return found == by_node_.end() ? 0 : found->second.version;
}

void Nominator::erase(std::string_view uid) {
  const auto found = nodes_.find(uid);
  if (found == nodes_.end()) return;
  const auto there = by_node_.find(found->second);
  std::erase_if(there->second.pods, [&](const auto& pod) { return pod->uid() == uid; });
  there->second.version = ++last_version_;
  if (there->second.pods.empty()) by_node_.erase(there);
  nodes_.erase(found);
}

}  // namespace kubernel::plugins
