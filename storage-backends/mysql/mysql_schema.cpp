// SPDX-License-Identifier: Apache-2.0
//
// The tables, and how older ones are brought up to date. Statements that change tables commit by themselves: each step
// can be repeated, and the version is raised when it is done.

#include <array>
#include <string>
#include <vector>

#include "mysql_session.h"

namespace kubernel::storage_mysql {

using storage_server::Rows;
using storage_server::Session;

namespace {

using Step = std::vector<std::string>;

// Element i brings a store of version i to version i + 1. Only ever append.
const std::vector<Step>& migrations() {
  static const std::vector<Step> steps = {{
      "CREATE TABLE IF NOT EXISTS kubernel_log ("
      " id BIGINT PRIMARY KEY,"
      " name VARBINARY(3072) NOT NULL,"
      " created BIGINT NOT NULL,"
      " version BIGINT NOT NULL,"
      " lease BIGINT NOT NULL,"
      " previous BIGINT NOT NULL,"
      " deleted TINYINT NOT NULL,"
      " checksum BIGINT NOT NULL,"
      " value LONGBLOB NOT NULL) ENGINE = InnoDB ROW_FORMAT = DYNAMIC",
      "CREATE TABLE IF NOT EXISTS kubernel_keys ("
      " name VARBINARY(3072) PRIMARY KEY,"
      " id BIGINT NOT NULL,"
      " live TINYINT NOT NULL,"
      " lease BIGINT NOT NULL,"
      " KEY by_lease (lease)) ENGINE = InnoDB ROW_FORMAT = DYNAMIC",
      "CREATE TABLE IF NOT EXISTS kubernel_leases ("
      " id BIGINT PRIMARY KEY, ttl BIGINT NOT NULL, renewals BIGINT NOT NULL) ENGINE = InnoDB",
  }};
  return steps;
}

Result<void> run(Session& session, std::vector<std::string> statements) {
  KUBERNEL_CHECK_OK(session.script(statements));
  return {};
}

Result<std::int64_t> number(Session& session, const std::string& sql) {
  const std::array<std::string, 1> statement = {sql};
  KUBERNEL_TRY(Rows rows, session.script(statement));
  return rows.next() ? rows.number(0) : std::int64_t{0};
}

// One process at a time changes the tables.
Result<void> lock(Session& session) {
  KUBERNEL_TRY(const auto got, number(session, "SELECT get_lock(concat('kubernel-schema-', database()), 30)"));
  if (got == 1) return {};
  return Error(Reason::ServiceUnavailable, "another process has been migrating the tables for 30 seconds");
}

Result<void> migrate(Session& session) {
  const auto known = static_cast<std::int64_t>(migrations().size());
  KUBERNEL_CHECK_OK(run(session, {"CREATE TABLE IF NOT EXISTS kubernel_meta ("
                                  " id TINYINT PRIMARY KEY, version BIGINT NOT NULL, head BIGINT NOT NULL,"
                                  " compacted BIGINT NOT NULL, swept BIGINT NOT NULL) ENGINE = InnoDB",
                                  "INSERT IGNORE INTO kubernel_meta VALUES (1, 0, 1, 0, 0)"}));
  KUBERNEL_TRY(auto version, number(session, "SELECT version FROM kubernel_meta WHERE id = 1"));
  for (; version < known; ++version) {
    Step step = migrations().at(static_cast<std::size_t>(version));
    step.push_back("UPDATE kubernel_meta SET version = " + std::to_string(version + 1) + " WHERE id = 1");
    KUBERNEL_CHECK_OK(run(session, std::move(step)));
  }
  return {};
}

// A schema that is up to date needs no right to create tables.
Result<bool> up_to_date(Session& session) {
  const auto known = static_cast<std::int64_t>(migrations().size());
  KUBERNEL_TRY(const auto exists, number(session,
                                         "SELECT count(*) FROM information_schema.tables WHERE table_schema = "
                                         "database() AND table_name = 'kubernel_meta'"));
  if (exists == 0) return false;
  KUBERNEL_TRY(const auto version, number(session, "SELECT max(version) FROM kubernel_meta"));
  KUBERNEL_CHECK_OK(storage_common::check_schema_version("", version, known));
  return version == known;
}

// InnoDB acknowledges commits it has not written when it is told to; that is the server's setting alone.
Result<void> check_durability(Session& session, Logger& log) {
  KUBERNEL_TRY(const auto flush, number(session, "SELECT @@innodb_flush_log_at_trx_commit"));
  if (flush != 1 && flush != 3) {
    log_warning(log, "the server may lose acknowledged writes on power loss: innodb_flush_log_at_trx_commit is not 1",
                {{"value", flush}});
  }
  return {};
}

}  // namespace

Result<void> prepare_schema(Session& session, Logger& log) {
  KUBERNEL_TRY(const bool ready, up_to_date(session));
  if (!ready) {
    KUBERNEL_CHECK_OK(lock(session));
    auto migrated = migrate(session);
    (void)run(session, {"DO release_lock(concat('kubernel-schema-', database()))"});  // It goes with the session, too.
    KUBERNEL_CHECK_OK(migrated);
  }
  KUBERNEL_CHECK_OK(check_durability(session, log));
  auto written = run(session, {"START TRANSACTION", "UPDATE kubernel_meta SET head = head WHERE id = 1"});
  (void)run(session, {"ROLLBACK"});
  return written;
}

}  // namespace kubernel::storage_mysql
