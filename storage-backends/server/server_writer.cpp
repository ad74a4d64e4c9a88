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
using storage_common::LeasedKey;
using storage_common::LeaseRecord;
using storage_common::Row;

namespace {

// How many keys one look covers.
constexpr std::size_t kKeysAtOnce = 512;

constexpr char kLeased[] = "SELECT name, revision FROM kubernel_keys WHERE lease = ? AND lease <> 0 ORDER BY name";
constexpr char kEraseLease[] = "DELETE FROM kubernel_leases WHERE id = ?";
constexpr char kSetCompacted[] = "UPDATE kubernel_meta SET value = ? WHERE name = 'compacted'";
constexpr char kSetSwept[] = "UPDATE kubernel_meta SET value = ? WHERE name = 'swept'";
constexpr char kSweepDeletedKeys[] =
    "DELETE FROM kubernel_keys WHERE live = 0 AND revision < ? AND name IN"
    " (SELECT name FROM kubernel_log WHERE revision >= ? AND revision < ? AND deleted = 1)";
constexpr char kSweepDeletions[] = "DELETE FROM kubernel_log WHERE revision >= ? AND revision < ? AND deleted = 1";

using Found = Result<std::optional<Row>>;

}  // namespace

Result<Revision> ServerWriter::begin() {
  for (bool again = false;; again = true) {
    const bool fresh = !session_;
    if (fresh) {
      KUBERNEL_TRY(session_, dialer_.connect());
    }
    auto head = try_begin();
    if (head) return head;
    const bool lost = !session_ || session_->broken();
    if (lost) session_.reset();
    // A connection that was lost while nothing went on is made anew.
    if (!lost || fresh || again) return named(std::move(head).error());
  }
}

Result<Revision> ServerWriter::try_begin() {
  auto rows = session_->script(dialect_.begin_write);
  if (!rows) {
    rollback();
    return std::move(rows).error();
  }
  const Revision found = rows->next() ? rows->number(0) : 0;
  const Revision head = found == 0 ? storage_common::kEmptyStore : found;
  if (head < head_) {
    rollback();
    return Error(Reason::ServiceUnavailable, "the store went back from revision " + std::to_string(head_) + " to " +
                                                 std::to_string(head) +
                                                 "; writes that were acknowledged are gone (was an old backup or a "
                                                 "stale replica put in place?); restart to go on from there");
  }
  head_ = head;
  return head;
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
    places.emplace(keys[i], i);
    asked.push_back(keys[i]);
    if (asked.size() < kKeysAtOnce && i + 1 < keys.size()) continue;
    if (auto looked = look(); !looked) return std::vector<Found>(keys.size(), looked.error());
  }
  if (auto looked = look(); !looked) return std::vector<Found>(keys.size(), looked.error());
  return out;
}

Result<void> ServerWriter::append(std::span<const Row> rows) {
  auto appended = session_->append(rows);
  return appended ? appended : named(std::move(appended).error());
}

Result<std::vector<LeasedKey>> ServerWriter::leased(LeaseId id) {
  KUBERNEL_TRY(Rows rows, query(kLeased, {id}));
  std::vector<LeasedKey> keys;
  while (rows.next()) keys.push_back({std::string(rows.bytes(0)), rows.number(1)});
  return keys;
}

Result<void> ServerWriter::save_lease(const LeaseRecord& lease) {
  return execute(dialect_.save_lease, {lease.id, std::int64_t{lease.ttl.count()}});
}

Result<void> ServerWriter::erase_lease(LeaseId id) {
  return execute(kEraseLease, {id});
}

Result<void> ServerWriter::set_compacted(Revision revision) {
  return execute(kSetCompacted, {revision});
}

Result<void> ServerWriter::sweep(Revision from, Revision to) {
  KUBERNEL_CHECK_OK(execute(dialect_.sweep_old, {from, to}));
  KUBERNEL_CHECK_OK(execute(kSweepDeletedKeys, {to, from, to}));
  KUBERNEL_CHECK_OK(execute(kSweepDeletions, {from, to}));
  return execute(kSetSwept, {to});
}

Result<void> ServerWriter::commit() {
  auto committed = session_->script(dialect_.commit_write);
  if (committed) return {};
  // Whether it was applied is not known. The connection goes with the transaction, whatever state that is in.
  session_.reset();
  return Error(Reason::ServiceUnavailable,
               named(std::move(committed).error()).message() + "; whether the write was applied is not known");
}

void ServerWriter::rollback() {
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
