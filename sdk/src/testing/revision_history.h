// SPDX-License-Identifier: Apache-2.0
//
// What a history's revisions say happened: one write after the other.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <kubernel/testing/history.h>

namespace kubernel::testing {

/// One applied write, as everybody who saw it must have seen it.
struct AppliedWrite {
  const Operation* operation = nullptr;
  bool deleted = false;
  storage::KeyValue kv;                       ///< Deleted: key and `modified` only.
  std::optional<storage::KeyValue> previous;  ///< What it replaced.
};

/// The order of all writes, from the acknowledged ones, and from those with an unknown outcome that somebody saw.
class RevisionHistory {
 public:
  /// Finds the writes and replays them. What is wrong is in wrong().
  explicit RevisionHistory(const History& history);

  const std::string& wrong() const { return wrong_; }
  const std::map<storage::Revision, AppliedWrite>& writes() const { return writes_; }
  /// The key as of `revision`; null when it did not exist.
  const storage::KeyValue* at(const std::string& key, storage::Revision revision) const;
  /// The revision of the key's next write after `revision`; nothing when there is none.
  std::optional<storage::Revision> next_write(const std::string& key, storage::Revision revision) const;
  /// All that existed in [start, end) at `revision`, by key.
  std::vector<storage::KeyValue> range(const std::string& start, const std::string& end,
                                       storage::Revision revision) const;
  storage::Revision head() const { return writes_.empty() ? history_.start : writes_.rbegin()->first; }

 private:
  bool add(storage::Revision revision, const Operation& operation);
  void saw(const storage::KeyValue& kv, const Operation& by);
  void saw_event(const storage::Event& event);
  void find_acknowledged();
  void find_seen();
  void match(storage::Revision revision, const Operation* found, const std::string& what);
  void check_gaps();
  bool explain(const std::string& key, storage::Revision wanted, storage::Revision before);
  void forget(const Operation* unknown);
  void apply(storage::Revision revision, AppliedWrite& write);
  void replay();

  const History& history_;
  std::map<storage::Revision, AppliedWrite> writes_;
  std::multimap<std::string, const Operation*> unknown_;  // By key; those not matched yet.
  std::map<std::string, std::map<storage::Revision, std::optional<storage::KeyValue>>> keys_;
  std::string wrong_;
};

std::string describe(const storage::KeyValue& kv);

}  // namespace kubernel::testing
