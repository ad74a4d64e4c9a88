// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <utility>

namespace kubernel::storage_sqlite {
namespace {

// Nobody else writes to the file while it is locked; a person looking into it with sqlite3 may hold it up for a moment.
constexpr int kBusyMilliseconds = 5000;

}  // namespace

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path, bool writer, const char* vfs) {
  sqlite3* raw = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int opened = sqlite3_open_v2(path.c_str(), &raw, flags, vfs);
  std::unique_ptr<Connection> connection(new Connection(path, raw));
  if (opened != SQLITE_OK) return connection->error("open");
  sqlite3_busy_timeout(raw, kBusyMilliseconds);
  // Checkpoints are run by the writer, where they are bounded. Readers only read.
  KUBERNEL_CHECK_OK(
      connection->run(writer ? "PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-4096;"
                             : "PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-1024; PRAGMA query_only=1;"));
  return connection;
}

Result<void> Connection::run(const char* sql) {
  if (sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) return error("setup");
  return {};
}

Result<std::int64_t> Connection::number(const char* sql, std::int64_t fallback) {
  Query query(*this, sql);
  KUBERNEL_TRY(const bool row, query.step());
  return row && !query.is_null(0) ? query.number(0) : fallback;
}

Result<std::string> Connection::text(const char* sql) {
  Query query(*this, sql);
  KUBERNEL_TRY(const bool row, query.step());
  return row ? std::string(query.bytes(0)) : std::string();
}

Error Connection::error(std::string_view what) {
  code_ = sqlite3_extended_errcode(handle_.get());
  const int primary = code_ & 0xff;
  const Reason reason =
      primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB ? Reason::Internal : Reason::ServiceUnavailable;
  return {reason, "storage-sqlite: " + path_ + ": " + std::string(what) + ": " + sqlite3_errmsg(handle_.get())};
}

sqlite3_stmt* Connection::prepared(const char* sql) {
  auto& statement = statements_[sql];
  if (!statement) {
    sqlite3_stmt* raw = nullptr;
    sqlite3_prepare_v3(handle_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    statement.reset(raw);
  }
  return statement.get();
}

Query::Query(Connection& connection, const char* sql) : connection_(connection), statement_(connection.prepared(sql)) {}

Query::~Query() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Query& Query::bind(std::string_view bytes) {
  // SQLite takes a null pointer for NULL; an empty view is an empty blob.
  sqlite3_bind_blob64(statement_, ++bound_, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_STATIC);
  return *this;
}

Query& Query::bind(std::int64_t number) {
  sqlite3_bind_int64(statement_, ++bound_, number);
  return *this;
}

Result<bool> Query::step() {
  if (statement_ == nullptr) return connection_.error("prepare");
  switch (sqlite3_step(statement_)) {
    case SQLITE_ROW: return true;
    case SQLITE_DONE: return false;
    default: return connection_.error("query");
  }
}

Result<void> Query::done() {
  KUBERNEL_CHECK_OK(step());
  return {};
}

std::string_view Query::bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return data == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(data), size);
}

}  // namespace kubernel::storage_sqlite
