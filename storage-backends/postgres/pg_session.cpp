// SPDX-License-Identifier: Apache-2.0
#include "pg_session.h"

#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include <pqxx/pqxx>

#include "checksum.h"
#include "pg_listener.h"

// What libpqxx 6 has, and 7 replaces one by one.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace kubernel::storage_postgres {

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

// A btree's entry has at most 2704 bytes, less what it needs itself.
constexpr std::size_t kLongestKey = 2600;
// What one statement writes: a text with two characters a byte, which the server takes up to a gigabyte of.
constexpr std::size_t kAppendBytes = 8U << 20U;
constexpr int kByteArray = 17;  // The type's number in pg_type.

// Ids, keys and so on are arrays of equal length. Of several rows for one key the last becomes its newest.
constexpr char kAppend[] =
    "WITH r AS (SELECT * FROM unnest(?::bigint[], ?::bytea[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[],"
    " ?::smallint[], ?::bigint[], ?::bytea[])"
    " AS r (id, name, created, version, lease, previous, deleted, checksum, value)),"
    " logged AS (INSERT INTO kubernel_log (id, name, created, version, lease, previous, deleted, checksum, value)"
    " SELECT id, name, created, version, lease, previous, deleted, checksum, value FROM r),"
    " marked AS (UPDATE kubernel_meta SET head = ? WHERE id = 1)"
    " INSERT INTO kubernel_keys (name, id, live, lease)"
    " SELECT DISTINCT ON (name) name, id, 1 - deleted, lease FROM r ORDER BY name, id DESC"
    " ON CONFLICT (name) DO UPDATE SET id = excluded.id, live = excluded.live, lease = excluded.lease";

// Statements are made for indexes; a plan from a time when the tables were small must not stay. The rest keeps a
// writer that hangs from keeping the others out, and a date or number from depending on the server's settings.
constexpr char kSettings[] =
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;"
    " SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '15s'; SET TimeZone = 'UTC';"
    " SET bytea_output = 'hex'; SET standard_conforming_strings = on;"
    " SET default_transaction_isolation = 'read committed';"
    " SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

Dialect make_dialect(const std::string& self) {
  return {
      .longest_key = kLongestKey,
      .begin_write = {"BEGIN", "SELECT head, compacted, swept FROM kubernel_meta WHERE id = 1 FOR UPDATE"},
      .commit_write = {"NOTIFY kubernel_store, '" + self + "'", "COMMIT"},
      .begin_read = {"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                     "SELECT head, compacted, swept FROM kubernel_meta WHERE id = 1"},
      .set_timeout =
          [](std::chrono::milliseconds time) { return "SET statement_timeout = " + std::to_string(time.count()); },
      .save_lease =
          "INSERT INTO kubernel_leases (id, ttl, renewals) VALUES (?, ?, ?)"
          " ON CONFLICT (id) DO UPDATE SET ttl = excluded.ttl, renewals = excluded.renewals",
      .sweep_old =
          "DELETE FROM kubernel_log WHERE id IN (SELECT previous FROM kubernel_log"
          " WHERE id >= ? AND id < ? AND previous > 0)",
      .sweep_deleted_keys =
          "DELETE FROM kubernel_keys WHERE name IN"
          " (SELECT name FROM kubernel_log WHERE id >= ? AND id < ? AND deleted = 1) AND live = 0 AND id < ?",
      .size_bytes =
          "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE oid IN ('kubernel_log'::regclass,"
          " 'kubernel_keys'::regclass, 'kubernel_leases'::regclass, 'kubernel_meta'::regclass)",
  };
}

// A value for a connection string.
std::string in_quotes(const std::string& value) {
  std::string out = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

const char* mode_text(TlsMode mode) {
  switch (mode) {
    case TlsMode::Disable: return "disable";
    case TlsMode::Prefer: return "prefer";
    case TlsMode::Require: return "require";
    case TlsMode::VerifyCa: return "verify-ca";
    case TlsMode::VerifyFull: break;
  }
  return "verify-full";
}

// `?` becomes $1 and so on, and "IN ?" a test of an array.
std::string with_numbers(std::string_view sql) {
  std::string out;
  int number = 0;
  for (std::size_t i = 0; i < sql.size(); ++i) {
    if (sql.substr(i).starts_with("IN ?")) {
      out += "= ANY($" + std::to_string(++number) + ")";
      i += 3;
    } else if (sql[i] == '?') {
      out += "$" + std::to_string(++number);
    } else {
      out += sql[i];
    }
  }
  return out;
}

std::string text_of(const Param& param) {
  struct Visitor {
    std::string operator()(std::int64_t number) const { return std::to_string(number); }
    std::string operator()(std::string_view bytes) const {
      std::string out = "\\x";
      append_hex(out, bytes);
      return out;
    }
    std::string operator()(std::span<const std::int64_t> numbers) const {
      std::string out = "{";
      for (const std::int64_t number : numbers) {
        if (out.size() > 1) out += ',';
        out += std::to_string(number);
      }
      return out + "}";
    }
    std::string operator()(std::span<const std::string_view> list) const {
      std::string out = "{";
      for (const std::string_view bytes : list) {
        out += out.size() > 1 ? ",\"\\\\x" : "\"\\\\x";
        append_hex(out, bytes);
        out += '"';
      }
      return out + "}";
    }
  };
  return std::visit(Visitor{}, param);
}

int nibble(char c) {
  return c <= '9' ? c - '0' : c - 'a' + 10;
}

// The server's "\x6162".
std::string from_hex(std::string_view text) {
  std::string out(text.size() < 2 ? 0 : text.size() / 2 - 1, '\0');
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<char>(nibble(text[2 * i + 2]) * 16 + nibble(text[2 * i + 3]));
  }
  return out;
}

Rows rows_of(const pqxx::result& result) {
  const auto columns = result.columns();
  Rows rows(static_cast<std::size_t>(columns));
  rows.reserve(static_cast<std::size_t>(result.size()));
  std::vector<bool> binary;
  for (decltype(result.columns()) i = 0; i < columns; ++i) binary.push_back(result.column_type(i) == kByteArray);
  for (const auto& row : result) {
    for (decltype(result.columns()) i = 0; i < columns; ++i) {
      const auto field = row[i];
      const std::string_view text(field.c_str(), field.size());
      if (field.is_null()) {
        rows.add(std::nullopt);
      } else {
        rows.add(binary[static_cast<std::size_t>(i)] ? from_hex(text) : std::string(text));
      }
    }
  }
  return rows;
}

// Without the "ERROR:  " in front.
std::string message_of(const std::exception& error) {
  std::string line = first_line(error.what());
  for (const std::string_view prefix : {"ERROR:  ", "FATAL:  ", "PANIC:  "}) {
    if (line.starts_with(prefix)) line.erase(0, prefix.size());
  }
  return line;
}

Error error_of(const pqxx::sql_error& error) {
  const std::string& state = error.sqlstate();
  const std::string line = message_of(error);
  if (state == "57014") return {Reason::Timeout, line};  // query_canceled
  if (state == "55P03") {                                // lock_not_available
    return {Reason::ServiceUnavailable, "another process has been writing for too long (" + line + ")"};
  }
  // Older versions of libpqxx tell some conditions by the type alone.
  if (dynamic_cast<const pqxx::insufficient_privilege*>(&error) != nullptr) {
    return {Reason::ServiceUnavailable, line + "; let the user own the database's tables, or grant it their use"};
  }
  if (state == "25006") {  // read_only_sql_transaction
    return {Reason::ServiceUnavailable, line + "; is this a stand-by? name the primary in the url"};
  }
  if (dynamic_cast<const pqxx::insufficient_resources*>(&error) != nullptr)
    return {Reason::ServiceUnavailable, "the server is short of something: " + line};
  return {Reason::ServiceUnavailable, line};
}

// What to do about a connection that cannot be made. The server's texts may be translated; then this adds nothing.
std::string advice(const std::string& line) {
  const auto says = [&](std::string_view what) { return line.find(what) != std::string::npos; };
  if (says("authentication failed") || says("no password supplied")) return "; check the user and its password file";
  if (says("database") && says("does not exist")) return "; create it, owned by the user";
  if (says("role") && says("does not exist")) return "; create the user, or correct the url";
  if (says("no pg_hba.conf entry")) return "; let the server's pg_hba.conf admit it";
  if (says("Connection refused") || says("No such file")) return "; is the server running there?";
  if (says("root certificate file")) return "; set tls.caFile";
  return "";
}

// The connection, shared with those who may interrupt it.
struct Link {
  explicit Link(const std::string& how) : connection(how) {}
  pqxx::connection connection;
  pqxx::quiet_errorhandler quiet{connection};
};

class PgSession final : public Session {
 public:
  explicit PgSession(const std::string& how) : link_(std::make_unique<Link>(how)) {
#if PQXX_VERSION_MAJOR < 7
    // A statement of a transaction must never run on another connection than the ones before it. Later versions do not
    // connect again by themselves.
    link_->connection.inhibit_reactivation(true);
#endif
  }

  Result<Rows> query(const char* sql, std::initializer_list<Param> params) override {
    std::vector<std::string> texts;
    texts.reserve(params.size());
    for (const Param& param : params) texts.push_back(text_of(param));
    return guard([&] { return rows_of(execute(sql, texts)); });
  }

  Result<Rows> script(std::span<const std::string> statements) override {
    std::string all;
    for (const std::string& statement : statements) all += statement + ";";
    return guard([&] {
      pqxx::nontransaction work(link_->connection);
      return rows_of(work.exec(all));
    });
  }

  Result<void> append(std::span<const Row> rows) override {
    return storage_server::in_parts(rows, kAppendBytes, [&](std::span<const Row> part) -> Result<void> {
      KUBERNEL_CHECK_OK(append_part(part));
      return {};
    });
  }

  bool broken() const override {
    return lost_ || !link_->connection.is_open();
  }

  std::function<void()> interrupter() override {
    return [connection = &link_->connection] {
      try {
        connection->cancel_query();
      } catch (const std::exception&) {
        // The statement's time-out ends it.
      }
    };
  }

 private:
  Result<Rows> append_part(std::span<const Row> rows) {
    std::vector<std::int64_t> ids, created, versions, leases, previous, deleted, checksums;
    std::vector<std::string_view> names, values;
    for (const Row& row : rows) {
      const storage::KeyValue& kv = *row.kv;
      ids.push_back(row.id);
      names.push_back(kv.key);
      created.push_back(kv.created);
      versions.push_back(kv.version);
      leases.push_back(kv.lease);
      previous.push_back(row.previous);
      deleted.push_back(row.deleted ? 1 : 0);
      checksums.push_back(storage_common::row_checksum(row));
      values.push_back(kv.value);
    }
    using Numbers = std::span<const std::int64_t>;
    using Texts = std::span<const std::string_view>;
    return query(kAppend,
                 {Numbers(ids), Texts(names), Numbers(created), Numbers(versions), Numbers(leases), Numbers(previous),
                  Numbers(deleted), Numbers(checksums), Texts(values), rows.back().kv->modified});
  }

  // Prepares the statement the first time it is used.
  pqxx::result execute(const char* sql, const std::vector<std::string>& params) {
    auto& name = prepared_[sql];
    if (name.empty()) {
      const std::string made = "s" + std::to_string(prepared_.size());
      link_->connection.prepare(made, with_numbers(sql));
      name = made;
    }
    pqxx::nontransaction work(link_->connection);
#if PQXX_VERSION_MAJOR < 7
    return work.exec_prepared(name, pqxx::prepare::make_dynamic_params(params));
#else
    pqxx::params all;
    for (const std::string& param : params) all.append(param);
    return work.exec(pqxx::prepped(name), all);
#endif
  }

  template <class F>
  Result<Rows> guard(F&& work) {
    try {
      return work();
    } catch (const pqxx::broken_connection& error) {
      lost_ = true;
      return Error(Reason::ServiceUnavailable, "the connection was lost: " + message_of(error));
    } catch (const pqxx::sql_error& error) {
      // The server says so before it closes the connection: shutdown, restart, killed by an administrator.
      if (error.sqlstate().starts_with("57P")) lost_ = true;
      return error_of(error);
    } catch (const std::exception& error) {
      lost_ = true;
      return Error(Reason::ServiceUnavailable, message_of(error));
    }
  }

  std::unique_ptr<Link> link_;
  std::map<const char*, std::string> prepared_;
  bool lost_ = false;
};

}  // namespace

PgServer::PgServer(ServerConfig config, std::string self)
    : config_(std::move(config)),
      self_(std::move(self)),
      name_("storage-postgres: " + config_.address.text()),
      dialect_(make_dialect(self_)) {}

Result<std::string> PgServer::connection_string() const {
  const auto& address = config_.address;
  KUBERNEL_TRY(const std::string password, config_.password.read());
  std::string out = "host=" + in_quotes(address.socket.empty() ? address.host : address.socket) +
                    " port=" + std::to_string(address.port) + " user=" + in_quotes(address.user) +
                    " dbname=" + in_quotes(address.database) + " application_name=kubernel connect_timeout=5" +
                    // A server that is gone without a word is noticed within half a minute.
                    " keepalives_idle=10 keepalives_interval=5 keepalives_count=3 tcp_user_timeout=20000" +
                    " client_encoding=UTF8 sslmode=" + mode_text(config_.tls.mode);
  if (!config_.tls.ca_file.empty()) out += " sslrootcert=" + in_quotes(config_.tls.ca_file);
  if (!config_.tls.cert_file.empty()) {
    out += " sslcert=" + in_quotes(config_.tls.cert_file) + " sslkey=" + in_quotes(config_.tls.key_file);
  }
  // Nothing comes from the home directory of whoever runs this.
  out += password.empty() ? " passfile=/nonexistent" : " password=" + in_quotes(password);
  return out;
}

std::unique_ptr<Subscription> PgServer::listen(const storage::BackendContext& context, std::function<void()> changed) {
  ListenOptions options{.connection_string = [this] { return connection_string(); }, .name = name_, .self = self_};
  return storage_postgres::listen(std::move(options), context, std::move(changed));
}

Result<std::unique_ptr<Session>> PgServer::connect() {
  KUBERNEL_TRY(const std::string how, connection_string());
  std::unique_ptr<PgSession> session;
  try {
    session = std::make_unique<PgSession>(how);
  } catch (const std::exception& error) {
    const std::string line = message_of(error);
    return Error(Reason::ServiceUnavailable, line + advice(line));
  }
  const std::vector<std::string> settings = {kSettings, dialect_.set_timeout(config_.statement_timeout)};
  KUBERNEL_CHECK_OK(session->script(settings));
  session->timeout = config_.statement_timeout;
  return std::unique_ptr<Session>(std::move(session));
}

}  // namespace kubernel::storage_postgres
