// SPDX-License-Identifier: Apache-2.0
//
// MysqlSession: a connection to a MySQL or MariaDB server. The only file that knows MySQL Connector/C++.

#pragma once

#include <memory>
#include <string>

#include "server_config.h"
#include "session.h"

namespace kubernel::storage_mysql {

/// Writers of several processes queue for the one row of kubernel_meta. The server cannot tell anybody of a commit.
class MysqlServer final : public storage_server::Server {
 public:
  explicit MysqlServer(storage_server::ServerConfig config);

  Result<std::unique_ptr<storage_server::Session>> connect() override;
  const storage_server::Dialect& dialect() const override { return dialect_; }
  const std::string& name() const override { return name_; }
  std::unique_ptr<Subscription> listen(const storage::BackendContext&, std::function<void()>) override {
    return nullptr;
  }

  /// Ends what another session runs; best effort. Blocks.
  void end_statement(const std::string& connection_id);

 private:
  const storage_server::ServerConfig config_;
  const std::string name_;
  const storage_server::Dialect dialect_;
};

/// Creates or migrates the tables, and makes sure that they can be written to.
///
/// Errors: ServiceUnavailable, one line without the server's name.
Result<void> prepare_schema(storage_server::Session& session, Logger& log);

}  // namespace kubernel::storage_mysql
