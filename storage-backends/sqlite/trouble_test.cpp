// SPDX-License-Identifier: Apache-2.0
//
// What the SQLite store does when files and disks are not as they should be.

#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "scratch_store.h"

namespace kubernel::storage_sqlite {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Lets writes and syncs of SQLite fail. Installed as the default VFS: SQLite's own, with two methods replaced.
class FaultyDisk {
 public:
  FaultyDisk() {
    base() = sqlite3_vfs_find(nullptr);
    vfs() = *base();
    vfs().zName = "faulty";
    vfs().xOpen = open;
    sqlite3_vfs_register(&vfs(), 1);
  }
  ~FaultyDisk() {
    write_result() = SQLITE_OK;
    sync_result() = SQLITE_OK;
    database_sync_result() = SQLITE_OK;
    sqlite3_vfs_register(base(), 1);
    sqlite3_vfs_unregister(&vfs());
  }
  FaultyDisk(const FaultyDisk&) = delete;
  FaultyDisk& operator=(const FaultyDisk&) = delete;

  static std::atomic<int>& write_result() {
    static std::atomic<int> result = SQLITE_OK;
    return result;
  }
  static std::atomic<int>& sync_result() {
    static std::atomic<int> result = SQLITE_OK;
    return result;
  }
  // Of the database, and not of its log.
  static std::atomic<int>& database_sync_result() {
    static std::atomic<int> result = SQLITE_OK;
    return result;
  }
  static std::atomic<int>& syncs() {
    static std::atomic<int> count = 0;
    return count;
  }
  static std::atomic<int>& writes() {
    static std::atomic<int> count = 0;
    return count;
  }
  static std::atomic<int>& opens() {
    static std::atomic<int> count = 0;
    return count;
  }

 private:
  static sqlite3_vfs*& base() {
    static sqlite3_vfs* vfs = nullptr;
    return vfs;
  }
  static sqlite3_vfs& vfs() {
    static sqlite3_vfs vfs{};
    return vfs;
  }
  // A method table of SQLite's with our two in it; it has one for each kind of file.
  struct Methods {
    sqlite3_io_methods patched{};  // First: a file's pMethods points to it.
    const sqlite3_io_methods* real = nullptr;
  };
  static const sqlite3_io_methods& real(const sqlite3_file* file) {
    return *reinterpret_cast<const Methods*>(file->pMethods)->real;
  }
  static Methods& methods_for(const sqlite3_io_methods* real) {
    static std::mutex mutex;
    static std::map<const sqlite3_io_methods*, Methods> tables;
    const std::lock_guard lock(mutex);
    Methods& methods = tables[real];
    if (methods.real != nullptr) return methods;
    methods = {*real, real};
    methods.patched.xWrite = [](sqlite3_file* f, const void* data, int size, sqlite3_int64 at) {
      ++writes();
      return write_result() != SQLITE_OK ? write_result().load() : FaultyDisk::real(f).xWrite(f, data, size, at);
    };
    methods.patched.xSync = [](sqlite3_file* f, int how) {
      ++syncs();
      if (database_sync_result() != SQLITE_OK && is_database(f)) return database_sync_result().load();
      return sync_result() != SQLITE_OK ? sync_result().load() : FaultyDisk::real(f).xSync(f, how);
    };
    return methods;
  }
  static bool is_database(const sqlite3_file* file) {
    const std::lock_guard lock(databases_mutex());
    return databases().contains(file);
  }
  static std::mutex& databases_mutex() {
    static std::mutex mutex;
    return mutex;
  }
  static std::set<const sqlite3_file*>& databases() {
    static std::set<const sqlite3_file*> files;
    return files;
  }
  static int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
    ++opens();
    {
      const std::lock_guard lock(databases_mutex());
      databases().erase(file);  // The memory may have been another's.
      if ((flags & SQLITE_OPEN_MAIN_DB) != 0) databases().insert(file);
    }
    const int result = base()->xOpen(base(), name, file, flags, out);
    if (result == SQLITE_OK && file->pMethods != nullptr) file->pMethods = &methods_for(file->pMethods).patched;
    return result;
  }
};

class SqliteTrouble : public ::testing::Test {
 protected:
  // The one line open() fails with.
  std::string refusal(const std::string& path) {
    auto opened = around_.open(path);
    EXPECT_FALSE(opened);
    return opened ? "" : opened.error().message();
  }

  void open() {
    auto opened = around_.open(path_);
    ASSERT_TRUE(opened) << opened.error().message();
    store_ = *std::move(opened);
  }

  storage::Revision put(std::string_view key, std::string_view value, storage::Revision expected = 0) {
    const auto result = store_->put({}, key, value, expected, 0);
    EXPECT_TRUE(result && result->applied) << (result ? "lost" : result.error().message());
    return result ? result->revision : 0;
  }

  // Changes the closed store behind its back.
  void tamper(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
  }

  // Of the closed store.
  int rows_in_log() {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    sqlite3_stmt* count = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db, "SELECT count(*) FROM log", -1, &count, nullptr), SQLITE_OK);
    EXPECT_EQ(sqlite3_step(count), SQLITE_ROW);
    const int rows = sqlite3_column_int(count, 0);
    sqlite3_finalize(count);
    sqlite3_close(db);
    return rows;
  }

  ScratchDirectory directory_;
  std::string path_ = directory_.file("state.db");
  Surroundings around_;
  std::unique_ptr<storage::Backend> store_;
};

TEST_F(SqliteTrouble, ASecondOpenerGetsOneClearLine) {
  open();
  EXPECT_THAT(refusal(path_), AllOf(HasSubstr(path_), HasSubstr("in use by another process"), Not(HasSubstr("\n"))));
  store_.reset();
  open();
}

TEST_F(SqliteTrouble, AMissingDirectoryIsNamed) {
  EXPECT_THAT(refusal("/nonexistent/state.db"), AllOf(HasSubstr("/nonexistent/state.db"), HasSubstr("No such file")));
}

TEST_F(SqliteTrouble, ADirectoryIsNoStore) {
  std::filesystem::create_directory(path_);
  EXPECT_THAT(refusal(path_), AllOf(HasSubstr(path_), HasSubstr("directory")));
}

TEST_F(SqliteTrouble, AFileThatIsNoDatabaseIsLeftAlone) {
  const std::string text(10'000, 'x');
  std::ofstream(path_) << text;
  EXPECT_THAT(refusal(path_),
              AllOf(HasSubstr(path_), HasSubstr("is not a store, or is damaged"), Not(HasSubstr("\n"))));
  std::ifstream file(path_);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), text);
}

TEST_F(SqliteTrouble, AnotherProgramsDatabaseIsLeftAlone) {
  tamper("CREATE TABLE theirs (x)");
  const auto content = [this] {
    std::ifstream file(path_);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string before = content();
  EXPECT_THAT(refusal(path_), AllOf(HasSubstr(path_), HasSubstr("another program")));
  EXPECT_TRUE(content() == before) << "not even its journal mode is changed";
}

TEST_F(SqliteTrouble, ANewerSchemaIsRefused) {
  open();
  store_.reset();
  tamper("PRAGMA user_version=99");
  EXPECT_THAT(refusal(path_), AllOf(HasSubstr(path_), HasSubstr("schema version 99"), HasSubstr("newer")));
}

// As a program that knew one row per revision left it.
TEST_F(SqliteTrouble, AStoreOfTheFirstSchemaIsBroughtUpToDate) {
  open();
  const auto first = put("/a", "1");
  put("/b", "1");
  const auto second = put("/a", "2", first);
  ASSERT_TRUE(store_->remove({}, "/b", first + 1)->applied);
  store_.reset();
  tamper(
      "CREATE TABLE old (revision INTEGER PRIMARY KEY, key BLOB NOT NULL, created INTEGER NOT NULL, version INTEGER NOT"
      " NULL, lease INTEGER NOT NULL, previous INTEGER NOT NULL, deleted INTEGER NOT NULL, checksum INTEGER NOT NULL,"
      " value BLOB NOT NULL);"
      "INSERT INTO old SELECT id >> 20, key, created, version, lease, previous >> 20, deleted, checksum, value FROM "
      "log;"
      "DROP TABLE log; ALTER TABLE old RENAME TO log; ALTER TABLE keys RENAME COLUMN id TO revision;"
      "UPDATE keys SET revision = revision >> 20; PRAGMA user_version=1");
  open();
  EXPECT_EQ((*store_->get({}, "/a", 0))->value, "2");
  EXPECT_EQ((*store_->get({}, "/a", first))->value, "1");
  EXPECT_FALSE(*store_->get({}, "/b", 0));
  EXPECT_EQ((*store_->get({}, "/b", second))->value, "1");
  EXPECT_EQ(put("/b", "2"), second + 2);
  ASSERT_TRUE(store_->compact({}, second + 2));
  EXPECT_EQ(store_->range({}, {})->items.size(), 2U);
}

TEST_F(SqliteTrouble, ABadConfigurationIsNamed) {
  const auto opened = open_sqlite({R"({"path":"/x","synchronous":"off"})", around_.log, around_.metrics, around_.clock,
                                   around_.blocking, around_.poller});
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message(), HasSubstr("synchronous must be full or normal"));
  const auto no_path =
      open_sqlite({"{}", around_.log, around_.metrics, around_.clock, around_.blocking, around_.poller});
  ASSERT_FALSE(no_path);
  EXPECT_THAT(no_path.error().message(), HasSubstr("path is required"));
}

TEST_F(SqliteTrouble, OnlyTheOwnerCanReadTheFiles) {
  open();
  put("/a", "1");
  for (const char* suffix : {"", "-wal", "-shm", ".lock"}) {
    struct stat info {};
    ASSERT_EQ(::stat((path_ + suffix).c_str(), &info), 0) << suffix;
    EXPECT_EQ(info.st_mode & 0777U, 0600U) << suffix;
  }
  store_.reset();
  ASSERT_EQ(::chmod(path_.c_str(), 0644), 0);
  open();
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(SqliteTrouble, AFlippedBitIsReportedAndNeverServed) {
  open();
  put("/good", "1");
  const auto first = put("/bad", "value");
  const auto second = put("/bad", "value", first);
  store_.reset();
  tamper("UPDATE log SET value = x'76616c7564' WHERE id = " + std::to_string(second << 20));
  open();
  const auto says = AllOf(HasSubstr("\"/bad\" at revision " + std::to_string(second)), HasSubstr("checksum"));
  const auto found = store_->get({}, "/bad", 0);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().reason(), Reason::Internal);
  EXPECT_THAT(found.error().message(), says);
  const auto page = store_->range({}, {});
  ASSERT_FALSE(page);
  EXPECT_THAT(page.error().message(), says);
  const auto written = store_->put({}, "/bad", "new", second, 0);
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message(), says);
  const auto events = store_->watch({.from = second});
  ASSERT_TRUE(events);
  const auto taken = (*events)->take(10);
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().message(), says);
  EXPECT_EQ((*store_->get({}, "/good", 0))->value, "1");
  put("/good2", "1");
}

TEST_F(SqliteTrouble, AMissingRowIsReported) {
  open();
  const auto revision = put("/bad", "value");
  put("/good", "1");
  store_.reset();
  tamper("DELETE FROM log WHERE id = " + std::to_string(revision << 20));
  open();
  const auto found = store_->get({}, "/bad", 0);
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().message(), AllOf(HasSubstr("\"/bad\" at revision 2"), HasSubstr("missing")));
}

TEST_F(SqliteTrouble, RowsOfTwoKeysCannotBeExchanged) {
  open();
  put("/a", "1");
  put("/b", "1");
  store_.reset();
  tamper("UPDATE keys SET id = (5 << 20) - id");
  open();
  const auto found = store_->get({}, "/a", 0);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().reason(), Reason::Internal);
}

TEST_F(SqliteTrouble, AfterAFailedSyncNoWriteIsTakenAndReadsGoOn) {
  const FaultyDisk disk;
  open();
  const auto revision = put("/a", "1");
  FaultyDisk::sync_result() = SQLITE_IOERR_FSYNC;
  const auto failed = store_->put({}, "/a", "2", revision, 0);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().reason(), Reason::ServiceUnavailable);
  FaultyDisk::sync_result() = SQLITE_OK;
  const auto refused = store_->put({}, "/b", "1", 0, 0);
  ASSERT_FALSE(refused) << "a sync that failed once may not be trusted again";
  EXPECT_EQ(refused.error().reason(), Reason::ServiceUnavailable);
  EXPECT_THAT(refused.error().message(), AllOf(HasSubstr(path_), HasSubstr("writes have stopped")));
  EXPECT_EQ((*store_->get({}, "/a", 0))->value, "1");
  EXPECT_EQ(store_->stats({})->revision, revision);
  EXPECT_THAT(store_->stats({})->stopped, AllOf(HasSubstr(path_), HasSubstr("writes have stopped")));
  ASSERT_EQ(around_.log.lines().size(), 1U);
  store_.reset();
  open();
  const auto found = store_->get({}, "/a", 0);
  ASSERT_TRUE(found && *found);
  EXPECT_GE((*found)->modified, revision);  // The failed write's outcome is unknown.
  put("/b", "1");
}

TEST_F(SqliteTrouble, AFailedWriteStopsWritesToo) {
  const FaultyDisk disk;
  open();
  put("/a", "1");
  FaultyDisk::write_result() = SQLITE_IOERR_WRITE;
  const auto failed = store_->put({}, "/b", "1", 0, 0);
  ASSERT_FALSE(failed);
  FaultyDisk::write_result() = SQLITE_OK;
  EXPECT_FALSE(store_->put({}, "/b", "1", 0, 0));
  EXPECT_FALSE(store_->compact({}, 2));
  EXPECT_FALSE(store_->leases().grant({}, 1, std::chrono::seconds(10)));
  EXPECT_EQ((*store_->get({}, "/a", 0))->value, "1");
  EXPECT_FALSE(*store_->get({}, "/b", 0));
}

TEST_F(SqliteTrouble, AFullDiskFailsTheWriteAndNothingElse) {
  const FaultyDisk disk;
  open();
  const auto revision = put("/a", "1");
  auto events = store_->watch({});
  ASSERT_TRUE(events);
  FaultyDisk::write_result() = SQLITE_FULL;
  for (int i = 0; i < 3; ++i) {
    const auto failed = store_->put({}, "/a", "2", revision, 0);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().reason(), Reason::ServiceUnavailable);
    EXPECT_THAT(failed.error().message(), AllOf(HasSubstr(path_), HasSubstr("no space left")));
  }
  EXPECT_EQ((*store_->get({}, "/a", 0))->value, "1");
  EXPECT_THAT(store_->stats({})->stopped, HasSubstr("no space left"));
  FaultyDisk::write_result() = SQLITE_OK;
  EXPECT_EQ(put("/a", "2", revision), revision + 1);
  EXPECT_EQ(store_->stats({})->stopped, "");
  EXPECT_EQ((*events)->take(10)->events.size(), 1U);
  events->reset();  // A watch goes before its store.
  store_.reset();
  open();
  EXPECT_EQ((*store_->get({}, "/a", 0))->value, "2");
}

TEST_F(SqliteTrouble, AnIdleStoreAndLostRacesSyncNothing) {
  const FaultyDisk disk;
  open();
  put("/a", "1");
  const int before = FaultyDisk::syncs();
  EXPECT_FALSE(store_->put({}, "/a", "2", 0, 0)->applied);
  EXPECT_EQ((*store_->get({}, "/a", 0))->value, "1");
  EXPECT_EQ(store_->range({}, {})->items.size(), 1U);
  EXPECT_EQ(FaultyDisk::syncs(), before);
  EXPECT_FALSE(around_.clock.next_timer()) << "an idle store has no timer";
  EXPECT_EQ(around_.blocking.pending(), 0U);
}

TEST_F(SqliteTrouble, ACommitCostsOneWriteAndOneSync) {
  const FaultyDisk disk;
  open();
  put("/warm", "1");
  const int writes = FaultyDisk::writes();
  const int syncs = FaultyDisk::syncs();
  for (int i = 0; i < 10; ++i) put("/k" + std::to_string(i), "1");
  EXPECT_EQ(FaultyDisk::writes() - writes, 10);
  EXPECT_EQ(FaultyDisk::syncs() - syncs, 10);
}

// SQLite writes what its cache has no room for before the commit, and may read it again.
TEST_F(SqliteTrouble, ATransactionLargerThanTheCacheIsWrittenAndReadBack) {
  open();
  const std::string value(1U << 20U, 'v');
  storage::Transaction transaction;
  for (int i = 0; i < 16; ++i) {
    transaction.then.push_back({storage::PutOperation{.key = "/large" + std::to_string(i), .value = value}});
  }
  const auto written = store_->transact({}, transaction);
  ASSERT_TRUE(written) << written.error().message();
  put("/after", "1");
  for (int round = 0; round < 2; ++round) {
    const auto page = store_->range({}, {});
    ASSERT_TRUE(page) << page.error().message();
    ASSERT_EQ(page->items.size(), 17U);
    for (const auto& item : page->items) EXPECT_EQ(item.value, item.key == "/after" ? "1" : value);
    store_.reset();
    open();
  }
}

TEST_F(SqliteTrouble, TheFileDoesNotGrowWhileHistoryIsCompacted) {
  open();
  const std::string value(10'000, 'v');
  storage::Revision revision = 0;
  std::int64_t size = 0;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 40; ++i) revision = put("/a", value, revision);
    const auto compacted = store_->compact({}, revision);
    ASSERT_TRUE(compacted) << compacted.error().message();
    if (round == 4) size = store_->stats({})->size_bytes;
  }
  EXPECT_LE(store_->stats({})->size_bytes, size + size / 10);
  EXPECT_LE(std::filesystem::file_size(path_ + "-wal"), 24U << 20U);
}

// SQLite's WAL-reset bug; see checkpointer.h. The pool's first copy opens a connection, by which it is seen.
TEST_F(SqliteTrouble, ACopyOfTheLogThatWaitedTooLongDoesNotBegin) {
  const FaultyDisk disk;
  open();
  const std::string value(1U << 20U, 'v');  // More than 256 pages.
  auto grow = [&, revision = storage::Revision{0}](int writes) mutable {
    for (int i = 0; i < writes; ++i) revision = put("/a", value, revision);
  };
  grow(4);
  EXPECT_EQ(around_.blocking.pending(), 1U) << "the pool's turn";
  grow(12);  // The pool does not come to it: the writer takes the turn back and copies the whole log.
  const int opens = FaultyDisk::opens();
  around_.blocking.run_all();
  EXPECT_EQ(FaultyDisk::opens(), opens) << "a copy began on a log that the next write starts anew";
  grow(4);
  EXPECT_EQ(around_.blocking.pending(), 1U);
  around_.blocking.run_all();
  EXPECT_GT(FaultyDisk::opens(), opens) << "and the next turn is the pool's again";
  grow(40);
  EXPECT_LE(std::filesystem::file_size(path_ + "-wal"), 24U << 20U);
}

// What was copied before a sync of the database failed may be gone, although a later sync succeeds: the log must stay.
TEST_F(SqliteTrouble, AfterAFailedSyncOfTheDatabaseItsLogIsKept) {
  const FaultyDisk disk;
  for (const bool on_the_pool : {true, false}) {
    SCOPED_TRACE(on_the_pool);
    open();
    const std::string value(1U << 20U, 'v');
    const auto found = store_->get({}, "/a", 0);
    ASSERT_TRUE(found);
    storage::Revision revision = *found ? (*found)->modified : 0;
    FaultyDisk::database_sync_result() = SQLITE_IOERR_FSYNC;
    for (int i = 0; i < 4; ++i) revision = put("/a", value, revision);
    if (on_the_pool) around_.blocking.run_all();
    for (int i = 0; i < 16 && !on_the_pool; ++i) {  // The pool does not come to it, and the writer copies the log.
      const auto written = store_->put({}, "/a", value, revision, 0);
      if (!written) break;
      revision = written->revision;
    }
    FaultyDisk::database_sync_result() = SQLITE_OK;
    const auto refused = store_->put({}, "/a", value, revision, 0);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message(), AllOf(HasSubstr(path_), HasSubstr("writes have stopped")));
    EXPECT_THAT(store_->stats({})->stopped, HasSubstr("writes have stopped"));
    EXPECT_EQ((*store_->get({}, "/a", 0))->modified, revision);
    around_.blocking.run_all();
    store_.reset();
    EXPECT_GT(std::filesystem::file_size(path_ + "-wal"), 0U);
    open();
    EXPECT_EQ((*store_->get({}, "/a", 0))->modified, revision);
    put("/a", value, revision);
    store_.reset();
  }
}

TEST_F(SqliteTrouble, AnInterruptedCompactionIsFinishedByTheNext) {
  open();
  storage::Revision revision = 0;
  for (int i = 0; i < 300; ++i) revision = put("/a", "1", revision);
  store_.reset();
  // As if the process had been killed between marking history as gone and deleting it.
  tamper("UPDATE meta SET value = " + std::to_string(revision) + " WHERE name = 'compacted'");
  open();
  const auto past = store_->get({}, "/a", 5);
  ASSERT_FALSE(past);
  EXPECT_EQ(past.error().reason(), Reason::Expired);
  ASSERT_TRUE(store_->compact({}, revision));
  store_.reset();
  EXPECT_EQ(rows_in_log(), 1);
  open();
  EXPECT_EQ((*store_->get({}, "/a", 0))->version, 300);
}

}  // namespace
}  // namespace kubernel::storage_sqlite
