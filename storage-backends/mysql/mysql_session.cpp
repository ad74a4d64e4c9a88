// SPDX-License-Identifier: Apache-2.0
#include "mysql_session.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <mutex>
#include <utility>
#include <vector>

#include <cppconn/connection.h>
#include <cppconn/driver.h>
#include <cppconn/exception.h>
#include <cppconn/resultset.h>
#include <cppconn/resultset_metadata.h>
#include <cppconn/statement.h>

#include <kubernel/base/child_process.h>

#include "checksum.h"

namespace kubernel::storage_mysql {

using storage_common::Row;
using storage_server::append_hex;
using storage_server::Dialect;
using storage_server::first_line;
using storage_server::Param;
using storage_server::Rows;
using storage_server::ServerConfig;
using storage_server::Session;
using storage_server::TlsMode;

namespace {

// What an index entry may have in InnoDB, with its default page size.
constexpr std::size_t kLongestKey = 3072;
// The largest value a store takes (1.5 MB) is two characters a byte on the way.
constexpr std::int64_t kSmallestPacket = std::int64_t{4} << 20U;

// Errors the statement's time-out or an administrator's KILL QUERY has.
constexpr int kInterrupted = 1317;
constexpr int kMariaDbTimeout = 1969;
constexpr int kMysqlTimeout = 3024;
constexpr int kLockTimeout = 1205;

// READ COMMITTED: each statement of the writer sees what is committed, and locks only the rows it touches. Readers ask
// for a snapshot when they begin. The rest keeps the server's settings from changing what statements mean: strict
// types, times in UTC, following a key's history to its end, and not waiting for a writer that hangs for ever.
constexpr std::array kSettings = {
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET autocommit = 1, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00',"
    " innodb_lock_wait_timeout = 10"
    " /*M! , max_recursive_iterations = 4294967295, idle_transaction_timeout = 15 */"
    " /*!80000 , cte_max_recursion_depth = 4294967295 */"};

Dialect make_dialect() {
  return {
      .longest_key = kLongestKey,
      .begin_write = {"START TRANSACTION", "SELECT head, compacted, swept FROM kubernel_meta WHERE id = 1 FOR UPDATE"},
      .commit_write = {"COMMIT"},
      .begin_read = {"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                     "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
                     "SELECT head, compacted, swept FROM kubernel_meta WHERE id = 1"},
      .set_timeout =
          [](std::chrono::milliseconds time) {
            const std::string milliseconds = std::to_string(time.count());
            // MariaDB ends any statement, MySQL only those that read.
            return "SET autocommit = 1 /*M! , max_statement_time = " + milliseconds +
                   " / 1000 */ /*!80000 , max_execution_time = " + milliseconds + " */";
          },
      .save_lease = "REPLACE INTO kubernel_leases (id, ttl, renewals) VALUES (?, ?, ?)",
      .sweep_old =
          "DELETE old FROM kubernel_log newer STRAIGHT_JOIN kubernel_log old ON old.id = newer.previous"
          " WHERE newer.id >= ? AND newer.id < ? AND newer.previous > 0",
      // Not by a subquery: MariaDB asks that one for every key there is.
      .sweep_deleted_keys =
          "DELETE gone FROM kubernel_log deletion STRAIGHT_JOIN kubernel_keys gone ON gone.name = deletion.name"
          " WHERE deletion.id >= ? AND deletion.id < ? AND deletion.deleted = 1 AND gone.live = 0 AND gone.id < ?",
      .size_bytes =
          "SELECT coalesce(sum(data_length + index_length), 0) FROM information_schema.tables"
          " WHERE table_schema = database() AND table_name IN ('kubernel_log', 'kubernel_keys',"
          " 'kubernel_leases', 'kubernel_meta')",
  };
}

std::string literal(std::string_view bytes) {
  std::string out = "x'";
  out.reserve(bytes.size() * 2 + 3);
  append_hex(out, bytes);
  return out + "'";
}

void add_text(std::string& out, const Param& param) {
  struct Visitor {
    std::string& out;
    void operator()(std::int64_t number) const { out += std::to_string(number); }
    void operator()(std::string_view bytes) const { out += literal(bytes); }
    void operator()(std::span<const std::int64_t> numbers) const {
      char separator = '(';
      for (const std::int64_t number : numbers) {
        out += separator + std::to_string(number);
        separator = ',';
      }
      out += ')';
    }
    void operator()(std::span<const std::string_view> list) const {
      char separator = '(';
      for (const std::string_view bytes : list) {
        out += separator + literal(bytes);
        separator = ',';
      }
      out += ')';
    }
  };
  std::visit(Visitor{out}, param);
}

// The statement with its parameters in place. Numbers and hexadecimal digits need no quoting.
std::string with_params(std::string_view sql, std::initializer_list<Param> params) {
  std::string out;
  auto next = params.begin();
  for (const char c : sql) {
    if (c == '?') {
      add_text(out, *next++);
    } else {
      out += c;
    }
  }
  return out;
}

Rows rows_of(sql::ResultSet& result) {
  const unsigned columns = result.getMetaData()->getColumnCount();
  Rows rows(columns);
  rows.reserve(result.rowsCount());
  while (result.next()) {
    for (unsigned i = 1; i <= columns; ++i) {
      if (result.isNull(i)) {
        rows.add(std::nullopt);
      } else {
        rows.add(result.getString(i).asStdString());
      }
    }
  }
  return rows;
}

bool is_lost(int code) {
  switch (code) {
    case 1053:  // The server shuts down.
    case 1152:  // An aborted connection.
    case 1184:
    case 1927:  // Killed by an administrator, or idle in a transaction for too long.
    case 4031:  // Idle for too long.
      return true;
    default: return code >= 2000 && code < 3000;  // The client library's own.
  }
}

Error error_of(const sql::SQLException& error) {
  const std::string line = first_line(error.what());
  switch (error.getErrorCode()) {
    case kInterrupted:
    case kMariaDbTimeout:
    case kMysqlTimeout: return {Reason::Timeout, line};
    case kLockTimeout:
      return {Reason::ServiceUnavailable, "another process has been writing for too long (" + line + ")"};
    case 1142:
    case 1143:
    case 1370: return {Reason::ServiceUnavailable, line + "; grant the user all on the database"};
    case 1290:
    case 1836: return {Reason::ServiceUnavailable, line + "; is this a replica? name the primary in the url"};
    case 1021:
    case 1114: return {Reason::ServiceUnavailable, "the server's disk is full: " + line};
    default: return {Reason::ServiceUnavailable, line};
  }
}

// What to do about a connection that cannot be made.
std::string advice(int code) {
  switch (code) {
    case 1045: return "; check the user and its password file";
    case 1044: return "; grant the user all on the database";
    case 1049: return "; create it: CREATE DATABASE";
    case 1040: return "; raise the server's max_connections";
    case 2002:
    case 2003: return "; is the server running there?";
    case 2026: return "; check tls.caFile, or that the server offers TLS";
    default: return "";
  }
}

// The options the connector has no name for are handed to the client library as an option file in memory.
UniqueFd option_file(const storage_server::TlsOptions& tls) {
  std::string text = "[client]\n";
  if (tls.mode == TlsMode::Require || tls.mode == TlsMode::VerifyFull) text += "ssl-enforce=1\n";
  if (tls.mode == TlsMode::VerifyFull) text += "ssl-verify-server-cert=1\n";
  if (tls.mode != TlsMode::Disable && !tls.ca_file.empty()) text += "ssl-ca=" + tls.ca_file + "\n";
  if (tls.mode != TlsMode::Disable && !tls.cert_file.empty()) {
    text += "ssl-cert=" + tls.cert_file + "\nssl-key=" + tls.key_file + "\n";
  }
  UniqueFd file(::memfd_create("options", MFD_CLOEXEC));
  if (file && ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) file.reset();
  return file;
}

sql::Driver& driver() {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  return *::get_driver_instance();
}

class MysqlSession final : public Session {
 public:
  MysqlSession(MysqlServer& server, std::unique_ptr<sql::Connection> connection)
      : server_(server), connection_(std::move(connection)), statement_(connection_->createStatement()) {}

  // The server's packet size, and what interrupter() needs.
  Result<void> learn() {
    const std::array<std::string, 1> ask = {"SELECT connection_id(), @@max_allowed_packet"};
    KUBERNEL_TRY(Rows rows, script(ask));
    if (!rows.next()) return Error(Reason::ServiceUnavailable, "the server does not tell its connection's number");
    id_ = std::string(rows.bytes(0));
    packet_ = rows.number(1);
    if (packet_ >= kSmallestPacket) return {};
    return Error(Reason::ServiceUnavailable, "the server's max_allowed_packet is " + std::to_string(packet_) +
                                                 " bytes and must be at least 4M; set it to 16M");
  }

  Result<Rows> query(const char* sql, std::initializer_list<Param> params) override {
    const std::array<std::string, 1> statement = {with_params(sql, params)};
    return script(statement);
  }

  Result<Rows> script(std::span<const std::string> statements) override {
    std::string all;
    for (const std::string& statement : statements) {
      if (!all.empty()) all += ';';
      all += statement;
    }
    try {
      return run(all, statements.size());
    } catch (const sql::SQLException& error) {
      if (is_lost(error.getErrorCode())) lost_ = true;
      return error_of(error);
    } catch (const std::exception& error) {
      lost_ = true;
      return Error(Reason::ServiceUnavailable, first_line(error.what()));
    }
  }

  Result<void> append(std::span<const Row> rows) override {
    // A key comes twice, and each byte is two characters.
    return storage_server::in_parts(rows, static_cast<std::size_t>(packet_) / 5,
                                    [&](std::span<const Row> part) { return append_part(part); });
  }

  bool broken() const override { return lost_; }

  std::function<void()> interrupter() override {
    return [server = &server_, id = id_] { server->end_statement(id); };
  }

 private:
  // Results are read as they come: the first is execute()'s, and each further statement has one.
  Rows run(const std::string& all, std::size_t count) {
    Rows rows;
    bool has_rows = statement_->execute(all);
    for (std::size_t i = 1;; ++i) {
      if (has_rows) {
        const std::unique_ptr<sql::ResultSet> result(statement_->getResultSet());
        rows = rows_of(*result);
      }
      if (i == count) return rows;
      has_rows = statement_->getMoreResults();
    }
  }

  Result<void> append_part(std::span<const Row> rows) {
    std::array<std::string, 3> sql = {
        "INSERT INTO kubernel_log (id, name, created, version, lease, previous, deleted, checksum, value) VALUES ",
        "INSERT INTO kubernel_keys (name, id, live, lease) VALUES ", "UPDATE kubernel_meta SET head = "};
    const char* separator = "";
    for (const Row& row : rows) {
      const storage::KeyValue& kv = *row.kv;
      const std::string name = literal(kv.key);
      const std::string id = std::to_string(row.id);
      const std::string lease = std::to_string(kv.lease);
      sql[0] += separator + ("(" + id) + "," + name + "," + std::to_string(kv.created) + "," +
                std::to_string(kv.version) + "," + lease + "," + std::to_string(row.previous) + "," +
                (row.deleted ? "1" : "0") + "," + std::to_string(storage_common::row_checksum(row)) + "," +
                literal(kv.value) + ")";
      sql[1] += separator + ("(" + name) + "," + id + "," + (row.deleted ? "0" : "1") + "," + lease + ")";
      separator = ",";
    }
    sql[1] += " ON DUPLICATE KEY UPDATE id = VALUES(id), live = VALUES(live), lease = VALUES(lease)";
    sql[2] += std::to_string(rows.back().kv->modified) + " WHERE id = 1";
    if (static_cast<std::int64_t>(sql[0].size() + sql[1].size()) + 1024 > packet_) {
      return Error(Reason::RequestEntityTooLarge, "a value of " + std::to_string(rows.front().kv->value.size()) +
                                                      " bytes does not fit the server's max_allowed_packet of " +
                                                      std::to_string(packet_) + " bytes");
    }
    KUBERNEL_CHECK_OK(script(sql));
    return {};
  }

  MysqlServer& server_;
  std::unique_ptr<sql::Connection> connection_;
  std::unique_ptr<sql::Statement> statement_;
  std::string id_;
  std::int64_t packet_ = kSmallestPacket;
  bool lost_ = false;
};

Result<std::unique_ptr<sql::Connection>> dial(const ServerConfig& config) {
  KUBERNEL_TRY(const std::string password, config.password.read());
  const UniqueFd options = option_file(config.tls);
  if (!options) return Error(Reason::ServiceUnavailable, "no memory for the connection's options");
  const auto seconds = [](std::chrono::milliseconds time) { return static_cast<int>(time.count() / 1000); };
  const int timeout = seconds(config.statement_timeout) + 10;  // The server's own comes first.
  sql::ConnectOptionsMap map;
  map["userName"] = sql::SQLString(config.address.user);
  map["password"] = sql::SQLString(password);
  map["schema"] = sql::SQLString(config.address.database);
  map["readDefaultFile"] = sql::SQLString("/proc/self/fd/" + std::to_string(options.get()));
  map["CLIENT_MULTI_STATEMENTS"] = true;
  map["OPT_CONNECT_TIMEOUT"] = 5;
  map["OPT_READ_TIMEOUT"] = timeout;
  map["OPT_WRITE_TIMEOUT"] = timeout;
  if (config.address.socket.empty()) {
    map["hostName"] = sql::SQLString("tcp://" + config.address.host);
    map["port"] = config.address.port;
  } else {
    map["hostName"] = sql::SQLString("unix://" + config.address.socket);
  }
  try {
    return std::unique_ptr<sql::Connection>(driver().connect(map));
  } catch (const sql::SQLException& error) {
    return Error(Reason::ServiceUnavailable, first_line(error.what()) + advice(error.getErrorCode()));
  } catch (const std::exception& error) {
    return Error(Reason::ServiceUnavailable, first_line(error.what()));
  }
}

// Whether TLS is used where it must be: the options above are the client library's own business.
Result<void> check_tls(Session& session, TlsMode mode) {
  if (mode != TlsMode::Require && mode != TlsMode::VerifyFull) return {};
  const std::array<std::string, 1> ask = {"SHOW SESSION STATUS LIKE 'Ssl_cipher'"};
  KUBERNEL_TRY(Rows rows, session.script(ask));
  if (rows.next() && !rows.bytes(1).empty()) return {};
  return Error(Reason::ServiceUnavailable, "the connection is not encrypted, and tls.mode demands it");
}

}  // namespace

MysqlServer::MysqlServer(ServerConfig config)
    : config_(std::move(config)), name_("storage-mysql: " + config_.address.text()), dialect_(make_dialect()) {}

Result<std::unique_ptr<Session>> MysqlServer::connect() {
  KUBERNEL_TRY(auto connection, dial(config_));
  std::unique_ptr<MysqlSession> session;
  try {
    session = std::make_unique<MysqlSession>(*this, std::move(connection));
  } catch (const std::exception& error) {
    return Error(Reason::ServiceUnavailable, first_line(error.what()));
  }
  KUBERNEL_CHECK_OK(check_tls(*session, config_.tls.mode));
  const std::array<std::string, 3> statements = {kSettings[0], kSettings[1],
                                                 dialect_.set_timeout(config_.statement_timeout)};
  KUBERNEL_CHECK_OK(session->script(statements));
  KUBERNEL_CHECK_OK(session->learn());
  session->timeout = config_.statement_timeout;
  return std::unique_ptr<Session>(std::move(session));
}

void MysqlServer::end_statement(const std::string& connection_id) {
  auto connection = dial(config_);
  if (!connection) return;  // The statement's time-out ends it.
  try {
    const std::unique_ptr<sql::Statement> statement((*connection)->createStatement());
    statement->execute("KILL QUERY " + connection_id);
  } catch (const std::exception&) {
    // It has ended by itself, or its time-out ends it.
  }
}

}  // namespace kubernel::storage_mysql
