// SPDX-License-Identifier: Apache-2.0
#include "registry/lease_pool.h"

namespace kubernel::apiserver {

Result<storage::LeaseId> LeasePool::take(const CallContext& ctx) {
  constexpr auto kShared = std::chrono::seconds(60);
  const std::lock_guard lock(mutex_);
  const Clock::TimePoint now = clock_.now();
  if (current_ != 0 && now < shared_until_) return current_;
  KUBERNEL_TRY(current_, backend_.leases().grant(ctx, 0, ttl_ + kShared));
  shared_until_ = now + kShared;
  return current_;
}

}  // namespace kubernel::apiserver
