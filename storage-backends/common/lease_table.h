// SPDX-License-Identifier: Apache-2.0
//
// LeaseTable: when leases expire. What a lease is attached to, and how it is kept, is the backend's.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <kubernel/storage/backend.h>

namespace kubernel::storage_common {

struct LeaseRecord {
  storage::LeaseId id = 0;
  std::chrono::seconds ttl{0};
  std::int64_t renewals = 0;  ///< Of no other lease that had this id. Renewals are counted in shared stores only.
};

/// What the backend does for a lease. Called without a lock held, on a caller's or a pool thread.
struct LeaseHooks {
  /// Makes the lease durable, as far as the backend is. Errors: AlreadyExists when another process took the id.
  std::function<Result<void>(const CallContext&, const LeaseRecord&)> save;
  /// Deletes the keys of the lease, and its record. From then on no key can be attached to it. `expired`: only if
  /// its record is still that one; otherwise nothing is done, and the record it has is returned (a shared store), or
  /// NotFound.
  std::function<Result<std::optional<LeaseRecord>>(const CallContext&, storage::LeaseId, const LeaseRecord* expired)>
      drop;
  /// The live keys of the lease.
  std::function<Result<std::vector<std::string>>(const CallContext&, storage::LeaseId)> keys;
  /// For stores that several processes share, empty otherwise: counts a renewal, or (`count` false) looks at the
  /// record. Errors: NotFound.
  std::function<Result<LeaseRecord>(const CallContext&, storage::LeaseId, bool count)> renew;
  /// For such stores: all leases.
  std::function<Result<std::vector<LeaseRecord>>(const CallContext&)> all;
};

/// Deadlines are kept in memory: after a restart every lease runs for its whole TTL again, as in etcd. Where several
/// processes share a store, one that sees a lease renewed by another starts the TTL when it sees it.
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
  Result<std::chrono::seconds> renew(const CallContext& ctx, storage::LeaseId id) override;
  Result<void> revoke(const CallContext& ctx, storage::LeaseId id) override;
  Result<storage::LeaseState> find(const CallContext& ctx, storage::LeaseId id, bool with_keys) override;
  Result<std::vector<storage::LeaseId>> list(const CallContext& ctx) override;

  /// Whether keys may be attached to it; 0 always is. The hooks' `drop` must be ordered against the caller.
  bool exists(storage::LeaseId id) const;
  /// Whether the lease with its id is still that one.
  bool holds(const LeaseRecord& record) const;
  /// A lease another process granted or renewed: its TTL starts now, unless nothing about it is new.
  void learn(const LeaseRecord& record);
  /// To be called by the hook `drop` once the lease is gone, before another write is applied.
  void forget(storage::LeaseId id);

  struct State;

 private:
  struct Lease;
  void give_up(storage::LeaseId id, const std::optional<Lease>& known);

  std::shared_ptr<State> state_;
};

/// The errors for a lease that is not there, and for one that is.
Error lease_not_found(storage::LeaseId id);
Error lease_exists(storage::LeaseId id);

}  // namespace kubernel::storage_common
