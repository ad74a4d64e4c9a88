// SPDX-License-Identifier: Apache-2.0
//
// SqliteDatabase: the revisioned log in one SQLite file.

#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <kubernel/storage/backend.h>

#include "connection.h"
#include "database.h"
#include "store_file.h"

namespace kubernel::storage_sqlite {

/// Threads: as storage_common::Database. Readers have connections of their own and never wait for the writer.
class SqliteDatabase final : public storage_common::Database {
 public:
  SqliteDatabase(std::unique_ptr<StoreFile> file, const storage::BackendContext& context);
  ~SqliteDatabase() override;

  storage_common::Writer& writer() override;
  bool shared() const override { return false; }
  Result<storage_common::Marks> marks() override;
  Result<std::vector<storage_common::LeaseRecord>> leases() override;
  Result<std::optional<storage::KeyValue>> get(const CallContext& ctx, std::string_view key,
                                               storage::Revision at) override;
  Result<storage::Page> range(const CallContext& ctx, const storage::RangeOptions& options) override;
  Result<std::int64_t> count(const CallContext& ctx, const storage::KeyRange& range) override;
  Result<storage::WatchBatch> changes(storage::Revision from, storage::Revision to, const storage::KeyRange& range,
                                      std::size_t max_events) override;
  Result<std::int64_t> size_bytes() override;
  std::string stopped() const override;
  std::unique_ptr<Subscription> on_foreign_write(std::function<void()>) override { return nullptr; }

 private:
  class SqliteWriter;
  class Reading;

  Result<void> check(const CallContext& ctx) const;
  Result<storage::Page> range_now(const CallContext& ctx, const storage::RangeOptions& options, Connection& db);
  Result<storage::Page> range_then(const CallContext& ctx, const storage::RangeOptions& options, Connection& db);

  const std::unique_ptr<StoreFile> file_;
  Clock& clock_;
  std::unique_ptr<SqliteWriter> writer_;
  std::mutex readers_mutex_;
  std::vector<std::unique_ptr<Connection>> idle_readers_;
};

}  // namespace kubernel::storage_sqlite
