// SPDX-License-Identifier: Apache-2.0
#include "mysql_backend.h"

#include <utility>

#include "log_store.h"
#include "mysql_session.h"
#include "server_config.h"
#include "server_database.h"

namespace kubernel::storage_mysql {
namespace {

constexpr int kDefaultPort = 3306;

Result<void> connect_and_prepare(MysqlServer& server, Logger& log) {
  KUBERNEL_TRY(auto session, server.connect());
  return prepare_schema(*session, log);
}

}  // namespace

Result<std::unique_ptr<storage::Backend>> open_mysql(const storage::BackendContext& context) {
  KUBERNEL_TRY(const auto config,
               storage_server::parse_config("storage-mysql", "mysql", kDefaultPort, context.config_json));
  auto server = std::make_unique<MysqlServer>(config);
  if (auto prepared = connect_and_prepare(*server, context.log); !prepared) {
    return std::move(prepared).error().wrap(server->name());
  }
  auto database = std::make_unique<storage_server::ServerDatabase>(std::move(server), config, context);
  return storage_common::make_log_store(std::move(database), context, {});
}

}  // namespace kubernel::storage_mysql
