// SPDX-License-Identifier: Apache-2.0
#include "server_database.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "statements.h"

namespace kubernel::storage_server {

using storage::Event;
using storage::KeyRange;
using storage::KeyValue;
using storage::Page;
using storage::RangeOptions;
using storage::Revision;
using storage::WatchBatch;
using storage_common::LeaseRecord;
using storage_common::Marks;
using storage_common::revision_of;
using storage_common::Row;
using storage_common::row_id;

namespace {

// How many revisions a watch's look into the log covers before it goes on with a new query.
constexpr Revision kChangesWindow = 10'000;

// Columns 10 on: what the event replaced.
#define KUBERNEL_CHANGES \
  "SELECT " KUBERNEL_ROW(l) ", l.value, l.id, l.name, " KUBERNEL_ROW(p) ", p.value"        \
  " FROM kubernel_log l LEFT JOIN kubernel_log p ON p.id = l.previous"                     \
  " WHERE l.id >= ? AND l.id < ? AND l.name >= ?"
constexpr char kChanges[] = KUBERNEL_CHANGES " AND l.name < ? ORDER BY l.id LIMIT ?";
constexpr char kChangesToEnd[] = KUBERNEL_CHANGES " ORDER BY l.id LIMIT ?";
#undef KUBERNEL_CHANGES
constexpr std::size_t kPreviousColumn = 10;
constexpr char kLeases[] = "SELECT id, ttl, renewals FROM kubernel_leases ORDER BY id";

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

// Adds the events of the rows with first <= id < end, at most `limit`. Returns the last one's id; 0: there was none.
Result<std::int64_t> add_events(Session& session, std::int64_t first, std::int64_t end, const KeyRange& range,
                                std::size_t limit, std::vector<Event>& events) {
  const auto most = static_cast<std::int64_t>(limit);
  const std::string_view from = range.start;
  const std::string_view to = range.end;
  KUBERNEL_TRY(Rows rows, range.end.empty() ? session.query(kChangesToEnd, {first, end, from, most})
                                            : session.query(kChanges, {first, end, from, to, most}));
  std::int64_t last = 0;
  while (rows.next()) {
    last = rows.number(0);
    KUBERNEL_TRY(Event event, read_event(rows));
    events.push_back(std::move(event));
  }
  return last;
}

}  // namespace

ServerDatabase::ServerDatabase(std::unique_ptr<Server> server, const ServerConfig& config,
                               const storage::BackendContext& context)
    : server_(std::move(server)),
      context_(context),
      dialer_(*server_, context.clock),
      writer_(dialer_),
      pool_(dialer_, context.blocking, context.clock, config.connections, config.statement_timeout) {}

ServerDatabase::~ServerDatabase() = default;

Result<Marks> ServerDatabase::marks() {
  Marks marks;
  KUBERNEL_CHECK_OK(pool_.run({}, [&](Session& session) -> Result<void> {
    KUBERNEL_TRY(Rows rows, session.query(kMarks, {}));
    KUBERNEL_TRY(marks, read_marks(rows));
    return {};
  }));
  return marks;
}

Result<std::vector<LeaseRecord>> ServerDatabase::leases() {
  std::vector<LeaseRecord> leases;
  KUBERNEL_CHECK_OK(pool_.run({}, [&](Session& session) -> Result<void> {
    leases.clear();
    KUBERNEL_TRY(Rows rows, session.query(kLeases, {}));
    while (rows.next()) leases.push_back(read_lease(rows));
    return {};
  }));
  return leases;
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
  KUBERNEL_CHECK_OK(in_snapshot(ctx, options.at, [&](Session& session, Revision at, Revision compacted) {
    page = {.items = {}, .revision = at};
    return options.at == 0 ? read_range(session, options, page) : read_range_then(session, options, compacted, page);
  }));
  return page;
}

Result<std::int64_t> ServerDatabase::count(const CallContext& ctx, const KeyRange& range) {
  std::int64_t found = 0;
  KUBERNEL_CHECK_OK(pool_.run(ctx, [&](Session& session) -> Result<void> {
    KUBERNEL_TRY(found, read_count(session, range.start, range.end));
    return {};
  }));
  return found;
}

Result<WatchBatch> ServerDatabase::changes(Revision from, Revision to, const KeyRange& range, std::size_t max_events) {
  WatchBatch batch;
  KUBERNEL_CHECK_OK(in_snapshot({}, from, [&](Session& session, Revision, Revision) -> Result<void> {
    batch = {.events = {}, .progress = std::min(to, from + kChangesWindow - 1)};
    const std::size_t limit = std::min(max_events, kRowsAtOnce);
    KUBERNEL_TRY(const std::int64_t last,
                 add_events(session, row_id(from), row_id(batch.progress + 1), range, limit, batch.events));
    if (batch.events.size() < limit) return {};
    batch.progress = revision_of(last);
    // The rest of the last revision, which is delivered whole.
    const auto all = static_cast<std::size_t>(storage_common::kRowsPerRevision);
    auto rest = add_events(session, last + 1, row_id(batch.progress + 1), range, all, batch.events);
    return rest ? Result<void>() : std::move(rest).error();
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

std::unique_ptr<Subscription> ServerDatabase::on_foreign_write(std::function<void()> changed) {
  return server_->listen(context_, std::move(changed));
}

Result<void> ServerDatabase::in_snapshot(
    const CallContext& ctx, Revision at,
    const std::function<Result<void>(Session&, Revision at, Revision compacted)>& read) {
  return pool_.run(ctx, [&](Session& session) -> Result<void> {
    auto marks = begin(session, at);
    Result<void> result;
    if (marks) {
      result = read(session, at == 0 ? marks->head : at, marks->compacted);
    } else {
      result = std::move(marks).error();
    }
    if (session.broken()) return result;
    const std::array<std::string, 1> end = {"ROLLBACK"};
    if (auto ended = session.script(end); !ended && result) return std::move(ended).error();
    return result;
  });
}

Result<Marks> ServerDatabase::begin(Session& session, Revision at) {
  KUBERNEL_TRY(Rows rows, session.script(server_->dialect().begin_read));
  KUBERNEL_TRY(const Marks marks, read_marks(rows));
  if (at > marks.head) {
    return Error(Reason::BadRequest,
                 "revision " + std::to_string(at) + " is in the future; the store is at " + std::to_string(marks.head));
  }
  if (at != 0 && at < marks.compacted) {
    return Error(Reason::Expired, "revision " + std::to_string(at) + " has been compacted; the oldest is " +
                                      std::to_string(marks.compacted));
  }
  return marks;
}

}  // namespace kubernel::storage_server
