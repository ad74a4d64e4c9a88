// SPDX-License-Identifier: Apache-2.0
//
// Connection and Query: SQLite's C interface with owners and Results.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include <sqlite3.h>

#include <kubernel/base/result.h>

namespace kubernel::storage_sqlite {

/// One SQLite connection and its prepared statements. Threads: one at a time.
class Connection {
 public:
  /// `vfs`: null for SQLite's default. Errors: ServiceUnavailable, naming the file.
  static Result<std::unique_ptr<Connection>> open(const std::string& path, bool writer, const char* vfs = nullptr);

  /// Runs statements that return nothing.
  Result<void> run(const char* sql);
  /// The first column of the first row of `sql`; `fallback` when there is no row. For pragmas and single numbers.
  Result<std::int64_t> number(const char* sql, std::int64_t fallback);
  Result<std::string> text(const char* sql);

  /// The error of the call that just failed. Remembers its code.
  Error error(std::string_view what);
  /// SQLite's extended result code of the last call that failed.
  int code() const { return code_; }
  sqlite3* handle() const { return handle_.get(); }
  const std::string& path() const { return path_; }

 private:
  friend class Query;
  struct Close {
    void operator()(sqlite3* db) const noexcept { sqlite3_close_v2(db); }
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };

  Connection(std::string path, sqlite3* handle) : path_(std::move(path)), handle_(handle) {}
  /// Null when it cannot be prepared; error() says why. `sql` is a string literal: its address is the cache's key.
  sqlite3_stmt* prepared(const char* sql);

  std::string path_;
  int code_ = SQLITE_OK;
  std::unique_ptr<sqlite3, Close> handle_;
  std::unordered_map<const char*, std::unique_ptr<sqlite3_stmt, Finalize>> statements_;
};

/// One use of a prepared statement; it is reset when the Query goes. Parameters are numbered in order of bind().
/// What is bound must stay alive until then.
class Query {
 public:
  Query(Connection& connection, const char* sql);
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& bind(std::string_view bytes);
  Query& bind(std::int64_t number);

  /// True while there is a row to read.
  Result<bool> step();
  /// For statements that return no rows.
  Result<void> done();

  bool is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  std::int64_t number(int column) const { return sqlite3_column_int64(statement_, column); }
  /// Valid until the next step().
  std::string_view bytes(int column) const;

 private:
  Connection& connection_;
  sqlite3_stmt* statement_;
  int bound_ = 0;
};

}  // namespace kubernel::storage_sqlite
