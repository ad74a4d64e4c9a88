// SPDX-License-Identifier: Apache-2.0
//
// ServerDatabase: the revisioned log in the tables of a database server.

#pragma once

#include <functional>
#include <memory>

#include <kubernel/storage/backend.h>

#include "database.h"
#include "server_config.h"
#include "server_writer.h"
#include "session.h"
#include "session_pool.h"

namespace kubernel::storage_server {

/// Threads: as storage_common::Database. Readers have connections of their own and never wait for the writer.
/// Lifetime: `context` outlives it.
class ServerDatabase final : public storage_common::Database {
 public:
  ServerDatabase(std::unique_ptr<Server> server, const ServerConfig& config, const storage::BackendContext& context);
  ~ServerDatabase() override;

  storage_common::Writer& writer() override { return writer_; }
  bool shared() const override { return true; }
  Result<storage_common::Marks> marks() override;
  Result<std::vector<storage_common::LeaseRecord>> leases() override;
  Result<std::optional<storage::KeyValue>> get(const CallContext& ctx, std::string_view key,
                                               storage::Revision at) override;
  Result<storage::Page> range(const CallContext& ctx, const storage::RangeOptions& options) override;
  Result<std::int64_t> count(const CallContext& ctx, const storage::KeyRange& range) override;
  Result<storage::WatchBatch> changes(storage::Revision from, storage::Revision to, const storage::KeyRange& range,
                                      std::size_t max_events) override;
  Result<std::int64_t> size_bytes() override;
  std::string stopped() const override { return writer_.stopped(); }
  std::unique_ptr<Subscription> on_foreign_write(std::function<void()> changed) override;

 private:
  // Runs `read` in a snapshot that can answer for `at` (0: now), with that revision and the compacted one.
  Result<void> in_snapshot(
      const CallContext& ctx, storage::Revision at,
      const std::function<Result<void>(Session&, storage::Revision at, storage::Revision compacted)>& read);
  Result<storage_common::Marks> begin(Session& session, storage::Revision at);

  const std::unique_ptr<Server> server_;
  const storage::BackendContext context_;
  Dialer dialer_;
  ServerWriter writer_;
  SessionPool pool_;
};

}  // namespace kubernel::storage_server
