// SPDX-License-Identifier: Apache-2.0
#include "server_writer.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "statements.h"

namespace kubernel::storage_server {

using storage::LeaseId;
using storage::Revision;
using storage_common::LeaseRecord;
using storage_common::Marks;
using storage_common::Row;

namespace {

// How many keys one look covers.
constexpr std::size_t kKeysAtOnce = 512;

constexpr char kLeased[] = "SELECT name FROM kubernel_keys WHERE lease = ? AND lease <> 0 AND live = 1 ORDER BY name";
constexpr char kFindLease[] = "SELECT id, ttl, renewals FROM kubernel_leases WHERE id = ?";
constexpr char kEraseLease[] = "DELETE FROM kubernel_leases WHERE id = ?";
constexpr char kSetCompacted[] = "UPDATE kubernel_meta SET compacted = ? WHERE id = 1";
constexpr char kSetSwept[] = "UPDATE kubernel_meta SET swept = ? WHERE id = 1";
constexpr char kSweepDeletions[] = "DELETE FROM kubernel_log WHERE id >= ? AND id < ? AND deleted = 1";

using Found = Result<std::optional<Row>>;

}  // namespace

ServerWriter::ServerWriter(Dialer& dialer)
    : dialer_(dialer), dialect_(dialer.server().dialect()), recent_(storage_common::kRecentRowsBytes) {}

Result<Marks> ServerWriter::begin() {
  auto marks = begin_or_reconnect();
  const std::lock_guard lock(stopped_mutex_);
  stopped_ = marks ? "" : marks.error().message();
  return marks;
}

std::string ServerWriter::stopped() const {
  const std::lock_guard lock(stopped_mutex_);
  return stopped_;
}

Result<Marks> ServerWriter::begin_or_reconnect() {
  for (bool again = false;; again = true) {
    const bool fresh = !session_;
    if (fresh) {
      KUBERNEL_TRY(session_, dialer_.connect());
      recent_.clear();  // Whatever is at the other end now.
    }
    auto marks = try_begin();
    if (marks) return marks;
    const bool lost = !session_ || session_->broken();
    if (lost) session_.reset();
    // A connection that was lost while nothing went on is made anew.
    if (!lost || fresh || again) return named(std::move(marks).error());
  }
}

Result<Marks> ServerWriter::try_begin() {
  auto rows = session_->script(dialect_.begin_write);
  if (!rows) {
    rollback();
    return std::move(rows).error();
  }
  auto marks = read_marks(*rows);
  if (marks && marks->head < head_) {
    marks = Error(Reason::ServiceUnavailable, "the store went back from revision " + std::to_string(head_) + " to " +
                                                  std::to_string(marks->head) +
                                                  ": writes that were acknowledged are gone (was an old backup or a "
                                                  "stale replica put in place?); restart to go on from there");
  }
  if (!marks) {
    rollback();
    return marks;
  }
  if (marks->head != head_) recent_.clear();
  head_ = marks->head;
  return marks;
}

std::vector<Found> ServerWriter::newest(std::span<const std::string_view> keys) {
  std::vector<Found> out(keys.size(), std::optional<Row>());
  std::unordered_map<std::string_view, std::size_t> places;
  std::vector<std::string_view> asked;
  const auto look = [&]() -> Result<void> {
    if (asked.empty()) return {};
    KUBERNEL_TRY(Rows rows, query(kNewest, {std::span<const std::string_view>(asked)}));
    asked.clear();
    while (rows.next()) {
      const auto place = places.find(rows.bytes(kKeyColumn));
      if (place == places.end()) continue;
      auto row = read_joined(rows, true);
      out[place->second] = row ? Found(std::optional(*std::move(row))) : Found(std::move(row).error());
    }
    return {};
  };
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].size() > dialect_.longest_key) {
      out[i] = Error(Reason::RequestEntityTooLarge, "a key of " + std::to_string(keys[i].size()) +
                                                        " bytes is too long; this store takes up to " +
                                                        std::to_string(dialect_.longest_key));
      continue;
    }
    if (const Row* known = recent_.find(keys[i])) {
      out[i] = Found(*known);
      continue;
    }
    places.emplace(keys[i], i);
    asked.push_back(keys[i]);
    if (asked.size() < kKeysAtOnce) continue;
    if (auto looked = look(); !looked) return std::vector<Found>(keys.size(), looked.error());
  }
  if (auto looked = look(); !looked) return std::vector<Found>(keys.size(), looked.error());
  return out;
}

Result<storage::Page> ServerWriter::range(const storage::RangeOptions& options) {
  storage::Page page{.items = {}, .revision = head_};
  if (auto read = read_range(*session_, options, page); !read) return named(std::move(read).error());
  return page;
}

Result<void> ServerWriter::append(std::span<const Row> rows) {
  auto appended = session_->append(rows);
  if (!appended) return named(std::move(appended).error());
  appended_.insert(appended_.end(), rows.begin(), rows.end());
  return {};
}

Result<std::vector<std::string>> ServerWriter::leased(LeaseId id) {
  KUBERNEL_TRY(Rows rows, query(kLeased, {id}));
  std::vector<std::string> keys;
  while (rows.next()) keys.push_back(rows.take(0));
  return keys;
}

Result<std::optional<LeaseRecord>> ServerWriter::find_lease(LeaseId id) {
  KUBERNEL_TRY(Rows rows, query(kFindLease, {id}));
  return rows.next() ? std::optional(read_lease(rows)) : std::nullopt;
}

Result<void> ServerWriter::save_lease(const LeaseRecord& lease) {
  return execute(dialect_.save_lease, {lease.id, std::int64_t{lease.ttl.count()}, lease.renewals});
}

Result<void> ServerWriter::erase_lease(LeaseId id) {
  return execute(kEraseLease, {id});
}

Result<void> ServerWriter::set_compacted(Revision revision) {
  return execute(kSetCompacted, {revision});
}

Result<void> ServerWriter::sweep(Revision from, Revision to) {
  using storage_common::row_id;
  // What the rows of revisions in (from, to] supersede, and deletions in [from, to).
  KUBERNEL_CHECK_OK(execute(dialect_.sweep_old, {row_id(from + 1), row_id(to + 1)}));
  KUBERNEL_CHECK_OK(execute(dialect_.sweep_deleted_keys, {row_id(from), row_id(to), row_id(to)}));
  KUBERNEL_CHECK_OK(execute(kSweepDeletions, {row_id(from), row_id(to)}));
  return execute(kSetSwept, {to});
}

Result<void> ServerWriter::commit() {
  auto committed = session_->script(dialect_.commit_write);
  if (committed) {
    for (const Row& row : appended_) recent_.put(row);
    if (!appended_.empty()) head_ = appended_.back().kv->modified;
    appended_.clear();
    return {};
  }
  appended_.clear();
  recent_.clear();
  // Whether it was applied is not known. The connection goes with the transaction, whatever state that is in.
  session_.reset();
  return Error(Reason::ServiceUnavailable,
               named(std::move(committed).error()).message() + "; whether the write was applied is not known");
}

void ServerWriter::rollback() {
  appended_.clear();
  if (!session_) return;
  const std::array<std::string, 1> statement = {"ROLLBACK"};
  // A server that has lost the connection rolls back by itself.
  if (session_->broken() || !session_->script(statement)) session_.reset();
}

Result<Rows> ServerWriter::query(const char* sql, std::initializer_list<Param> params) {
  auto rows = session_->query(sql, params);
  if (rows) return rows;
  return named(std::move(rows).error());
}

Result<void> ServerWriter::execute(const char* sql, std::initializer_list<Param> params) {
  KUBERNEL_CHECK_OK(query(sql, params));
  return {};
}

}  // namespace kubernel::storage_server
