// SPDX-License-Identifier: Apache-2.0
#include <kubernel/controller/expectations.h>

#include <chrono>

namespace kubernel::controller {

using api::ObjectKey;

bool Expectations::satisfied(const ObjectKey& owner) const {
  constexpr std::chrono::minutes kTooLong{5};
  const std::lock_guard lock(mutex_);
  const auto found = outstanding_.find(owner);
  if (found == outstanding_.end()) return true;
  const Outstanding& out = found->second;
  return (out.creations <= 0 && out.deletions.empty()) || clock_.now() - out.since > kTooLong;
}

void Expectations::expect_creations(const ObjectKey& owner, int count) {
  const std::lock_guard lock(mutex_);
  outstanding_[owner] = {count, {}, clock_.now()};
}

void Expectations::expect_deletions(const ObjectKey& owner, const std::vector<ObjectKey>& objects) {
  const std::lock_guard lock(mutex_);
  outstanding_[owner] = {0, {objects.begin(), objects.end()}, clock_.now()};
}

void Expectations::creation_observed(const ObjectKey& owner) {
  const std::lock_guard lock(mutex_);
  if (const auto found = outstanding_.find(owner); found != outstanding_.end()) --found->second.creations;
}

void Expectations::deletion_observed(const ObjectKey& owner, const ObjectKey& object) {
  const std::lock_guard lock(mutex_);
  if (const auto found = outstanding_.find(owner); found != outstanding_.end()) found->second.deletions.erase(object);
}

void Expectations::forget(const ObjectKey& owner) {
  const std::lock_guard lock(mutex_);
  outstanding_.erase(owner);
}

}  // namespace kubernel::controller
