// SPDX-License-Identifier: Apache-2.0
//
// LeaseTable: when leases expire. What a lease is attached to, and how it is kept, is the backend's.

#pragma once

#include <functional>
#include <memory>

#include <kubernel/storage/backend.h>

namespace kubernel::storage_common {

struct LeaseRecord {
  storage::LeaseId id = 0;
  std::chrono::seconds ttl{0};
};

/// What the backend does for a lease. Called without a lock held, on a caller's or a pool thread.
struct LeaseHooks {
  /// Makes the lease durable, as far as the backend is.
  std::function<Result<void>(const CallContext&, const LeaseRecord&)> save;
  /// Deletes the keys of the lease, and its record. From then on no key can be attached to it.
  std::function<Result<void>(const CallContext&, storage::LeaseId)> drop;
};

/// Deadlines are kept in memory: after a restart every lease runs for its whole TTL again, as in etcd.
/// One timer, and none while there is no lease.
///
/// Threads: all members may be called concurrently.
class LeaseTable final : public storage::Leases {
 public:
  /// `existing`: the leases found when the store was opened.
  LeaseTable(Clock& clock, Executor& executor, Logger& log, LeaseHooks hooks, const std::vector<LeaseRecord>& existing);
  /// Waits for an expiry that is running; afterwards no hook is called any more.
  ~LeaseTable() override;

  Result<storage::LeaseId> grant(const CallContext& ctx, storage::LeaseId id, std::chrono::seconds ttl) override;
  Result<void> renew(const CallContext& ctx, storage::LeaseId id) override;
  Result<void> revoke(const CallContext& ctx, storage::LeaseId id) override;

  /// Whether keys may be attached to it; 0 always is. The hooks' `drop` must be ordered against the caller.
  bool exists(storage::LeaseId id) const;
  /// To be called by the hook `drop` once the lease is gone, before another write is applied.
  void forget(storage::LeaseId id);

  struct State;

 private:
  std::shared_ptr<State> state_;
};

/// The error for a lease that is not there.
Error lease_not_found(storage::LeaseId id);

}  // namespace kubernel::storage_common
