// SPDX-License-Identifier: Apache-2.0
//
// The tables, and how older ones are brought up to date.

#include <array>
#include <string>
#include <vector>

#include "pg_session.h"

namespace kubernel::storage_postgres {

using storage_server::Rows;
using storage_server::Session;

namespace {

// Element i brings a store of version i to version i + 1. Only ever append.
constexpr std::array kMigrations = {R"sql(
  CREATE TABLE kubernel_log (
    id       bigint PRIMARY KEY,
    name     bytea NOT NULL,
    created  bigint NOT NULL,
    version  bigint NOT NULL,
    lease    bigint NOT NULL,
    previous bigint NOT NULL,
    deleted  smallint NOT NULL,
    checksum bigint NOT NULL,
    value    bytea NOT NULL
  );
  CREATE TABLE kubernel_keys (
    name     bytea PRIMARY KEY,
    id       bigint NOT NULL,
    live     smallint NOT NULL,
    lease    bigint NOT NULL
  ) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
  CREATE INDEX kubernel_keys_by_lease ON kubernel_keys (lease) WHERE lease <> 0;
  CREATE TABLE kubernel_leases (id bigint PRIMARY KEY, ttl bigint NOT NULL, renewals bigint NOT NULL);
  CREATE TABLE kubernel_meta (
    id        smallint PRIMARY KEY,
    version   bigint NOT NULL,  -- Of this schema.
    head      bigint NOT NULL,
    compacted bigint NOT NULL,
    swept     bigint NOT NULL
  ) WITH (fillfactor = 10);
  INSERT INTO kubernel_meta VALUES (1, 0, 1, 0, 0)
)sql"};
constexpr auto kSchemaVersion = static_cast<std::int64_t>(kMigrations.size());

// Any number that other programs in the database do not use for the same.
constexpr char kOneAtATime[] = "SELECT pg_advisory_xact_lock(5647394120431)";

Result<void> run(Session& session, const std::vector<std::string>& statements) {
  KUBERNEL_CHECK_OK(session.script(statements));
  return {};
}

Result<std::int64_t> version_of(Session& session) {
  KUBERNEL_TRY(Rows tables,
               session.query("SELECT count(*) FROM pg_class WHERE oid = to_regclass('kubernel_meta')", {}));
  if (!tables.next() || tables.number(0) == 0) return std::int64_t{0};
  KUBERNEL_TRY(Rows version, session.query("SELECT version FROM kubernel_meta WHERE id = 1", {}));
  if (version.next()) return version.number(0);
  return Error(Reason::ServiceUnavailable, "the table kubernel_meta is empty; is it another program's?");
}

Result<void> migrate(Session& session) {
  KUBERNEL_TRY(const std::int64_t version, version_of(session));
  if (version > kSchemaVersion) {
    return Error(Reason::ServiceUnavailable,
                 "has schema version " + std::to_string(version) + ", this program knows versions up to " +
                     std::to_string(kSchemaVersion) + "; use the newer program that wrote it");
  }
  if (version == kSchemaVersion) return {};
  for (auto at = version; at < kSchemaVersion; ++at) {
    KUBERNEL_CHECK_OK(run(session, {kMigrations.at(static_cast<std::size_t>(at))}));
  }
  return run(session, {"UPDATE kubernel_meta SET version = " + std::to_string(kSchemaVersion) + " WHERE id = 1"});
}

Result<void> try_writing(Session& session) {
  return run(session, {"UPDATE kubernel_meta SET head = head WHERE id = 1"});
}

Result<void> in_transaction(Session& session, std::vector<std::string> begin, Result<void> (*work)(Session&),
                            const char* end) {
  auto done = run(session, begin);
  if (done) done = work(session);
  if (done) return run(session, {end});
  (void)run(session, {"ROLLBACK"});  // What went wrong is said already.
  return done;
}

}  // namespace

Result<void> prepare_schema(Session& session) {
  KUBERNEL_CHECK_OK(in_transaction(session, {"BEGIN", kOneAtATime}, migrate, "COMMIT"));
  return in_transaction(session, {"BEGIN"}, try_writing, "ROLLBACK");
}

}  // namespace kubernel::storage_postgres
