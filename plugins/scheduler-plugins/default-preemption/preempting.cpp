// SPDX-License-Identifier: Apache-2.0
#include "preempting.h"

#include <algorithm>
#include <utility>

namespace kubernel::plugins {

void Preempting::begin(const std::string& preemptor, const Pods& victims) {
  const std::lock_guard lock(mutex_);
  erase(preemptor);
  Preemptor& state = preemptors_[preemptor];
  for (const auto& victim : victims) {
    if (state.left.insert(victim->uid()).second) by_victim_[victim->uid()].push_back(preemptor);
  }
}

void Preempting::let_in(const std::string& preemptor) {
  const std::lock_guard lock(mutex_);
  if (const auto found = preemptors_.find(preemptor); found != preemptors_.end()) found->second.let_in = true;
}

void Preempting::gone(const std::string& preemptor, const std::string& victim) {
  const std::lock_guard lock(mutex_);
  victim_gone(preemptor, victim);
}

bool Preempting::told(const std::string& preemptor) {
  const std::lock_guard lock(mutex_);
  const auto found = preemptors_.find(preemptor);
  if (found == preemptors_.end()) return false;
  found->second.let_in = true;
  found->second.told = true;
  if (found->second.left.empty()) {
    erase(preemptor);
    return false;
  }
  waiting_.insert(preemptor);
  return true;
}

void Preempting::forget(const std::string& preemptor) {
  const std::lock_guard lock(mutex_);
  erase(preemptor);
}

bool Preempting::contains(const std::string& preemptor) const {
  const std::lock_guard lock(mutex_);
  const auto found = preemptors_.find(preemptor);
  return found != preemptors_.end() && !found->second.let_in;
}

std::vector<std::string> Preempting::helped_by_end_of(const std::string& pod) {
  const std::lock_guard lock(mutex_);
  const auto found = by_victim_.find(pod);
  if (found == by_victim_.end()) return {waiting_.begin(), waiting_.end()};
  std::vector<std::string> out;
  for (const std::string& preemptor : std::exchange(found->second, {})) {
    Preemptor& state = preemptors_.at(preemptor);
    state.left.erase(pod);
    if (!state.left.empty() || !state.let_in) continue;
    out.push_back(preemptor);
    if (state.told) erase(preemptor);
  }
  by_victim_.erase(pod);
  return out;
}

std::vector<std::string> Preempting::waiting() const {
  const std::lock_guard lock(mutex_);
  return {waiting_.begin(), waiting_.end()};
}

void Preempting::erase(const std::string& preemptor) {
  const auto found = preemptors_.find(preemptor);
  if (found == preemptors_.end()) return;
  while (!found->second.left.empty()) victim_gone(preemptor, std::string(*found->second.left.begin()));
  preemptors_.erase(found);
  waiting_.erase(preemptor);
}

void Preempting::victim_gone(const std::string& preemptor, const std::string& victim) {
  if (const auto state = preemptors_.find(preemptor); state != preemptors_.end()) state->second.left.erase(victim);
  const auto of = by_victim_.find(victim);
  if (of == by_victim_.end()) return;
  std::erase(of->second, preemptor);
  if (of->second.empty()) by_victim_.erase(of);
}

}  // namespace kubernel::plugins
