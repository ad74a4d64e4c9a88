// SPDX-License-Identifier: Apache-2.0
//
// ServerWriter: the write transaction on a database server.

#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "database.h"
#include "recent_rows.h"
#include "session.h"
#include "session_pool.h"

namespace kubernel::storage_server {

/// Threads and errors: as storage_common::Writer. A lost connection is made anew by the next begin().
class ServerWriter final : public storage_common::Writer {
 public:
  explicit ServerWriter(Dialer& dialer);

  Result<storage_common::Marks> begin() override;
  std::vector<Result<std::optional<storage_common::Row>>> newest(std::span<const std::string_view> keys) override;
  Result<storage::Page> range(const storage::RangeOptions& options) override;
  Result<void> append(std::span<const storage_common::Row> rows) override;
  Result<std::vector<std::string>> leased(storage::LeaseId id) override;
  Result<std::optional<storage_common::LeaseRecord>> find_lease(storage::LeaseId id) override;
  Result<void> save_lease(const storage_common::LeaseRecord& lease) override;
  Result<void> erase_lease(storage::LeaseId id) override;
  Result<void> set_compacted(storage::Revision revision) override;
  Result<void> sweep(storage::Revision from, storage::Revision to) override;
  Result<void> commit() override;
  void rollback() override;

  /// Why writes cannot be made; empty when the last begin() succeeded. Threads: any.
  std::string stopped() const;

 private:
  Result<storage_common::Marks> begin_or_reconnect();
  Result<storage_common::Marks> try_begin();
  Result<Rows> query(const char* sql, std::initializer_list<Param> params);
  Result<void> execute(const char* sql, std::initializer_list<Param> params);
  Error named(Error error) const { return std::move(error).wrap(dialer_.server().name()); }

  Dialer& dialer_;
  const Dialect& dialect_;
  std::unique_ptr<Session> session_;
  storage::Revision head_ = 0;  // The highest revision seen.
  // Of this process's own commits, and only as long as no other process has written since: the head tells.
  storage_common::RecentRows recent_;
  std::vector<storage_common::Row> appended_;  // In this transaction.
  mutable std::mutex stopped_mutex_;
  std::string stopped_;
};

}  // namespace kubernel::storage_server
