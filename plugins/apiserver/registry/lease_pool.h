// SPDX-License-Identifier: Apache-2.0
//
// LeasePool: store leases for objects that expire by themselves (events). Objects written within a minute of each other
// share one.

#pragma once

#include <chrono>
#include <mutex>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/result.h>
#include <kubernel/storage/backend.h>

namespace kubernel::apiserver {

/// Threads: all members may be called concurrently.
class LeasePool {
 public:
  LeasePool(storage::Backend& backend, const Clock& clock, std::chrono::seconds ttl)
      : backend_(backend), clock_(clock), ttl_(ttl) {}

  /// A lease that lasts at least the time to live, and at most a minute longer.
  Result<storage::LeaseId> take(const CallContext& ctx);

 private:
  storage::Backend& backend_;
  const Clock& clock_;
  std::chrono::seconds ttl_;
  std::mutex mutex_;
  storage::LeaseId current_ = 0;
  Clock::TimePoint shared_until_{};
};

}  // namespace kubernel::apiserver
