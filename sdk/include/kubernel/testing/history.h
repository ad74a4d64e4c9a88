// SPDX-License-Identifier: Apache-2.0
//
// What several clients did to a store at once, and what they saw: recorded, and then checked against the promises
// storage::Backend makes. A checker needs to know nothing of how the store works inside, so it judges every backend,
// also one that was killed and opened again: each client's own record is the truth.
//
//   History history;
//   { RecordedClient client(history, store, 0); client.put("/a", "1", 0); ... }      // one per thread
//   EXPECT_EQ(violation(history), "");

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/storage/backend.h>

namespace kubernel::testing {

/// A point in the one order in which calls began and ended.
using Moment = std::uint64_t;
constexpr Moment kNever = std::numeric_limits<Moment>::max();

/// One call to the store.
struct Operation {
  enum class Kind : std::uint8_t { Put, Remove, Get, Range, Transact, Grant, Renew, Revoke };
  /// Refused: it failed and was certainly not applied. Unknown: it may have been, then or later.
  enum class Outcome : std::uint8_t { Done, Refused, Unknown };

  int client = 0;
  Kind kind = Kind::Get;
  Outcome outcome = Outcome::Unknown;
  Moment called = 0;
  Moment returned = kNever;                                ///< Unknown: never.
  Clock::TimePoint called_at;                              ///< Read before the call.
  Clock::TimePoint returned_at = Clock::TimePoint::max();  ///< Read after it.

  std::string key;  ///< Range: the first key.
  std::string end;  ///< Range only: the first key not included; empty: to the end.
  std::string value;
  storage::Revision expected = 0;
  storage::LeaseId lease = 0;   ///< Of a put; of grant, renew and revoke.
  std::chrono::seconds ttl{0};  ///< Grant, renew.
  storage::Revision at = 0;     ///< Reads; 0: now.
  std::size_t limit = 0;
  storage::Transaction transaction;

  bool applied = false;
  storage::Revision revision = 0;            ///< Of the write, of the store when it lost, of the page.
  std::optional<storage::KeyValue> current;  ///< What get found; what beat a write; what a remove removed.
  std::vector<storage::KeyValue> items;      ///< Range.
  bool more = false;
  storage::TransactionResult result;
  /// Refused because a lease is not there, or, for a grant, because it is.
  bool by_lease = false;
  /// Not everything was kept: of a write only whether it was applied, and at which revision; of a get only the value
  /// and its revision.
  bool terse = false;
};

/// "client 3: put /a="v17" if 12: applied at 15 [104, 109]".
std::string describe(const Operation& operation);

/// What one watch delivered, take by take. A watch that was resumed is one record per watch: each starts at the
/// revision after the last progress of the one before, and the checker then knows that nothing is missing or told
/// twice.
struct WatchRecord {
  std::string start;
  std::string end;
  storage::Revision from = 0;         ///< As asked for; 0: from now.
  storage::Revision must_follow = 0;  ///< `from` 0: the store's revision when the watch had been opened for certain.
  std::vector<storage::WatchBatch> batches;
};

/// Threads: see each member.
struct History {
  storage::Revision start = 1;                       ///< The store's revision before the first operation.
  std::map<std::string, storage::KeyValue> initial;  ///< What it held then.
  std::vector<Operation> operations;                 ///< In no particular order.
  std::vector<WatchRecord> watches;
  const Clock* clock = nullptr;  ///< What leases go by; without one they may expire at any time.

  std::atomic<Moment> moments = 0;  ///< The last one taken. Threads: any.
  std::mutex mutex;                 ///< Guards operations and watches while clients record.
};

/// Calls the store and keeps what was called and what came back; adds it to the history when it is destroyed.
///
/// Threads: one client per thread. Lifetime: the history and the store outlive it.
class RecordedClient {
 public:
  RecordedClient(History& history, storage::Backend& store, int number);
  ~RecordedClient();
  RecordedClient(const RecordedClient&) = delete;
  RecordedClient& operator=(const RecordedClient&) = delete;

  Result<storage::CasResult> put(std::string_view key, std::string_view value, storage::Revision expected,
                                 storage::LeaseId lease = 0);
  Result<storage::CasResult> remove(std::string_view key, storage::Revision expected);
  Result<std::optional<storage::KeyValue>> get(std::string_view key, storage::Revision at = 0);
  /// Always with values, which are what is checked.
  Result<storage::Page> range(const storage::RangeOptions& options);
  Result<storage::TransactionResult> transact(storage::Transaction transaction);
  Result<storage::LeaseId> grant(storage::LeaseId id, std::chrono::seconds ttl);
  Result<std::chrono::seconds> renew(storage::LeaseId id);
  Result<void> revoke(storage::LeaseId id);

 private:
  Operation begin(Operation::Kind kind, std::string_view key);
  void returned(Operation& operation, const Error* error);
  void finish(Operation operation, const Result<storage::CasResult>& result);

  History& history_;
  storage::Backend& store_;
  const int number_;
  std::vector<Operation> operations_;
};

/// A watch whose batches are kept; they are added to the history when it is destroyed.
///
/// Threads: as storage::Watch. Lifetime: as RecordedClient.
class RecordedWatch {
 public:
  RecordedWatch(History& history, storage::Backend& store, storage::WatchOptions options);
  ~RecordedWatch();
  RecordedWatch(const RecordedWatch&) = delete;
  RecordedWatch& operator=(const RecordedWatch&) = delete;

  /// Errors: of opening the watch, or of Watch::take().
  Result<storage::WatchBatch> take(std::size_t max_events);
  /// The last progress told; what to resume after. 0: none yet.
  storage::Revision progress() const;
  storage::Watch* watch() { return watch_ ? watch_->get() : nullptr; }

 private:
  History& history_;
  WatchRecord record_;
  Result<std::unique_ptr<storage::Watch>> watch_;
};

/// Whether the calls can be put in one order that agrees with real time and gives each what it returned (Wing and
/// Gong's search with Lowe's memory of what was tried). Keys that no transaction and no lease joins are judged apart: a
/// range is a read of each of its parts then. A call with an unknown outcome may be anywhere after its beginning, or
/// nowhere; a lease ends when it is revoked or at any moment after it is due, and its keys with it. Uses revisions only
/// as the opaque versions compare-and-swap needs. A lease whose grant was not recorded never ends.
///
/// Returns what is wrong, in several lines: the operations that are explained last and those that cannot be; empty when
/// nothing is. So it does when there are more orders than it tries. Precondition: the history's writers are done.
std::string linearizability_violation(const History& history);

/// Whether the revisions tell the same story to everybody: each applied write has its own, one more than the one
/// before; their order agrees with real time; compare-and-swap and conditions compared with what was there; a
/// transaction did all it was to do; each read, now or at a revision, is the whole and exact state of one moment that
/// lies between its beginning and its end; the end of a lease takes all its keys, and not before it may. Writes with
/// an unknown outcome need values nobody else writes. Nobody but a watch is told the revision at which a lease ended or
/// an unknown transaction was done: a history with any needs a watch of all keys from its beginning to its end. An
/// unknown call that removes keys of a lease cannot be told from the lease's end: a history should not have both.
///
/// Returns as linearizability_violation().
std::string revision_violation(const History& history);

/// Whether every watch was ordered, complete, unique, atomic and resumable, and each event tells the write it is of.
///
/// Returns as linearizability_violation().
std::string watch_violation(const History& history);

/// The first of the three that finds something.
std::string violation(const History& history);

}  // namespace kubernel::testing
