// SPDX-License-Identifier: Apache-2.0
#include "server_bench.h"

#include <stdlib.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <utility>

#include <kubernel/base/child_process.h>

#ifdef KUBERNEL_TEST_ETCD
#include "etcd_bench.h"
#endif
#ifdef KUBERNEL_TEST_POSTGRES
#include "postgres_backend.h"
#endif
#ifdef KUBERNEL_TEST_MYSQL
#include "mysql_backend.h"
#endif
#include "testing/real_server.h"

namespace kubernel::bench {
namespace {

using storage_server::testing::Kind;
using storage_server::testing::RealServer;

using OpenBackend = Result<std::unique_ptr<storage::Backend>> (*)(const storage::BackendContext&);

OpenBackend opener(const std::string& backend) {
#ifdef KUBERNEL_TEST_POSTGRES
  if (backend == "postgres") return storage_postgres::open_postgres;
#endif
#ifdef KUBERNEL_TEST_MYSQL
  if (backend == "mysql") return storage_mysql::open_mysql;
#endif
  return nullptr;
}

void raw_postgres(const RealServer& server, const std::string& database, double seconds) {
  server.run(database, "CREATE TABLE raw (id bigserial PRIMARY KEY, value bytea NOT NULL)");
  const std::string script = (server.directory() / "raw.sql").string();
  std::ofstream(script) << "INSERT INTO raw (value) VALUES (decode(repeat('76', 256), 'hex'));\n";
  std::string program;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql")) {
    program = (entry.path() / "bin" / "pgbench").string();
  }
  const auto done = run_child({}, {.argv = {program, "-n", "-M", "prepared", "-c", "64", "-j", "2", "-T",
                                            std::to_string(std::max(1, static_cast<int>(seconds))), "-f", script, "-h",
                                            server.directory().string(), "-U", "postgres", database},
                                   .env = {"PATH=/usr/bin:/bin"}});
  if (!done || done->exit_code != 0) {
    std::printf("raw    pgbench failed: %s\n", done ? done->standard_error.c_str() : done.error().message().c_str());
    return;
  }
  const auto at = done->standard_output.find("tps = ");
  std::printf("raw    64 clients, one INSERT of 256 B per commit (pgbench): %8.0f writes/s\n",
              at == std::string::npos ? 0 : std::atof(done->standard_output.c_str() + at + 6));
}

void raw_mysql(const RealServer& server, const std::string& database, double seconds) {
  server.run(database,
             "CREATE TABLE raw (id bigint AUTO_INCREMENT PRIMARY KEY, value longblob NOT NULL) ENGINE = InnoDB");
  const int queries = 64 * std::max(1, static_cast<int>(seconds)) * 100;
  const auto began = std::chrono::steady_clock::now();
  const auto done =
      run_child({}, {.argv = {"mariadb-slap", "--no-defaults", "--user=root",
                              "--socket=" + (server.directory() / "socket").string(), "--create-schema=" + database,
                              "--no-drop", "--concurrency=64", "--number-of-queries=" + std::to_string(queries),
                              "--query", "INSERT INTO raw (value) VALUES (repeat('v', 256))"},
                     .env = {"PATH=/usr/bin:/bin"}});
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  if (!done || done->exit_code != 0) {
    std::printf("raw    mariadb-slap failed: %s\n",
                done ? done->standard_error.c_str() : done.error().message().c_str());
    return;
  }
  std::printf("raw    64 clients, one INSERT of 256 B per commit (mariadb-slap): %8.0f writes/s\n", queries / took);
}

}  // namespace

MeasuredServer start_server(const std::string& backend, const std::filesystem::path& directory, std::string& why) {
#ifdef KUBERNEL_TEST_ETCD
  if (backend == "etcd") return start_etcd(directory, why);
#endif
  const OpenBackend open = opener(backend);
  if (open == nullptr) {
    why = "no backend \"" + backend + "\" was built; there are sqlite, postgres, mysql, etcd";
    return {};
  }
  // The server runs as a user of its own, who must reach its files.
  for (auto at = directory; at != at.parent_path(); at = at.parent_path()) {
    std::error_code not_ours;
    std::filesystem::permissions(at, std::filesystem::perms::others_exec, std::filesystem::perm_options::add, not_ours);
    if (at == directory.parent_path()) break;
  }
  std::filesystem::permissions(directory, std::filesystem::perms::all);
  ::setenv("TMPDIR", directory.c_str(), 1);
  const Kind kind = backend == "postgres" ? Kind::Postgres : Kind::MariaDb;
  std::shared_ptr<RealServer> server = RealServer::start(kind, {.durable = true});
  if (!server) {
    why = RealServer::missing(kind) + " is not installed";
    return {};
  }
  const std::string database = server->make_database();
  MeasuredServer measured;
  measured.process = server;
  measured.open = [server, database, open](storage::BackendContext context) {
    context.config_json = R"({"url":")" + server->url(database) + R"("})";
    return open(context);
  };
  measured.measure_raw = [server, database, kind](double seconds) {
    (kind == Kind::Postgres ? raw_postgres : raw_mysql)(*server, database, seconds);
  };
  return measured;
}

}  // namespace kubernel::bench
