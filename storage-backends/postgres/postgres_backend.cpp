// SPDX-License-Identifier: Apache-2.0
#include "postgres_backend.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <utility>

#include "log_store.h"
#include "pg_session.h"
#include "server_config.h"
#include "server_database.h"

namespace kubernel::storage_postgres {
namespace {

constexpr int kDefaultPort = 5432;

// Different from other processes', on this machine and others, with all likelihood that is needed: two with the same
// name would notice each other's writes with their own next one only.
std::string own_name(const storage::BackendContext& context) {
  static std::atomic<int> stores = 0;
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(context.clock.wall_now().time_since_epoch());
  return "n" + std::to_string(now.count()) + "p" + std::to_string(::getpid()) + "s" + std::to_string(++stores);
}

Result<void> connect_and_prepare(PgServer& server) {
  KUBERNEL_TRY(auto session, server.connect());
  return prepare_schema(*session);
}

}  // namespace

Result<std::unique_ptr<storage::Backend>> open_postgres(const storage::BackendContext& context) {
  KUBERNEL_TRY(const auto config,
               storage_server::parse_config("storage-postgres", "postgresql", kDefaultPort, context.config_json));
  auto server = std::make_unique<PgServer>(config, own_name(context));
  if (auto prepared = connect_and_prepare(*server); !prepared) return std::move(prepared).error().wrap(server->name());
  auto database = std::make_unique<storage_server::ServerDatabase>(std::move(server), config, context);
  return storage_common::make_log_store(std::move(database), context, {});
}

}  // namespace kubernel::storage_postgres
