// SPDX-License-Identifier: Apache-2.0
#include "server_database.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>
#include <utility>

#include "checksum.h"
#include "statements.h"

namespace kubernel::storage_server {

using storage::Event;
using storage::KeyValue;
using storage::Page;
using storage::RangeOptions;
using storage::Revision;
using storage::WatchBatch;
using storage_common::damaged;
using storage_common::DatabaseState;
using storage_common::KeyRange;
using storage_common::Row;

namespace {

// Rows one statement returns; longer reads take several, in one snapshot.
constexpr std::size_t kRowsAtOnce = 1000;
// How many revisions a watch's look into the log covers before it goes on with a new query.
constexpr Revision kChangesWindow = 10'000;

constexpr char kPage[] = "SELECT " KUBERNEL_ROW(l) ", l.value, k.revision, k.name" KUBERNEL_KEYS_AND_LOG
                         "WHERE k.name >= ? AND k.name < ? AND k.live = 1 ORDER BY k.name LIMIT ?";
constexpr char kPageToEnd[] = "SELECT " KUBERNEL_ROW(l) ", l.value, k.revision, k.name" KUBERNEL_KEYS_AND_LOG
                              "WHERE k.name >= ? AND k.live = 1 ORDER BY k.name LIMIT ?";
constexpr char kPageKeys[] = "SELECT " KUBERNEL_ROW(l) ", NULL, k.revision, k.name" KUBERNEL_KEYS_AND_LOG
                             "WHERE k.name >= ? AND k.name < ? AND k.live = 1 ORDER BY k.name LIMIT ?";
constexpr char kPageKeysToEnd[] = "SELECT " KUBERNEL_ROW(l) ", NULL, k.revision, k.name" KUBERNEL_KEYS_AND_LOG
                                  "WHERE k.name >= ? AND k.live = 1 ORDER BY k.name LIMIT ?";
// All keys, with the values of those that have not changed since.
constexpr char kThen[] = "SELECT " KUBERNEL_ROW(l) ", CASE WHEN k.revision <= ? THEN l.value END, k.revision, k.name"
                         KUBERNEL_KEYS_AND_LOG "WHERE k.name >= ? AND k.name < ? ORDER BY k.name LIMIT ?";
constexpr char kThenToEnd[] = "SELECT " KUBERNEL_ROW(l)
                              ", CASE WHEN k.revision <= ? THEN l.value END, k.revision, k.name" KUBERNEL_KEYS_AND_LOG
                              "WHERE k.name >= ? ORDER BY k.name LIMIT ?";
// Follows `previous` from rows that are too new to the newest that are not; rows that name one that is missing are
// returned in its place.
constexpr char kBefore[] =
    "WITH RECURSIVE chain (revision, previous) AS ("
    " SELECT revision, previous FROM kubernel_log WHERE revision IN ?"
    " UNION ALL"
    " SELECT p.revision, p.previous FROM chain c JOIN kubernel_log p ON p.revision = c.previous WHERE c.revision > ?)"
    " SELECT " KUBERNEL_ROW(l) ", l.value, l.revision, l.name FROM chain c JOIN kubernel_log l ON l.revision = c.revision"
    " WHERE c.revision <= ? OR (c.previous > 0 AND c.previous >= ?"
    " AND NOT EXISTS (SELECT 1 FROM kubernel_log m WHERE m.revision = c.previous))";
constexpr char kCount[] = "SELECT count(*) FROM kubernel_keys WHERE name >= ? AND name < ? AND live = 1";
constexpr char kCountToEnd[] = "SELECT count(*) FROM kubernel_keys WHERE name >= ? AND live = 1";
// Columns 10 on: what the event replaced.
constexpr char kChanges[] = "SELECT " KUBERNEL_ROW(l) ", l.value, l.revision, l.name, " KUBERNEL_ROW(p)
                            ", p.value FROM kubernel_log l"
                            " LEFT JOIN kubernel_log p ON p.revision = l.previous"
                            " WHERE l.revision >= ? AND l.revision <= ? AND l.name >= ? AND l.name < ?"
                            " ORDER BY l.revision LIMIT ?";
constexpr char kChangesToEnd[] = "SELECT " KUBERNEL_ROW(l) ", l.value, l.revision, l.name, " KUBERNEL_ROW(p)
                                 ", p.value FROM kubernel_log l"
                                 " LEFT JOIN kubernel_log p ON p.revision = l.previous"
                                 " WHERE l.revision >= ? AND l.revision <= ? AND l.name >= ?"
                                 " ORDER BY l.revision LIMIT ?";
constexpr std::size_t kPreviousColumn = 10;
constexpr char kLeases[] = "SELECT id, ttl FROM kubernel_leases";
constexpr char kMeta[] = "SELECT value FROM kubernel_meta WHERE name = 'swept'";

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

Result<void> range_now(Session& session, const RangeOptions& options, Page& page) {
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

// The rows some keys had at a revision; keys that did not exist then are not in it.
using Then = std::unordered_map<std::string, Row>;

Result<void> add_before(Session& session, std::span<const std::int64_t> newer, Revision at, Revision compacted,
                        Then& then) {
  if (newer.empty()) return {};
  KUBERNEL_TRY(Rows rows, session.query(kBefore, {newer, at, at, compacted}));
  while (rows.next()) {
    const std::string key(rows.bytes(kKeyColumn));
    if (rows.number(0) > at) return damaged(key, rows.number(4), "its row is missing");
    KUBERNEL_TRY(Row row, read_row(rows, 0, key, true));
    then.emplace(key, std::move(row));
  }
  return {};
}

Result<void> range_then(Session& session, const RangeOptions& options, Revision compacted, Page& page) {
  std::string start = options.start;
  for (;;) {
    const std::size_t limit = rows_wanted(options, page.items.size());
    const auto most = static_cast<std::int64_t>(limit);
    const std::string_view from = start;
    const std::string_view end = options.end;
    KUBERNEL_TRY(Rows rows, options.end.empty()
                                ? session.query(kThenToEnd, {page.revision, from, most})
                                : session.query(kThen, {page.revision, from, end, most}));
    std::vector<std::string> keys;
    std::vector<std::int64_t> newer;
    Then then;
    while (rows.next()) {
      keys.emplace_back(rows.bytes(kKeyColumn));
      const Revision revision = rows.number(kNamedColumn);
      if (rows.is_null(0) && revision >= compacted) return damaged(keys.back(), revision, "its row is missing");
      if (revision > page.revision) {
        newer.push_back(revision);
      } else if (!rows.is_null(0)) {
        KUBERNEL_TRY(Row row, read_row(rows, 0, keys.back(), true));
        then.emplace(keys.back(), std::move(row));
      }
    }
    KUBERNEL_CHECK_OK(add_before(session, newer, page.revision, compacted, then));
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

Result<Rows> change_rows(Session& session, Revision from, Revision to, const KeyRange& range, std::size_t limit) {
  const auto most = static_cast<std::int64_t>(limit);
  const std::string_view start = range.start;
  const std::string_view end = range.end;
  if (range.end.empty()) return session.query(kChangesToEnd, {from, to, start, most});
  return session.query(kChanges, {from, to, start, end, most});
}

Result<Event> read_event(Rows& rows) {
  const std::string key(rows.bytes(kKeyColumn));
  KUBERNEL_TRY(const Row row, read_row(rows, 0, key, true));
  Event event{.type = row.deleted ? Event::Type::Delete : Event::Type::Put, .kv = *row.kv, .previous = std::nullopt};
  if (!rows.is_null(kPreviousColumn)) {
    KUBERNEL_TRY(const Row previous, read_row(rows, kPreviousColumn, key, true));
    if (!previous.deleted) event.previous = *previous.kv;
  }
  return event;
}

}  // namespace

ServerDatabase::ServerDatabase(std::unique_ptr<Server> server, const ServerConfig& config,
                               const storage::BackendContext& context)
    : server_(std::move(server)),
      dialer_(*server_, context.clock),
      writer_(dialer_),
      pool_(dialer_, context.blocking, context.clock, config.connections, config.statement_timeout) {}

ServerDatabase::~ServerDatabase() = default;

Result<DatabaseState> ServerDatabase::state() {
  DatabaseState state;
  KUBERNEL_CHECK_OK(in_snapshot({}, 0, [&](Session& session, const Snapshot& snapshot) -> Result<void> {
    state = {.head = snapshot.at, .compacted = snapshot.compacted};
    KUBERNEL_TRY(Rows swept, session.query(kMeta, {}));
    if (swept.next()) state.swept = swept.number(0);
    KUBERNEL_TRY(Rows keys, session.query(kCountToEnd, {std::string_view()}));
    if (keys.next()) state.keys = keys.number(0);
    KUBERNEL_TRY(Rows leases, session.query(kLeases, {}));
    while (leases.next()) state.leases.push_back({leases.number(0), std::chrono::seconds(leases.number(1))});
    return {};
  }));
  return state;
}

Result<std::optional<KeyValue>> ServerDatabase::get(const CallContext& ctx, std::string_view key, Revision at) {
  std::optional<KeyValue> found;
  if (at == 0) {
    const std::array keys = {key};
    KUBERNEL_CHECK_OK(pool_.run(ctx, [&](Session& session) -> Result<void> {
      KUBERNEL_TRY(Rows rows, session.query(kNewest, {std::span<const std::string_view>(keys)}));
      if (!rows.next()) return {};
      KUBERNEL_TRY(const Row row, read_joined(rows, true));
      if (!row.deleted) found = *row.kv;
      return {};
    }));
    return found;
  }
  RangeOptions options{.start = std::string(key), .end = std::string(key) + '\0', .at = at};
  KUBERNEL_TRY(Page page, range(ctx, options));
  if (!page.items.empty()) found = std::move(page.items.front());
  return found;
}

Result<Page> ServerDatabase::range(const CallContext& ctx, const RangeOptions& options) {
  Page page;
  KUBERNEL_CHECK_OK(in_snapshot(ctx, options.at, [&](Session& session, const Snapshot& snapshot) -> Result<void> {
    page = {.items = {}, .revision = snapshot.at};
    return options.at == 0 ? range_now(session, options, page)
                           : range_then(session, options, snapshot.compacted, page);
  }));
  return page;
}

Result<std::int64_t> ServerDatabase::count(const CallContext& ctx, const KeyRange& range) {
  std::int64_t found = 0;
  KUBERNEL_CHECK_OK(pool_.run(ctx, [&](Session& session) -> Result<void> {
    const std::string_view start = range.start;
    const std::string_view end = range.end;
    KUBERNEL_TRY(Rows rows,
                 range.end.empty() ? session.query(kCountToEnd, {start}) : session.query(kCount, {start, end}));
    found = rows.next() ? rows.number(0) : 0;
    return {};
  }));
  return found;
}

Result<WatchBatch> ServerDatabase::changes(Revision from, Revision to, const KeyRange& range, std::size_t max_events) {
  WatchBatch batch;
  KUBERNEL_CHECK_OK(in_snapshot({}, from, [&](Session& session, const Snapshot&) -> Result<void> {
    batch = {.events = {}, .progress = std::min(to, from + kChangesWindow - 1)};
    const std::size_t limit = std::min(max_events, kRowsAtOnce);
    KUBERNEL_TRY(Rows rows, change_rows(session, from, batch.progress, range, limit));
    while (rows.next()) {
      KUBERNEL_TRY(Event event, read_event(rows));
      batch.events.push_back(std::move(event));
    }
    if (batch.events.size() == limit) batch.progress = batch.events.back().kv.modified;
    return {};
  }));
  return batch;
}

Result<std::int64_t> ServerDatabase::size_bytes() {
  std::int64_t size = 0;
  KUBERNEL_CHECK_OK(pool_.run({}, [&](Session& session) -> Result<void> {
    KUBERNEL_TRY(Rows rows, session.query(server_->dialect().size_bytes, {}));
    size = rows.next() ? rows.number(0) : 0;
    return {};
  }));
  return size;
}

Result<void> ServerDatabase::in_snapshot(const CallContext& ctx, Revision at,
                                         const std::function<Result<void>(Session&, const Snapshot&)>& read) {
  return pool_.run(ctx, [&](Session& session) -> Result<void> {
    auto snapshot = begin(session, at);
    Result<void> result;
    if (snapshot) {
      result = read(session, *snapshot);
    } else {
      result = std::move(snapshot).error();
    }
    const std::array<std::string, 1> end = {"ROLLBACK"};
    const auto ended = session.broken() ? Result<void>() : [&]() -> Result<void> {
      KUBERNEL_CHECK_OK(session.script(end));
      return {};
    }();
    return result ? ended : result;
  });
}

Result<ServerDatabase::Snapshot> ServerDatabase::begin(Session& session, Revision at) {
  KUBERNEL_TRY(Rows rows, session.script(server_->dialect().begin_read));
  if (!rows.next()) return Error(Reason::ServiceUnavailable, "the table kubernel_meta is empty");
  const Revision head = rows.is_null(0) ? storage_common::kEmptyStore : rows.number(0);
  const Revision compacted = rows.number(1);
  if (at > head) {
    return Error(Reason::BadRequest,
                 "revision " + std::to_string(at) + " is in the future; the store is at " + std::to_string(head));
  }
  if (at != 0 && at < compacted) {
    return Error(Reason::Expired, "revision " + std::to_string(at) + " has been compacted; the oldest is " +
                                      std::to_string(compacted));
  }
  return Snapshot{.at = at == 0 ? head : at, .compacted = compacted};
}

}  // namespace kubernel::storage_server
