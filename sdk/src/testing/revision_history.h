// SPDX-License-Identifier: Apache-2.0
//
// What a history's revisions say happened: one write after the other.

#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <kubernel/testing/history.h>

namespace kubernel::testing {

/// What one write did to one key, as everybody who saw it must have seen it.
struct Change {
  bool deleted = false;
  storage::KeyValue kv;                       ///< Deleted: key and `modified` only.
  std::optional<storage::KeyValue> previous;  ///< What it replaced.
};

/// One applied write, or the end of a lease.
struct AppliedWrite {
  const Operation* operation = nullptr;  ///< Null: a lease ended.
  storage::LeaseId ended = 0;
  Moment called = 0;            ///< It was not before.
  Moment returned = kNever;     ///< It was not after.
  std::vector<Change> changes;  ///< One for each key.
};

/// The order of all writes, from the acknowledged ones, and from those with an unknown outcome that somebody saw.
class RevisionHistory {
 public:
  /// Finds the writes and replays them. What is wrong is in wrong().
  explicit RevisionHistory(const History& history);
  RevisionHistory(const RevisionHistory&) = delete;
  RevisionHistory& operator=(const RevisionHistory&) = delete;

  const std::string& wrong() const { return wrong_; }
  const std::map<storage::Revision, AppliedWrite>& writes() const { return writes_; }
  /// The key as of `revision`; null when it did not exist.
  const storage::KeyValue* at(const std::string& key, storage::Revision revision) const;
  /// The revision of the key's next write after `revision`; nothing when there is none.
  std::optional<storage::Revision> next_write(const std::string& key, storage::Revision revision) const;
  /// All that existed in [start, end) at `revision`, by key.
  std::vector<storage::KeyValue> range(const std::string& start, const std::string& end,
                                       storage::Revision revision) const;
  /// What is wrong with what a transaction told when it met the store as it was at `before`; empty: nothing. `changed`,
  /// unless null, is told what it made of the keys it may have written.
  std::string check_transaction(const Operation& operation, storage::Revision before, storage::Revision own,
                                std::map<std::string, std::optional<storage::KeyValue>>* changed) const;
  storage::Revision head() const { return writes_.empty() ? history_.start : writes_.rbegin()->first; }

 private:
  void add(storage::Revision revision, const Operation& operation);
  bool add_end(const storage::Event& event);
  void saw(const storage::KeyValue& kv, const Operation& by);
  void saw_event(const storage::Event& event);
  void find_acknowledged();
  void find_seen();
  void match(storage::Revision revision, const Operation* found, const std::string& what);
  void check_gaps();
  bool explain(const std::string& key, storage::Revision wanted, storage::Revision before);
  void forget(const Operation* unknown);
  void change(AppliedWrite& write, storage::Revision revision, const std::string& key,
              const std::optional<storage::KeyValue>& kv);
  void apply(storage::Revision revision, AppliedWrite& write);
  std::string replay_one(storage::Revision revision, AppliedWrite& write);
  std::string replay_transaction(storage::Revision revision, AppliedWrite& write);
  std::string replay_end(storage::Revision revision, AppliedWrite& write);
  void replay();

  const History& history_;
  std::map<storage::Revision, AppliedWrite> writes_;
  std::multimap<std::string, const Operation*> unknown_;  // By key; those not matched yet.
  std::set<const Operation*> unmatched_;                  // The same.
  std::map<std::string, std::map<storage::Revision, std::optional<storage::KeyValue>>> keys_;
  std::string wrong_;
};

std::string describe(const storage::KeyValue& kv);
std::string describe(const AppliedWrite& write);

}  // namespace kubernel::testing
