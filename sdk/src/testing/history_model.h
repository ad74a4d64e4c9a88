// SPDX-License-Identifier: Apache-2.0
//
// A store of a few keys and leases as its promises say it is: what a call does to it, and whether it may have returned
// what it did. A write whose revision nobody was told has a stand-in, a negative number, until somebody saw it.

#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <kubernel/testing/history.h>

namespace kubernel::testing {

/// One key.
struct ModelKey {
  bool exists = false;
  storage::Revision created = 0;
  storage::Revision modified = 0;
  storage::Revision after = 0;  ///< A stand-in in `modified` is for a revision above this.
  std::int64_t version = 0;
  storage::LeaseId lease = 0;
  const std::string* value = nullptr;

  bool operator==(const ModelKey& other) const;
};

struct ModelLease {
  bool alive = false;
  Clock::TimePoint due;  ///< It does not expire before.

  bool operator==(const ModelLease& other) const = default;
};

/// Threads: a value. Lifetime: names and values outlive it.
struct Model {
  const std::vector<std::string>* names = nullptr;           ///< Ascending.
  const std::vector<storage::LeaseId>* lease_ids = nullptr;  ///< Ascending; all others are taken for granted.
  std::vector<ModelKey> keys;
  std::vector<ModelLease> leases;
  storage::Revision last = 0;  ///< No known revision of these keys is above it.

  bool operator==(const Model& other) const {
    return last == other.last && keys == other.keys && leases == other.leases;
  }
  std::size_t hash() const;

  void set(std::size_t key, const storage::KeyValue& kv);
  ModelKey& key(const std::string& name);
  /// The keys of a range, as positions.
  std::pair<std::size_t, std::size_t> within(const std::string& start, const std::string& end) const;
  /// Null: it is not one of `lease_ids`.
  ModelLease* lease(storage::LeaseId id);
  bool alive(storage::LeaseId id);
  /// The lease ends, and its keys are gone.
  void end(std::size_t lease);
};

/// How a call is to be made.
struct ModelCall {
  const Operation* operation = nullptr;
  storage::Revision stand_in = 0;  ///< For the revision of a write with an unknown outcome.
  unsigned branches = 0;           ///< Which conditions of a transaction with an unknown outcome hold, a bit for each.
  Clock::TimePoint latest;         ///< It is not later than this when the call takes effect.
  /// Reads inside a transaction of an older revision; empty: they are not looked at.
  std::function<std::vector<storage::KeyValue>(const storage::RangeOptions&)> past;
};

/// Makes the call; false when it cannot have returned what it did in this state, which is then of no use any more.
/// `why`, unless null, is told what is different.
bool apply(Model& model, const ModelCall& call, std::string* why);

/// How many transactions are inside this one, itself included.
std::size_t transactions_in(const storage::Transaction& transaction);

/// Whether what a transaction returned says that it wrote.
bool has_written(const storage::Transaction& transaction, const storage::TransactionResult& result);

/// Calls `visit` with every range of keys a transaction may read, compare or write, in either branch.
void for_each_range(const storage::Transaction& transaction,
                    const std::function<void(const storage::KeyRange&)>& visit);

/// Calls `visit` with every range of keys a transaction may remove, in either branch.
void for_each_removed(const storage::Transaction& transaction,
                      const std::function<void(const storage::KeyRange&)>& visit);

/// Calls `visit` with every write of a key a transaction may do, in either branch.
void for_each_put(const storage::Transaction& transaction,
                  const std::function<void(const storage::PutOperation&)>& visit);

}  // namespace kubernel::testing
