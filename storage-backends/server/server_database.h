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
class ServerDatabase final : public storage_common::Database {
 public:
  ServerDatabase(std::unique_ptr<Server> server, const ServerConfig& config, const storage::BackendContext& context);
  ~ServerDatabase() override;

  storage_common::Writer& writer() override { return writer_; }
  Result<storage_common::DatabaseState> state() override;
  Result<std::optional<storage::KeyValue>> get(const CallContext& ctx, std::string_view key,
                                               storage::Revision at) override;
  Result<storage::Page> range(const CallContext& ctx, const storage::RangeOptions& options) override;
  Result<std::int64_t> count(const CallContext& ctx, const storage_common::KeyRange& range) override;
  Result<storage::WatchBatch> changes(storage::Revision from, storage::Revision to,
                                      const storage_common::KeyRange& range, std::size_t max_events) override;
  Result<std::int64_t> size_bytes() override;

 private:
  struct Snapshot {
    storage::Revision at = 0;
    storage::Revision compacted = 0;
  };

  // Runs `read` in a snapshot that can answer for `at` (0: now).
  Result<void> in_snapshot(const CallContext& ctx, storage::Revision at,
                           const std::function<Result<void>(Session&, const Snapshot&)>& read);
  Result<Snapshot> begin(Session& session, storage::Revision at);

  const std::unique_ptr<Server> server_;
  Dialer dialer_;
  ServerWriter writer_;
  SessionPool pool_;
};

}  // namespace kubernel::storage_server
