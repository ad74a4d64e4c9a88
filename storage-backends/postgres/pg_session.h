// SPDX-License-Identifier: Apache-2.0
//
// PgSession: a connection to a PostgreSQL server. The only file that knows libpqxx besides pg_listener.

#pragma once

#include <memory>
#include <string>

#include "server_config.h"
#include "session.h"

namespace kubernel::storage_postgres {

/// Writers of several processes queue for the one row of kubernel_meta; each commit is told on this channel.
constexpr char kChannel[] = "kubernel_store";

class PgServer final : public storage_server::Server {
 public:
  /// `self`: what this process calls itself in its notifications, letters and digits.
  PgServer(storage_server::ServerConfig config, std::string self);

  Result<std::unique_ptr<storage_server::Session>> connect() override;
  const storage_server::Dialect& dialect() const override { return dialect_; }
  const std::string& name() const override { return name_; }
  std::unique_ptr<Subscription> listen(const storage::BackendContext& context, std::function<void()> changed) override;

  /// What libpq connects with. Holds the password. Errors: ServiceUnavailable when that cannot be read.
  Result<std::string> connection_string() const;

 private:
  const storage_server::ServerConfig config_;
  const std::string self_;
  const std::string name_;
  const storage_server::Dialect dialect_;
};

/// Creates or migrates the tables, and makes sure that they can be written to.
///
/// Errors: ServiceUnavailable, one line without the server's name.
Result<void> prepare_schema(storage_server::Session& session);

}  // namespace kubernel::storage_postgres
