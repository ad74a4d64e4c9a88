// SPDX-License-Identifier: Apache-2.0
//
// Session: one connection to a database server, and Server: how to get one.
//
// What is common to PostgreSQL and MySQL is written once, over these two (server_database.h); what is not is in the
// implementations and in the texts of Dialect.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <kubernel/base/result.h>

#include "database.h"

namespace kubernel::storage_server {

/// A parameter of a statement: a number, bytes, or a list of them for "IN ?" (not empty). Lent until the call returns.
using Param =
    std::variant<std::int64_t, std::string_view, std::span<const std::int64_t>, std::span<const std::string_view>>;

/// What a statement returned.
class Rows {
 public:
  Rows() = default;
  explicit Rows(std::size_t columns) : columns_(columns) {}

  /// Adds the next cell, row by row; nothing is NULL.
  void add(std::optional<std::string> cell) { cells_.push_back(std::move(cell)); }
  void reserve(std::size_t rows) { cells_.reserve(rows * columns_); }

  /// Goes to the first row, then to the next one. False when there is none.
  bool next();
  bool is_null(std::size_t column) const { return !cell(column); }
  /// 0 for NULL.
  std::int64_t number(std::size_t column) const;
  /// Empty for NULL.
  std::string_view bytes(std::size_t column) const;
  /// Moves the cell's bytes out.
  std::string take(std::size_t column);

 private:
  const std::optional<std::string>& cell(std::size_t column) const { return cells_.at(at_ - columns_ + column); }

  std::size_t columns_ = 0;
  std::size_t at_ = 0;  // Where the row after the current one begins.
  std::vector<std::optional<std::string>> cells_;
};

/// Threads: one at a time; interrupter()'s result may be called on another one meanwhile.
/// Errors: ServiceUnavailable; Timeout when the server ended the statement because it took too long. The message says
/// what the server said, and does not name it.
class Session {
 public:
  virtual ~Session() = default;

  /// Runs a statement with its `?` replaced. `sql` is a constant: implementations may prepare it once.
  virtual Result<Rows> query(const char* sql, std::initializer_list<Param> params) = 0;
  /// Runs statements in one round trip; ends at the first that fails. Returns what the last one returned.
  virtual Result<Rows> script(std::span<const std::string> statements) = 0;
  /// Writes rows to the log and to the keys, and the last one's revision as the head.
  virtual Result<void> append(std::span<const storage_common::Row> rows) = 0;
  /// The connection is lost or in an unknown state.
  virtual bool broken() const = 0;
  /// A function that makes the running statement end. It may block; it must not be called when the Session is gone.
  virtual std::function<void()> interrupter() = 0;

  /// What set_timeout was last told; the pool's business.
  std::chrono::milliseconds timeout{0};
};

/// The statements in which the servers differ. Tables: see schema in the implementations.
struct Dialect {
  std::size_t longest_key = 0;
  /// Starts the write transaction and waits for other writers. Returns head, compacted, swept.
  std::vector<std::string> begin_write;
  std::vector<std::string> commit_write;
  /// Starts a transaction that reads one snapshot. Returns the same.
  std::vector<std::string> begin_read;
  /// Limits each statement of the session from now on.
  std::function<std::string(std::chrono::milliseconds)> set_timeout;
  const char* save_lease = nullptr;          ///< id, ttl, renewals
  const char* sweep_old = nullptr;           ///< first id, id after the last
  const char* sweep_deleted_keys = nullptr;  ///< the same, and the latter again
  const char* size_bytes = nullptr;
};

/// Threads: all members may be called concurrently.
class Server {
 public:
  virtual ~Server() = default;

  /// A session with its statement time-out set to the configuration's, which must be noted in Session::timeout.
  ///
  /// Errors: ServiceUnavailable: what failed and what to do, without naming the server.
  virtual Result<std::unique_ptr<Session>> connect() = 0;
  virtual const Dialect& dialect() const = 0;
  /// "storage-postgres: postgresql://...": what errors begin with.
  virtual const std::string& name() const = 0;
  /// As Database::on_foreign_write().
  virtual std::unique_ptr<Subscription> listen(const storage::BackendContext& context,
                                               std::function<void()> changed) = 0;
};

/// Lower-case hexadecimal digits of `bytes`, appended to `out`.
void append_hex(std::string& out, std::string_view bytes);

/// Calls `write` for parts of `rows`, in order, whose keys and values are at most `max_bytes` together, or one row.
Result<void> in_parts(std::span<const storage_common::Row> rows, std::size_t max_bytes,
                      const std::function<Result<void>(std::span<const storage_common::Row>)>& write);

}  // namespace kubernel::storage_server
