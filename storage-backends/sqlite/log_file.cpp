// SPDX-License-Identifier: Apache-2.0
#include "log_file.h"

#include <cstddef>
#include <new>
#include <string>
#include <string_view>

#include <sqlite3.h>

namespace kubernel::storage_sqlite {
namespace {

// A transaction that is larger is written in pieces. SQLite's own files take less than 128 KiB at once.
constexpr std::size_t kGathered = std::size_t{120} << 10U;

// SQLite allocates it; the real file lies behind it.
struct LogFile {
  sqlite3_file base{};
  sqlite3_int64 at = 0;  // Where `gathered` belongs.
  std::string gathered;

  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  const sqlite3_io_methods& methods() { return *real()->pMethods; }
  sqlite3_int64 end() const { return at + static_cast<sqlite3_int64>(gathered.size()); }

  int write_out() {
    if (gathered.empty()) return SQLITE_OK;
    const int result = methods().xWrite(real(), gathered.data(), static_cast<int>(gathered.size()), at);
    gathered.clear();  // After a failure, too: SQLite gives the transaction up.
    return result;
  }
};
static_assert(alignof(LogFile) <= 8);  // As SQLite's own files are.

LogFile& log_of(sqlite3_file* file) {
  return *reinterpret_cast<LogFile*>(file);
}

int close_log(sqlite3_file* file) {
  LogFile& log = log_of(file);
  const int written = log.write_out();
  const int closed = log.methods().xClose(log.real());
  log.~LogFile();
  return written != SQLITE_OK ? written : closed;
}

int read_log(sqlite3_file* file, void* data, int size, sqlite3_int64 at) {
  LogFile& log = log_of(file);
  if (const int written = log.write_out(); written != SQLITE_OK) return written;
  return log.methods().xRead(log.real(), data, size, at);
}

int write_log(sqlite3_file* file, const void* data, int size, sqlite3_int64 at) {
  LogFile& log = log_of(file);
  const std::string_view piece(static_cast<const char*>(data), static_cast<std::size_t>(size));
  if (at != log.end() || log.gathered.size() + piece.size() > kGathered) {
    if (const int written = log.write_out(); written != SQLITE_OK) return written;
    log.at = at;
  }
  log.gathered += piece;
  return SQLITE_OK;
}

int truncate_log(sqlite3_file* file, sqlite3_int64 size) {
  LogFile& log = log_of(file);
  if (const int written = log.write_out(); written != SQLITE_OK) return written;
  return log.methods().xTruncate(log.real(), size);
}

int sync_log(sqlite3_file* file, int how) {
  LogFile& log = log_of(file);
  if (const int written = log.write_out(); written != SQLITE_OK) return written;
  return log.methods().xSync(log.real(), how);
}

int size_of_log(sqlite3_file* file, sqlite3_int64* size) {
  LogFile& log = log_of(file);
  if (const int written = log.write_out(); written != SQLITE_OK) return written;
  return log.methods().xFileSize(log.real(), size);
}

// Those of a file that is neither locked, shared nor mapped, as a log is.
const sqlite3_io_methods& log_methods() {
  static const sqlite3_io_methods methods = [] {
    sqlite3_io_methods made{};
    made.iVersion = 1;
    made.xClose = close_log;
    made.xRead = read_log;
    made.xWrite = write_log;
    made.xTruncate = truncate_log;
    made.xSync = sync_log;
    made.xFileSize = size_of_log;
    made.xLock = [](sqlite3_file*, int) { return SQLITE_OK; };
    made.xUnlock = [](sqlite3_file*, int) { return SQLITE_OK; };
    made.xCheckReservedLock = [](sqlite3_file*, int* reserved) {
      *reserved = 0;
      return SQLITE_OK;
    };
    made.xFileControl = [](sqlite3_file* file, int what, void* argument) {
      return log_of(file).methods().xFileControl(log_of(file).real(), what, argument);
    };
    made.xSectorSize = [](sqlite3_file* file) { return log_of(file).methods().xSectorSize(log_of(file).real()); };
    made.xDeviceCharacteristics = [](sqlite3_file* file) {
      return log_of(file).methods().xDeviceCharacteristics(log_of(file).real());
    };
    return made;
  }();
  return methods;
}

int open_file(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
  sqlite3_vfs* const below = sqlite3_vfs_find(nullptr);
  if ((flags & SQLITE_OPEN_WAL) == 0) return below->xOpen(below, name, file, flags, out);
  auto* const log = new (file) LogFile;
  const int result = below->xOpen(below, name, log->real(), flags, out);
  if (result == SQLITE_OK) {
    log->base.pMethods = &log_methods();
  } else {
    log->~LogFile();
    file->pMethods = nullptr;  // Nothing to close.
  }
  return result;
}

}  // namespace

const char* log_vfs() {
  static sqlite3_vfs vfs = [] {
    sqlite3_vfs made = *sqlite3_vfs_find(nullptr);
    made.zName = "kubernel";
    made.szOsFile += static_cast<int>(sizeof(LogFile));
    made.pNext = nullptr;
    made.xOpen = open_file;
    return made;
  }();
  static const int registered = sqlite3_vfs_register(&vfs, 0);
  return registered == SQLITE_OK ? vfs.zName : nullptr;
}

}  // namespace kubernel::storage_sqlite
