// SPDX-License-Identifier: Apache-2.0
#include "nominator.h"

#include <algorithm>

namespace kubernel::plugins {

using scheduler::PodInfo;

void Nominator::set(std::shared_ptr<const PodInfo> pod, std::string_view node) {
  const std::lock_guard lock(mutex_);
  erase(pod->uid());
  nodes_.emplace(pod->uid(), node);
  auto& pods = by_node_.try_emplace(std::string(node)).first->second;
  pods.push_back(std::move(pod));
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
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(uid);
  return found == nodes_.end() ? std::string() : found->second;
}

std::vector<std::shared_ptr<const PodInfo>> Nominator::on(std::string_view node) const {
  if (empty()) return {};
  const std::lock_guard lock(mutex_);
  const auto found = by_node_.find(node);
  return found == by_node_.end() ? std::vector<std::shared_ptr<const PodInfo>>{} : found->second;
}

void Nominator::erase(std::string_view uid) {
  const auto found = nodes_.find(uid);
  if (found == nodes_.end()) return;
  const auto pods = by_node_.find(found->second);
  std::erase_if(pods->second, [&](const auto& pod) { return pod->uid() == uid; });
  if (pods->second.empty()) by_node_.erase(pods);
  nodes_.erase(found);
}

}  // namespace kubernel::plugins
