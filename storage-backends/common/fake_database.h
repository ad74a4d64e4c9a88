// SPDX-License-Identifier: Apache-2.0
//
// For tests: a database server in memory that several log stores share, and that fails when told to.

#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "database.h"

namespace kubernel::storage_common {

/// What is on the server. Lifetime: outlives its databases.
class FakeServer {
 public:
  explicit FakeServer(bool tells = true) : tells_(tells) {}

  /// A connection of one process.
  std::unique_ptr<Database> connect();

  /// The next commit is done, but its caller is told that the connection broke.
  std::atomic<bool> break_next_commit = false;
  /// Nobody is told of writes, and nobody who asks gets an answer.
  std::atomic<bool> cut_off = false;

 private:
  friend class FakeDatabase;
  friend class FakeWriter;
  struct Listener {
    const void* owner = nullptr;
    std::function<void()> changed;
  };
  class Listening;

  std::optional<Row> newest(std::string_view key) const {
    const auto found = keys_.find(key);
    return found == keys_.end() ? std::nullopt : std::optional(log_.at(found->second));
  }
  std::shared_ptr<const storage::KeyValue> as_of(std::string_view key, storage::Revision at) const;
  void tell(const void* writer);

  const bool tells_;
  std::mutex row_lock_;  // Held by the writer in a transaction.
  std::mutex listeners_mutex_;
  std::vector<std::shared_ptr<Listener>> listeners_;
  std::mutex mutex_;  // What follows is committed.
  Marks marks_;
  std::map<RowId, Row> log_;
  std::map<std::string, RowId, std::less<>> keys_;
  std::map<storage::LeaseId, LeaseRecord> leases_;
};

}  // namespace kubernel::storage_common
