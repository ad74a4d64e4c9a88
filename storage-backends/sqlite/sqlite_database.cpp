// SPDX-License-Identifier: Apache-2.0
#include "sqlite_database.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "checkpointer.h"
#include "checksum.h"
#include "recent_rows.h"

namespace kubernel::storage_sqlite {

using storage::Event;
using storage::KeyValue;
using storage::LeaseId;
using storage::Page;
using storage::RangeOptions;
using storage::Revision;
using storage::WatchBatch;
using storage_common::damaged;
using storage_common::KeyRange;
using storage_common::LeaseRecord;
using storage_common::Marks;
using storage_common::RecentRows;
using storage_common::revision_of;
using storage_common::Row;
using storage_common::row_id;
using storage_common::RowId;

namespace {

// How many rows a read looks at between two looks at its deadline.
constexpr std::size_t kCheckEvery = 1024;
// Connections kept open for the next reader.
constexpr std::size_t kIdleReaders = 4;
// How many revisions a watch's look into the log covers before it goes on with a new query.
constexpr Revision kChangesWindow = 10'000;

constexpr char kHead[] = "SELECT max(id) FROM log";
constexpr char kCompacted[] = "SELECT value FROM meta WHERE name = 'compacted'";
constexpr char kSwept[] = "SELECT value FROM meta WHERE name = 'swept'";

// The columns decode() reads.
#define KUBERNEL_ROW "l.id, l.created, l.version, l.lease, l.previous, l.deleted, l.checksum"
constexpr char kNewest[] =
    "SELECT " KUBERNEL_ROW ", l.value, k.id FROM keys k LEFT JOIN log l ON l.id = k.id WHERE k.key = ?1";
constexpr char kRowById[] = "SELECT " KUBERNEL_ROW ", l.value FROM log l WHERE l.id = ?1";
constexpr char kRange[] = "SELECT " KUBERNEL_ROW
                          ", l.value, k.id, k.key FROM keys k LEFT JOIN log l ON l.id = k.id"
                          " WHERE k.key >= ?1 AND k.key < ?2 AND k.live = 1 ORDER BY k.key";
constexpr char kRangeToEnd[] = "SELECT " KUBERNEL_ROW
                               ", l.value, k.id, k.key FROM keys k LEFT JOIN log l ON l.id = k.id"
                               " WHERE k.key >= ?1 AND k.live = 1 ORDER BY k.key";
constexpr char kRangeKeys[] = "SELECT " KUBERNEL_ROW
                              ", NULL, k.id, k.key FROM keys k LEFT JOIN log l ON l.id = k.id"
                              " WHERE k.key >= ?1 AND k.key < ?2 AND k.live = 1 ORDER BY k.key";
constexpr char kRangeKeysToEnd[] = "SELECT " KUBERNEL_ROW
                                   ", NULL, k.id, k.key FROM keys k LEFT JOIN log l ON l.id = k.id"
                                   " WHERE k.key >= ?1 AND k.live = 1 ORDER BY k.key";
#undef KUBERNEL_ROW
constexpr char kKeys[] = "SELECT id, key FROM keys WHERE key >= ?1 AND key < ?2 ORDER BY key";
constexpr char kKeysToEnd[] = "SELECT id, key FROM keys WHERE key >= ?1 ORDER BY key";
constexpr char kKeyRow[] = "SELECT id FROM keys WHERE key = ?1";
constexpr char kCount[] = "SELECT count(*) FROM keys WHERE key >= ?1 AND key < ?2 AND live = 1";
constexpr char kCountToEnd[] = "SELECT count(*) FROM keys WHERE key >= ?1 AND live = 1";
constexpr char kChanges[] =
    "SELECT id, created, version, lease, previous, deleted, checksum, value, key FROM log"
    " WHERE id >= ?1 AND id < ?2 ORDER BY id";
constexpr char kLeases[] = "SELECT id, ttl FROM leases";

constexpr char kInsertLog[] =
    "INSERT INTO log (id, key, created, version, lease, previous, deleted, checksum, value)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
constexpr char kUpsertKey[] =
    "INSERT INTO keys (key, id, live, lease) VALUES (?1, ?2, ?3, ?4)"
    " ON CONFLICT (key) DO UPDATE SET id = ?2, live = ?3, lease = ?4";
// For a key that is live already and keeps its lease: neither the index by lease nor a conflict has to be looked at.
constexpr char kMoveKey[] = "UPDATE keys SET id = ?2 WHERE key = ?1";
constexpr char kLeased[] = "SELECT key FROM keys WHERE lease = ?1 AND lease != 0 ORDER BY key";
constexpr char kFindLease[] = "SELECT ttl FROM leases WHERE id = ?1";
constexpr char kSaveLease[] = "INSERT OR REPLACE INTO leases (id, ttl) VALUES (?1, ?2)";
constexpr char kEraseLease[] = "DELETE FROM leases WHERE id = ?1";
constexpr char kSetCompacted[] = "UPDATE meta SET value = ?1 WHERE name = 'compacted'";
constexpr char kSetSwept[] = "UPDATE meta SET value = ?1 WHERE name = 'swept'";
// Row ids ?1 <= id < ?2.
constexpr char kSweepOld[] =
    "DELETE FROM log WHERE id IN (SELECT previous FROM log WHERE id >= ?1 AND id < ?2 AND previous > 0)";
constexpr char kSweepDeletedKeys[] =
    "DELETE FROM keys WHERE live = 0 AND id < ?2 AND key IN"
    " (SELECT key FROM log WHERE id >= ?1 AND id < ?2 AND deleted = 1)";
constexpr char kSweepDeletions[] = "DELETE FROM log WHERE id >= ?1 AND id < ?2 AND deleted = 1";

// Reads the row whose columns start with KUBERNEL_ROW and the value, and checks that it is what was written.
Result<Row> decode(const Query& query, std::string_view key, bool with_value) {
  auto kv = std::make_shared<KeyValue>();
  const RowId id = query.number(0);
  kv->key = std::string(key);
  kv->modified = revision_of(id);
  kv->created = query.number(1);
  kv->version = query.number(2);
  kv->lease = query.number(3);
  if (with_value) kv->value = std::string(query.bytes(7));
  Row row{.kv = std::move(kv), .id = id, .previous = query.number(4), .deleted = query.number(5) != 0};
  if (with_value && query.number(6) != std::int64_t{storage_common::row_checksum(row)}) {
    return damaged(key, row.kv->modified, "its checksum does not fit");
  }
  return row;
}

// As decode(), for a join in which the log's row may be missing; column 8 is the row `keys` names.
Result<Row> decode_joined(const Query& query, std::string_view key, bool with_value) {
  if (query.is_null(0)) return damaged(key, revision_of(query.number(8)), "its row is missing");
  return decode(query, key, with_value);
}

Result<std::optional<Row>> newest_row(Connection& db, std::string_view key) {
  Query query(db, kNewest);
  KUBERNEL_TRY(const bool found, query.bind(key).step());
  if (!found) return std::optional<Row>();
  KUBERNEL_TRY(Row row, decode_joined(query, key, true));
  return std::optional(std::move(row));
}

Result<std::optional<Row>> find_row(Connection& db, std::string_view key, RowId id) {
  Query query(db, kRowById);
  KUBERNEL_TRY(const bool found, query.bind(id).step());
  if (!found) return std::optional<Row>();
  KUBERNEL_TRY(Row row, decode(query, key, true));
  return std::optional(std::move(row));
}

// The state of a key as of `at`, whose newest row is `newest`. Nothing when it did not exist.
Result<std::optional<Row>> as_of(Connection& db, std::string_view key, RowId newest, Revision at, Revision compacted) {
  for (RowId id = newest; id != 0;) {
    KUBERNEL_TRY(auto row, find_row(db, key, id));
    if (!row) {
      // A deletion from before the compacted revision may be gone; nothing else may.
      if (revision_of(id) < compacted) return std::optional<Row>();
      return damaged(key, revision_of(id), "its row is missing");
    }
    if (row->kv->modified <= at) return row->deleted ? std::optional<Row>() : std::move(row);
    id = row->previous;
  }
  return std::optional<Row>();
}

Query& bind_range(Query& query, std::string_view start, std::string_view end) {
  query.bind(start);
  return end.empty() ? query : query.bind(end);
}

Result<Revision> read_head(Connection& db) {
  KUBERNEL_TRY(const RowId last, db.number(kHead, row_id(storage_common::kEmptyStore)));
  return revision_of(last);
}

Result<Marks> read_marks(Connection& db) {
  Marks marks;
  KUBERNEL_TRY(marks.head, read_head(db));
  KUBERNEL_TRY(marks.compacted, db.number(kCompacted, 0));
  KUBERNEL_TRY(marks.swept, db.number(kSwept, 0));
  return marks;
}

Result<std::int64_t> count_live(Connection& db, const std::string& start, const std::string& end) {
  Query query(db, end.empty() ? kCountToEnd : kCount);
  KUBERNEL_CHECK_OK(bind_range(query, start, end).step());
  return query.number(0);
}

// Ends the snapshot in which several statements read.
class Snapshot {
 public:
  explicit Snapshot(Connection& db) : db_(db), begun_(Query(db, "BEGIN").done()) {}
  ~Snapshot() { sqlite3_exec(db_.handle(), "ROLLBACK", nullptr, nullptr, nullptr); }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  /// Takes the snapshot, and makes sure it can answer for `at` (0: now). Returns the revision to read at.
  Result<Revision> at(Revision at) {
    KUBERNEL_CHECK_OK(begun_);
    KUBERNEL_TRY(const Revision head, read_head(db_));
    KUBERNEL_TRY(compacted, db_.number(kCompacted, 0));
    if (at == 0) return head;
    if (at > head) {
      return Error(Reason::BadRequest,
                   "revision " + std::to_string(at) + " is in the future; the store is at " + std::to_string(head));
    }
    if (at < compacted) {
      return Error(Reason::Expired, "revision " + std::to_string(at) + " has been compacted; the oldest is " +
                                        std::to_string(compacted));
    }
    return at;
  }

  const Result<void>& begun() const { return begun_; }

  Revision compacted = 0;

 private:
  Connection& db_;
  Result<void> begun_;
};

// Live keys as of now. `check` is asked now and then whether to go on.
template <class Check>
Result<void> read_range(Connection& db, const RangeOptions& options, Page& page, const Check& check) {
  const bool to_end = options.end.empty();
  Query query(db, options.keys_only ? (to_end ? kRangeKeysToEnd : kRangeKeys) : (to_end ? kRangeToEnd : kRange));
  bind_range(query, options.start, options.end);
  for (std::size_t seen = 1;; ++seen) {
    KUBERNEL_TRY(const bool found, query.step());
    if (!found) break;
    if (seen % kCheckEvery == 0) KUBERNEL_CHECK_OK(check());
    if (options.limit != 0 && page.items.size() == options.limit) {
      page.more = true;
      break;
    }
    KUBERNEL_TRY(const Row row, decode_joined(query, query.bytes(9), !options.keys_only));
    page.items.push_back(*row.kv);
  }
  if (!options.count) return {};
  if (!page.more) {
    page.count = static_cast<std::int64_t>(page.items.size());
  } else {
    KUBERNEL_TRY(page.count, count_live(db, options.start, options.end));
  }
  return {};
}

}  // namespace

// The write transaction, on the file's first connection.
class SqliteDatabase::SqliteWriter final : public storage_common::Writer {
 public:
  SqliteWriter(Connection& db, const storage::BackendContext& context)
      : db_(db), log_(context.log), checkpointer_(db, context.blocking, context.log) {}

  Result<Marks> begin() override {
    if (const std::string* lost = checkpointer_.failure(); lost != nullptr && !broken_) stop(SQLITE_IOERR_FSYNC, *lost);
    if (broken_) return Error(Reason::ServiceUnavailable, stopped());
    KUBERNEL_CHECK_OK(guard(Query(db_, "BEGIN IMMEDIATE").done()));
    if (!known_) {  // Nobody else writes to the file.
      auto marks = guard(read_marks(db_));
      if (!marks) {
        rollback();
        return marks;
      }
      marks_ = *marks;
      known_ = true;
    }
    changed_ = marks_;
    return marks_;
  }

  /// Threads: any.
  std::string stopped() const {
    const std::lock_guard lock(stopped_mutex_);
    return stopped_.empty() ? full_ : stopped_;
  }

  std::vector<Result<std::optional<Row>>> newest(std::span<const std::string_view> keys) override {
    std::vector<Result<std::optional<Row>>> rows;
    rows.reserve(keys.size());
    for (const std::string_view key : keys) {
      if (const Row* known = recent_.find(key)) {
        rows.emplace_back(*known);
      } else {
        rows.push_back(newest_row(db_, key));
      }
    }
    return rows;
  }

  Result<void> append(std::span<const Row> rows) override {
    for (const Row& row : rows) KUBERNEL_CHECK_OK(guard(append(row)));
    appended_.insert(appended_.end(), rows.begin(), rows.end());
    return {};
  }

  Result<Page> range(const RangeOptions& options) override {
    Page page{.items = {}, .revision = changed_.head};
    KUBERNEL_CHECK_OK(guard(read_range(db_, options, page, [] { return Result<void>(); })));
    return page;
  }

  Result<std::vector<std::string>> leased(LeaseId id) override {
    std::vector<std::string> keys;
    Query query(db_, kLeased);
    query.bind(id);
    for (;;) {
      KUBERNEL_TRY(const bool row, guard(query.step()));
      if (!row) return keys;
      keys.emplace_back(query.bytes(0));
    }
  }

  Result<std::optional<LeaseRecord>> find_lease(LeaseId id) override {
    Query query(db_, kFindLease);
    KUBERNEL_TRY(const bool found, guard(query.bind(id).step()));
    if (!found) return std::optional<LeaseRecord>();
    return std::optional(LeaseRecord{.id = id, .ttl = std::chrono::seconds(query.number(0))});
  }

  Result<void> save_lease(const LeaseRecord& lease) override {
    return guard(Query(db_, kSaveLease).bind(lease.id).bind(lease.ttl.count()).done());
  }

  Result<void> erase_lease(LeaseId id) override { return guard(Query(db_, kEraseLease).bind(id).done()); }

  Result<void> set_compacted(Revision revision) override {
    changed_.compacted = revision;
    return guard(Query(db_, kSetCompacted).bind(revision).done());
  }

  Result<void> sweep(Revision from, Revision to) override {
    const RowId after_from = row_id(from + 1);
    KUBERNEL_CHECK_OK(guard(Query(db_, kSweepOld).bind(after_from).bind(row_id(to + 1)).done()));
    KUBERNEL_CHECK_OK(guard(Query(db_, kSweepDeletedKeys).bind(row_id(from)).bind(row_id(to)).done()));
    KUBERNEL_CHECK_OK(guard(Query(db_, kSweepDeletions).bind(row_id(from)).bind(row_id(to)).done()));
    changed_.swept = to;
    return guard(Query(db_, kSetSwept).bind(to).done());
  }

  Result<void> commit() override {
    auto committed = guard(Query(db_, "COMMIT").done());
    if (!committed) {
      rollback();
      return committed;
    }
    marks_ = changed_;
    for (const Row& row : appended_) recent_.put(row);
    appended_.clear();
    set_full({});
    checkpointer_.after_commit();
    return {};
  }

  void rollback() override {
    appended_.clear();
    // SQLite has already rolled back by itself after some errors.
    if (sqlite3_get_autocommit(db_.handle()) == 0) {
      sqlite3_exec(db_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
    }
  }

 private:
  Result<void> append(const Row& row) {
    const KeyValue& kv = *row.kv;
    const std::int64_t sum{storage_common::row_checksum(row)};
    Query log(db_, kInsertLog);
    log.bind(row.id).bind(kv.key).bind(kv.created).bind(kv.version).bind(kv.lease).bind(row.previous);
    KUBERNEL_CHECK_OK(log.bind(std::int64_t{row.deleted}).bind(sum).bind(kv.value).done());
    changed_.head = kv.modified;
    const Row* before = recent_.find(kv.key);
    if (!row.deleted && before != nullptr && before->id == row.previous && before->kv->lease == kv.lease) {
      KUBERNEL_CHECK_OK(Query(db_, kMoveKey).bind(kv.key).bind(row.id).done());
      if (sqlite3_changes(db_.handle()) == 1) return {};
    }
    Query key(db_, kUpsertKey);
    return key.bind(kv.key).bind(row.id).bind(std::int64_t{!row.deleted}).bind(kv.lease).done();
  }

  // After an error that says the file cannot be trusted to take a write (a failed write or sync may not be retried: the
  // kernel may have dropped the data), no write is taken until the store is opened again. A full disk only fails the
  // writes that meet it.
  template <class T>
  Result<T> guard(Result<T> result) {
    if (result) return result;
    const int code = db_.code();
    const int primary = code & 0xff;
    if (primary == SQLITE_FULL) {
      const std::string why = "storage-sqlite: " + db_.path() + ": no space left; free some, nothing was written";
      set_full(why);
      return Error(Reason::ServiceUnavailable, why);
    }
    if (primary == SQLITE_IOERR || primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB ||
        primary == SQLITE_READONLY || primary == SQLITE_CANTOPEN) {
      return stop(code, result.error().message());
    }
    return result;
  }

  Error stop(int code, const std::string& cause) {
    const std::string why = "writes have stopped until a restart: " + cause;
    log_error(log_, why, {{"code", code}});
    const std::lock_guard lock(stopped_mutex_);
    stopped_ = why;
    broken_ = true;
    return {Reason::ServiceUnavailable, why};
  }

  void set_full(const std::string& why) {
    if (full_.empty() && why.empty()) return;  // Only this thread changes it.
    const std::lock_guard lock(stopped_mutex_);
    full_ = why;
  }

  Connection& db_;
  Logger& log_;
  mutable std::mutex stopped_mutex_;
  std::string stopped_;  // Why no more writes are taken; empty: they are.
  std::string full_;     // The same, for as long as there is no space. Each write tries whether there is some again.
  bool broken_ = false;
  bool known_ = false;
  Marks marks_;    // As committed, once known.
  Marks changed_;  // As the transaction leaves it.
  RecentRows recent_{storage_common::kRecentRowsBytes};
  std::vector<Row> appended_;  // In this transaction.
  Checkpointer checkpointer_;
};

// A reader's connection, taken from the pool and put back.
class SqliteDatabase::Reading {
 public:
  explicit Reading(SqliteDatabase& database) : database_(database) {}
  ~Reading() {
    const std::lock_guard lock(database_.readers_mutex_);
    if (connection_ && database_.idle_readers_.size() < kIdleReaders) {
      database_.idle_readers_.push_back(std::move(connection_));
    }
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

  Result<Connection*> open() {
    {
      const std::lock_guard lock(database_.readers_mutex_);
      if (!database_.idle_readers_.empty()) {
        connection_ = std::move(database_.idle_readers_.back());
        database_.idle_readers_.pop_back();
      }
    }
    if (!connection_) {
      KUBERNEL_TRY(connection_, Connection::open(database_.file_->path(), false));
    }
    return connection_.get();
  }

 private:
  SqliteDatabase& database_;
  std::unique_ptr<Connection> connection_;
};

SqliteDatabase::SqliteDatabase(std::unique_ptr<StoreFile> file, const storage::BackendContext& context)
    : file_(std::move(file)),
      clock_(context.clock),
      writer_(std::make_unique<SqliteWriter>(file_->writer(), context)) {}

SqliteDatabase::~SqliteDatabase() = default;

storage_common::Writer& SqliteDatabase::writer() {
  return *writer_;
}

Result<Marks> SqliteDatabase::marks() {
  Reading reading(*this);
  KUBERNEL_TRY(Connection* const db, reading.open());
  const Snapshot snapshot(*db);
  KUBERNEL_CHECK_OK(snapshot.begun());
  return read_marks(*db);
}

Result<std::vector<LeaseRecord>> SqliteDatabase::leases() {
  Reading reading(*this);
  KUBERNEL_TRY(Connection* const db, reading.open());
  std::vector<LeaseRecord> leases;
  Query query(*db, kLeases);
  for (;;) {
    KUBERNEL_TRY(const bool row, query.step());
    if (!row) return leases;
    leases.push_back({query.number(0), std::chrono::seconds(query.number(1))});
  }
}

std::string SqliteDatabase::stopped() const {
  return writer_->stopped();
}

Result<std::optional<KeyValue>> SqliteDatabase::get(const CallContext&, std::string_view key, Revision at) {
  Reading reading(*this);
  KUBERNEL_TRY(Connection* const db, reading.open());
  std::optional<Row> row;
  if (at == 0) {
    KUBERNEL_TRY(row, newest_row(*db, key));
  } else {
    Snapshot snapshot(*db);
    KUBERNEL_TRY(const Revision revision, snapshot.at(at));
    RowId newest = 0;
    {
      Query query(*db, kKeyRow);
      KUBERNEL_TRY(const bool found, query.bind(key).step());
      if (found) newest = query.number(0);
    }
    KUBERNEL_TRY(row, as_of(*db, key, newest, revision, snapshot.compacted));
  }
  return row && !row->deleted ? std::optional(*row->kv) : std::nullopt;
}

Result<Page> SqliteDatabase::range(const CallContext& ctx, const RangeOptions& options) {
  Reading reading(*this);
  KUBERNEL_TRY(Connection* const db, reading.open());
  return options.at == 0 ? range_now(ctx, options, *db) : range_then(ctx, options, *db);
}

Result<Page> SqliteDatabase::range_now(const CallContext& ctx, const RangeOptions& options, Connection& db) {
  Snapshot snapshot(db);
  Page page;
  KUBERNEL_TRY(page.revision, snapshot.at(0));
  KUBERNEL_CHECK_OK(read_range(db, options, page, [&] { return check(ctx); }));
  return page;
}

Result<Page> SqliteDatabase::range_then(const CallContext& ctx, const RangeOptions& options, Connection& db) {
  Snapshot snapshot(db);
  Page page;
  KUBERNEL_TRY(page.revision, snapshot.at(options.at));
  Query query(db, options.end.empty() ? kKeysToEnd : kKeys);
  bind_range(query, options.start, options.end);
  for (std::size_t seen = 1;; ++seen) {
    KUBERNEL_TRY(const bool found, query.step());
    if (!found) return page;
    if (seen % kCheckEvery == 0) KUBERNEL_CHECK_OK(check(ctx));
    const std::string key(query.bytes(1));
    KUBERNEL_TRY(const auto row, as_of(db, key, query.number(0), page.revision, snapshot.compacted));
    if (!row) continue;
    if (options.count) ++page.count;
    if (options.limit != 0 && page.items.size() == options.limit) {
      page.more = true;
      if (!options.count) return page;
      continue;
    }
    page.items.push_back(*row->kv);
    if (options.keys_only) page.items.back().value.clear();
  }
}

Result<std::int64_t> SqliteDatabase::count(const CallContext&, const KeyRange& range) {
  Reading reading(*this);
  KUBERNEL_TRY(Connection* const db, reading.open());
  return count_live(*db, range.start, range.end);
}

Result<WatchBatch> SqliteDatabase::changes(Revision from, Revision to, const KeyRange& range, std::size_t max_events) {
  Reading reading(*this);
  KUBERNEL_TRY(Connection* const db, reading.open());
  Snapshot snapshot(*db);
  KUBERNEL_CHECK_OK(snapshot.at(from));
  WatchBatch batch{.events = {}, .progress = std::min(to, from + kChangesWindow - 1)};
  Query query(*db, kChanges);
  query.bind(row_id(from)).bind(row_id(batch.progress + 1));
  for (;;) {
    KUBERNEL_TRY(const bool found, query.step());
    if (!found) return batch;
    if (!range.contains(query.bytes(8))) continue;
    const Revision revision = revision_of(query.number(0));
    if (batch.events.size() >= max_events && batch.events.back().kv.modified != revision) {
      batch.progress = batch.events.back().kv.modified;
      return batch;
    }
    const std::string key(query.bytes(8));
    KUBERNEL_TRY(const Row row, decode(query, key, true));
    Event event{.type = row.deleted ? Event::Type::Delete : Event::Type::Put, .kv = *row.kv, .previous = std::nullopt};
    if (row.previous != 0) {
      KUBERNEL_TRY(const auto previous, find_row(*db, key, row.previous));
      if (previous && !previous->deleted) event.previous = *previous->kv;
    }
    batch.events.push_back(std::move(event));
  }
}

Result<std::int64_t> SqliteDatabase::size_bytes() {
  Reading reading(*this);
  KUBERNEL_TRY(Connection* const db, reading.open());
  KUBERNEL_TRY(const auto pages, db->number("PRAGMA page_count", 0));
  KUBERNEL_TRY(const auto page_size, db->number("PRAGMA page_size", 0));
  return pages * page_size;
}

Result<void> SqliteDatabase::check(const CallContext& ctx) const {
  if (ctx.stopping()) return Error(Reason::Cancelled, "storage: the call was cancelled");
  if (ctx.deadline != CallContext::Clock::time_point::max() && clock_.now() >= ctx.deadline) {
    return Error(Reason::Timeout, "storage: the deadline has passed");
  }
  return {};
}

}  // namespace kubernel::storage_sqlite
