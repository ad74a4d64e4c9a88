// SPDX-License-Identifier: Apache-2.0
//
// RecordedDisk: what a program does to the files of one directory, written down below it.
//
// The test program defines open(), pwrite(), fsync() and the others itself, so that SQLite's calls, and ours, pass
// through here on their way to the C library. The list of them is what a disk gets to see; DiskModel tells from it what
// may be left after the power goes. The same place makes a chosen call fail.

#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace kubernel::crash {

struct DiskCall {
  enum class Kind : std::uint8_t { Create, Write, Truncate, Sync, FailedSync, Unlink, Rename, SyncDirectory };
  Kind kind = Kind::Write;
  int file = 0;          ///< Numbers files, not names. 0 for calls about names only.
  std::string name;      ///< Create, Unlink, Rename: in the directory.
  std::string to;        ///< Rename.
  std::uint64_t at = 0;  ///< Write: offset. Truncate: the size.
  std::string data;      ///< Write.
};

/// Makes one call fail, and all of its kind after it when `stays`.
struct Fault {
  enum class At : std::uint8_t { Write, Sync };
  At at = At::Write;
  int after = 0;  ///< How many calls of the kind succeed first.
  int error = 0;  ///< The errno it fails with.
  bool stays = false;
};

/// Records from construction to destruction. One at a time in a process. Threads: any may make calls.
class RecordedDisk {
 public:
  /// `directory`: absolute, without a slash at the end. What lies in it already counts as synced.
  explicit RecordedDisk(std::string directory);
  ~RecordedDisk();
  RecordedDisk(const RecordedDisk&) = delete;
  RecordedDisk& operator=(const RecordedDisk&) = delete;

  std::vector<DiskCall> calls() const;
  std::size_t size() const;
  /// Counts from now on.
  void fail(const Fault& fault);
  bool failed() const;

  /// For the calls themselves. Descriptors and paths of other directories are not looked at.
  struct Seen;
  bool contains(const char* path) const;
  void opened(int fd, const char* path, int flags, bool existed);
  void closed(int fd);
  std::optional<int> refuses(int fd, Fault::At at);
  void wrote(int fd, std::uint64_t at, const void* data, std::size_t size);
  void truncated(int fd, std::uint64_t size);
  void synced(int fd);
  void unlinked(const char* path);
  void renamed(const char* from, const char* to);

 private:
  static constexpr int kDirectory = -1;
  std::string name_of(const char* path) const;
  int file_of(int fd) const;

  const std::string directory_;
  mutable std::mutex mutex_;
  std::vector<DiskCall> calls_;
  std::map<int, int> files_;          // By descriptor.
  std::map<std::string, int> names_;  // As a running program sees them.
  int last_file_ = 0;
  std::optional<Fault> fault_;
  int matching_ = 0;
  bool failed_ = false;
};

}  // namespace kubernel::crash
