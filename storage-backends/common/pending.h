// SPDX-License-Identifier: Apache-2.0
//
// Pending: what a batch of writes makes of the keys it touches, before it is committed.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <kubernel/storage/backend.h>

#include "commit_queue.h"
#include "database.h"
#include "transaction.h"

namespace kubernel::storage_common {

/// Lives inside one write transaction of `database`'s writer. A write that fails leaves nothing behind.
class Pending final : private TransactionView {
 public:
  /// Errors: NotFound.
  using CheckLease = std::function<Result<void>(storage::LeaseId)>;

  /// `marks`: what the writer's begin() returned.
  Pending(Database& database, const Marks& marks, CheckLease check_lease);

  /// Reads the keys all writes are about with one call. The views stay valid as long as this object.
  void load(std::vector<std::string_view> keys);

  Result<storage::CasResult> apply(const Write& write);
  Result<storage::TransactionResult> transact(const storage::Transaction& transaction);
  /// Deletes live keys under one revision.
  Result<void> remove_all(std::span<const std::string> keys);

  std::span<const Row> rows() const { return rows_; }
  std::vector<LogEntry> take_entries() { return std::move(entries_); }
  std::int64_t live_change() const { return live_change_; }

 private:
  using Newest = Result<std::optional<Row>>;

  storage::Revision revision() const override { return head_; }
  Result<std::shared_ptr<const storage::KeyValue>> current(std::string_view key) override;
  Result<storage::Page> range(const storage::RangeOptions& options) override;
  Result<void> check_lease(storage::LeaseId id) override;

  Newest& newest(std::string_view key);
  void load_owned(const std::vector<std::string_view>& keys);
  Result<void> write(const std::vector<Change>& changes);
  void add(Newest& newest, const std::shared_ptr<const storage::KeyValue>& current, Row row);
  void overlay();

  Database& database_;
  Writer& writer_;
  const Marks marks_;
  const CheckLease check_lease_;
  storage::Revision head_;
  std::unordered_map<std::string_view, Newest> newest_;
  std::deque<std::string> owned_keys_;  // Those load() was not told of.
  std::vector<Row> rows_;
  std::vector<LogEntry> entries_;  // One for each row.
  std::int64_t live_change_ = 0;
  Changes changes_;           // The rows in front of the database; made when a range is read.
  std::size_t overlaid_ = 0;  // How many rows are in it.
};

}  // namespace kubernel::storage_common
