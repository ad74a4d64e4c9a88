// SPDX-License-Identifier: Apache-2.0
//
// Reading ranges of keys, now and as of an older revision. Part of statements.h.

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "checksum.h"
#include "statements.h"

namespace kubernel::storage_server {

using storage::Page;
using storage::RangeOptions;
using storage::Revision;
using storage_common::damaged;
using storage_common::revision_of;
using storage_common::Row;
using storage_common::row_id;

namespace {

constexpr char kPage[] =
    "SELECT " KUBERNEL_ROW(l) ", l.value, k.id, k.name" KUBERNEL_KEYS_AND_LOG
                              "WHERE k.name >= ? AND k.name < ? AND k.live = 1 ORDER BY k.name LIMIT ?";
constexpr char kPageToEnd[] = "SELECT " KUBERNEL_ROW(l) ", l.value, k.id, k.name" KUBERNEL_KEYS_AND_LOG
                                                        "WHERE k.name >= ? AND k.live = 1 ORDER BY k.name LIMIT ?";
constexpr char kPageKeys[] =
    "SELECT " KUBERNEL_ROW(l) ", NULL, k.id, k.name" KUBERNEL_KEYS_AND_LOG
                              "WHERE k.name >= ? AND k.name < ? AND k.live = 1 ORDER BY k.name LIMIT ?";
constexpr char kPageKeysToEnd[] = "SELECT " KUBERNEL_ROW(l) ", NULL, k.id, k.name" KUBERNEL_KEYS_AND_LOG
                                                            "WHERE k.name >= ? AND k.live = 1 ORDER BY k.name LIMIT ?";
// All keys, with the values of those that have not changed since.
constexpr char kThen[] =
    "SELECT " KUBERNEL_ROW(l) ", CASE WHEN k.id < ? THEN l.value END, k.id, k.name" KUBERNEL_KEYS_AND_LOG
                              "WHERE k.name >= ? AND k.name < ? ORDER BY k.name LIMIT ?";
constexpr char kThenToEnd[] =
    "SELECT " KUBERNEL_ROW(l) ", CASE WHEN k.id < ? THEN l.value END, k.id, k.name" KUBERNEL_KEYS_AND_LOG
                              "WHERE k.name >= ? ORDER BY k.name LIMIT ?";
// Follows `previous` from rows that are too new to the newest that are not; rows that name one that is missing are
// returned in its place.
constexpr char kBefore[] =
    "WITH RECURSIVE chain (id, previous) AS ("
    " SELECT id, previous FROM kubernel_log WHERE id IN ?"
    " UNION ALL"
    " SELECT p.id, p.previous FROM chain c JOIN kubernel_log p ON p.id = c.previous WHERE c.id >= ?)"
    " SELECT " KUBERNEL_ROW(l) ", l.value, l.id, l.name FROM chain c JOIN kubernel_log l ON l.id = c.id"
    " WHERE c.id < ? OR (c.previous > 0 AND c.previous >= ?"
    " AND NOT EXISTS (SELECT 1 FROM kubernel_log m WHERE m.id = c.previous))";

// One row more than fits the page tells that there is more.
std::size_t rows_wanted(const RangeOptions& options, std::size_t have) {
  return options.limit == 0 ? kRowsAtOnce : std::min(kRowsAtOnce, options.limit - have + 1);
}

Result<Rows> page_rows(Session& session, const RangeOptions& options, std::string_view start, std::size_t limit) {
  const auto most = static_cast<std::int64_t>(limit);
  if (options.end.empty()) return session.query(options.keys_only ? kPageKeysToEnd : kPageToEnd, {start, most});
  const std::string_view end = options.end;
  return session.query(options.keys_only ? kPageKeys : kPage, {start, end, most});
}

// The rows some keys had at a revision; keys that did not exist then are not in it.
using Then = std::unordered_map<std::string, Row>;

struct Past {
  std::int64_t after = 0;      // Ids from here on are too new.
  std::int64_t compacted = 0;  // Deletions with lower ids may be gone; nothing else may.
};

Result<void> add_before(Session& session, std::span<const std::int64_t> newer, const Past& past, Then& then) {
  if (newer.empty()) return {};
  KUBERNEL_TRY(Rows rows, session.query(kBefore, {newer, past.after, past.after, past.compacted}));
  while (rows.next()) {
    const std::string key(rows.bytes(kKeyColumn));
    if (rows.number(0) >= past.after) return damaged(key, revision_of(rows.number(4)), "its row is missing");
    KUBERNEL_TRY(Row row, read_row(rows, 0, key, true));
    then.emplace(key, std::move(row));
  }
  return {};
}

// The keys of one stretch of the range, and what they were.
Result<std::vector<std::string>> read_then(Session& session, const RangeOptions& options, std::string_view start,
                                           std::size_t limit, const Past& past, Then& then) {
  const auto most = static_cast<std::int64_t>(limit);
  const std::string_view end = options.end;
  KUBERNEL_TRY(Rows rows, options.end.empty() ? session.query(kThenToEnd, {past.after, start, most})
                                              : session.query(kThen, {past.after, start, end, most}));
  std::vector<std::string> keys;
  std::vector<std::int64_t> newer;
  while (rows.next()) {
    keys.emplace_back(rows.bytes(kKeyColumn));
    const std::int64_t id = rows.number(kNamedColumn);
    const bool missing = rows.is_null(0);
    if (missing && id >= past.compacted) return damaged(keys.back(), revision_of(id), "its row is missing");
    if (missing) continue;
    if (id >= past.after) {
      newer.push_back(id);
      continue;
    }
    KUBERNEL_TRY(Row row, read_row(rows, 0, keys.back(), true));
    then.emplace(keys.back(), std::move(row));
  }
  KUBERNEL_CHECK_OK(add_before(session, newer, past, then));
  return keys;
}

Result<void> page_then(Session& session, const RangeOptions& options, const Past& past, Page& page) {
  std::string start = options.start;
  for (;;) {
    const std::size_t limit = rows_wanted(options, page.items.size());
    Then then;
    KUBERNEL_TRY(const auto keys, read_then(session, options, start, limit, past, then));
    for (const std::string& key : keys) {
      const auto found = then.find(key);
      if (found == then.end() || found->second.deleted) continue;
      if (options.limit != 0 && page.items.size() == options.limit) {
        page.more = true;
        return {};
      }
      page.items.push_back(*found->second.kv);
      if (options.keys_only) page.items.back().value.clear();
    }
    if (keys.size() < limit) return {};
    start = keys.back() + '\0';
  }
}

Result<void> page_now(Session& session, const RangeOptions& options, Page& page) {
  std::string start = options.start;
  for (;;) {
    const std::size_t limit = rows_wanted(options, page.items.size());
    KUBERNEL_TRY(Rows rows, page_rows(session, options, start, limit));
    std::size_t seen = 0;
    for (; rows.next(); ++seen) {
      if (options.limit != 0 && page.items.size() == options.limit) {
        page.more = true;
        return {};
      }
      KUBERNEL_TRY(const Row row, read_joined(rows, !options.keys_only));
      page.items.push_back(*row.kv);
    }
    if (seen < limit) return {};
    start = page.items.back().key + '\0';
  }
}

}  // namespace

Result<std::int64_t> read_count(Session& session, std::string_view start, std::string_view end) {
  static constexpr char kCount[] = "SELECT count(*) FROM kubernel_keys WHERE name >= ? AND name < ? AND live = 1";
  static constexpr char kCountToEnd[] = "SELECT count(*) FROM kubernel_keys WHERE name >= ? AND live = 1";
  KUBERNEL_TRY(Rows rows, end.empty() ? session.query(kCountToEnd, {start}) : session.query(kCount, {start, end}));
  return rows.next() ? rows.number(0) : std::int64_t{0};
}

Result<void> read_range(Session& session, const RangeOptions& options, Page& page) {
  KUBERNEL_CHECK_OK(page_now(session, options, page));
  if (!options.count) return {};
  page.count = static_cast<std::int64_t>(page.items.size());
  if (!page.more) return {};
  KUBERNEL_TRY(page.count, read_count(session, options.start, options.end));
  return {};
}

Result<void> read_range_then(Session& session, const RangeOptions& options, Revision compacted, Page& page) {
  const Past past{.after = row_id(page.revision + 1), .compacted = row_id(compacted)};
  KUBERNEL_CHECK_OK(page_then(session, options, past, page));
  if (!options.count) return {};
  page.count = static_cast<std::int64_t>(page.items.size());
  if (!page.more) return {};
  // The rest of the range counts too, and what it was has to be looked up.
  RangeOptions rest = options;
  rest.start = page.items.back().key + '\0';
  rest.limit = 0;
  rest.keys_only = true;
  Page others;
  KUBERNEL_CHECK_OK(page_then(session, rest, past, others));
  page.count += static_cast<std::int64_t>(others.items.size());
  return {};
}

}  // namespace kubernel::storage_server
