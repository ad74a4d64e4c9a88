// SPDX-License-Identifier: Apache-2.0
#include "store_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "database.h"
#include "log_file.h"

namespace kubernel::storage_sqlite {
namespace {

// Written into the file's header, so that another program's database is recognized.
constexpr std::int64_t kApplicationId = 0x4b524e4c;

// Element i brings a store of version i to version i + 1. Only ever append.
constexpr std::array kMigrations = {R"sql(
  CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    key      BLOB NOT NULL,
    created  INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    lease    INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    deleted  INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    value    BLOB NOT NULL      -- The last column: what does not ask for values does not read them.
  );
  CREATE TABLE keys (
    key      BLOB PRIMARY KEY,
    revision INTEGER NOT NULL,
    live     INTEGER NOT NULL,
    lease    INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX keys_by_lease ON keys (lease) WHERE lease != 0;
  CREATE TABLE leases (id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL);
  CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  INSERT INTO meta VALUES ('compacted', 0), ('swept', 0);
)sql",
                                    // Several rows of one revision: a row's id is revision << 20 | place.
                                    R"sql(
  CREATE TABLE log2 (
    id       INTEGER PRIMARY KEY,
    key      BLOB NOT NULL,
    created  INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    lease    INTEGER NOT NULL,
    previous INTEGER NOT NULL,  -- An id.
    deleted  INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    value    BLOB NOT NULL      -- The last column: what does not ask for values does not read them.
  );
  INSERT INTO log2 SELECT revision << 20, key, created, version, lease, previous << 20, deleted, checksum, value
    FROM log ORDER BY revision;
  DROP TABLE log;
  ALTER TABLE log2 RENAME TO log;
  ALTER TABLE keys RENAME COLUMN revision TO id;
  UPDATE keys SET id = id << 20;
)sql"};
constexpr auto kSchemaVersion = static_cast<std::int64_t>(kMigrations.size());

// Of a new store; one that is there keeps its own. A commit writes whole pages: most of them for the few bytes that say
// which row of a key is the newest. With smaller ones objects of some kilobytes come into pieces.
constexpr char kPageSize[] = "PRAGMA page_size=2048";

// The write-ahead log is made this long when it is new. Overwriting a file and syncing it takes half as long as
// extending it, because the file's size and blocks do not change. To SQLite, zeros are no frames.
constexpr off_t kWalBytes = off_t{5} << 20U;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Error failed(const std::string& path, const std::string& what) {
  return {Reason::ServiceUnavailable, "storage-sqlite: " + path + ": " + what};
}

std::string reason_text() {
  return std::strerror(errno);
}

// The file another process left its id in; "" when it cannot be read.
std::string owner(int fd) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(fd, text.data(), text.size() - 1, 0);
  return size > 0 ? " (process " + std::string(text.data(), static_cast<std::size_t>(size)) + ")" : "";
}

Result<int> lock(const std::string& path) {
  const std::string lock_path = path + ".lock";
  Descriptor fd(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fd.get() < 0) return failed(path, "cannot create " + lock_path + ": " + reason_text());
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return failed(path, "cannot lock " + lock_path + ": " + reason_text());
    return failed(path, "is in use by another process" + owner(fd.get()) + "; stop it or choose another path");
  }
  const std::string pid = std::to_string(::getpid());
  // For people only: the lock is what counts.
  if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
    return failed(path, "cannot write " + lock_path + ": " + reason_text());
  }
  return fd.release();
}

Result<void> sync_directory(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Descriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) return failed(path, "cannot sync its directory: " + reason_text());
  return {};
}

// SQLite would create the file readable for all. Closed again before SQLite opens it: closing any descriptor of a
// file drops the locks SQLite has on it.
Result<void> prepare_database(const std::string& path) {
  const Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (fd.get() < 0) return failed(path, "cannot be opened for writing: " + reason_text());
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return failed(path, reason_text());
  if (!S_ISREG(info.st_mode)) return failed(path, "is not a regular file");
  if ((info.st_mode & 0077U) != 0 && ::fchmod(fd.get(), 0600) != 0) {
    return failed(path, "cannot be made private: " + reason_text());
  }
  return {};
}

// Called once SQLite has opened its log: it deletes one it finds beside an empty database. SQLite has no locks on
// the log's file itself, and never reads past the frames it wrote.
Result<void> lengthen_wal(const std::string& path) {
  const std::string wal = path + "-wal";
  const Descriptor fd(::open(wal.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd.get() < 0) return failed(path, "cannot open " + wal + ": " + reason_text());
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return failed(path, reason_text());
  if (info.st_size >= kWalBytes) {
    // What was read in long runs is cached in pieces of up to 2 MiB; see below.
    ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
    return {};
  }
  // Page by page: the cache keeps what is written at once in one piece, and the kernel counts all of a piece as written
  // whenever a commit touches a page of it.
  const std::array<char, 4096> zeros{};
  for (off_t at = info.st_size; at < kWalBytes;) {
    const auto size = static_cast<std::size_t>(std::min<off_t>(kWalBytes - at, off_t{4096} - at % 4096));
    if (::pwrite(fd.get(), zeros.data(), size, at) != static_cast<ssize_t>(size)) {
      return failed(path, "cannot write " + wal + ": " + reason_text());
    }
    at += static_cast<off_t>(size);
  }
  if (::fsync(fd.get()) != 0) return failed(path, "cannot sync " + wal + ": " + reason_text());
  return sync_directory(path);
}

// The schema's version; changes nothing.
Result<std::int64_t> read_version(Connection& db) {
  KUBERNEL_TRY(const auto version, db.number("PRAGMA user_version", 0));
  KUBERNEL_TRY(const auto application, db.number("PRAGMA application_id", 0));
  KUBERNEL_TRY(const auto tables, db.number("SELECT count(*) FROM sqlite_schema", 0));
  if (application != kApplicationId && (tables != 0 || version != 0)) {
    return failed(db.path(), "is a database of another program; choose another path");
  }
  KUBERNEL_CHECK_OK(
      storage_common::check_schema_version("storage-sqlite: " + db.path() + ":", version, kSchemaVersion));
  return version;
}

Result<void> migrate(Connection& db, std::int64_t version) {
  if (version == kSchemaVersion) return {};
  KUBERNEL_CHECK_OK(db.run("BEGIN IMMEDIATE"));
  for (auto at = version; at < kSchemaVersion; ++at) {
    KUBERNEL_CHECK_OK(db.run(kMigrations.at(static_cast<std::size_t>(at))));
  }
  const std::string marks = "PRAGMA application_id=" + std::to_string(kApplicationId) +
                            "; PRAGMA user_version=" + std::to_string(kSchemaVersion) + "; COMMIT";
  return db.run(marks.c_str());
}

Result<void> configure(Connection& db, const FileOptions& options) {
  // Before anything is written to what may be another's.
  KUBERNEL_TRY(const std::int64_t version, read_version(db));
  KUBERNEL_CHECK_OK(db.run(kPageSize));
  KUBERNEL_TRY(const std::string mode, db.text("PRAGMA journal_mode=WAL"));
  if (mode != "wal") return failed(options.path, "cannot use a write-ahead log here (journal mode " + mode + ")");
  KUBERNEL_CHECK_OK(db.run(options.synchronous_full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL"));
  // Zeroes what is deleted where that costs no extra write.
  KUBERNEL_CHECK_OK(db.run("PRAGMA secure_delete=FAST"));
  // The log is emptied when the store is closed. Its frames would still be read before the database's pages then, and a
  // flipped bit in one would end the log there: older pages would come back, without an error.
  KUBERNEL_CHECK_OK(db.run("PRAGMA journal_size_limit=67108864"));
  int keep = 1;  // The log file stays when the store is closed, and its name with it.
  sqlite3_file_control(db.handle(), "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
  if (sqlite3_db_readonly(db.handle(), "main") != 0) return failed(options.path, "is read-only");
  KUBERNEL_CHECK_OK(migrate(db, version));
  return lengthen_wal(options.path);
}

}  // namespace

Result<std::unique_ptr<StoreFile>> StoreFile::open(const FileOptions& options) {
  KUBERNEL_TRY(const int locked, lock(options.path));
  std::unique_ptr<StoreFile> file(new StoreFile(options.path, locked));
  KUBERNEL_CHECK_OK(prepare_database(options.path));
  auto configured = file->connect(options);
  if (configured) return file;
  if (configured.error().reason() != Reason::Internal) return std::move(configured).error();
  return failed(options.path, "is not a store, or is damaged (" + configured.error().message() +
                                  "); restore it from a backup or choose another path");
}

Result<void> StoreFile::connect(const FileOptions& options) {
  KUBERNEL_TRY(writer_, Connection::open(options.path, true, options.synchronous_full ? log_vfs() : nullptr));
  return configure(*writer_, options);
}

StoreFile::~StoreFile() {
  writer_.reset();  // Before the lock goes.
  ::close(lock_);
}

}  // namespace kubernel::storage_sqlite
