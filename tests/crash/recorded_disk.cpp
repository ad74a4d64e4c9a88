// SPDX-License-Identifier: Apache-2.0

// Else the C library's headers would make one function of open() and open64().
#undef _FILE_OFFSET_BITS

#include "recorded_disk.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

namespace kubernel::crash {
namespace {

std::atomic<RecordedDisk*> recording = nullptr;

// The C library's own function.
template <class Function>
Function* real(const char* name) {
  void* found = ::dlsym(RTLD_NEXT, name);
  if (found == nullptr) std::abort();
  return reinterpret_cast<Function*>(found);
}

}  // namespace

RecordedDisk::RecordedDisk(std::string directory) : directory_(std::move(directory)) {
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
    names_[entry.path().filename()] = ++last_file_;
    calls_.push_back({.kind = DiskCall::Kind::Create, .file = last_file_, .name = entry.path().filename()});
    DiskCall content{.kind = DiskCall::Kind::Write, .file = last_file_};
    content.data.resize(entry.file_size());
    const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || ::pread(fd, content.data.data(), content.data.size(), 0) < 0) std::abort();
    ::close(fd);
    calls_.push_back(std::move(content));
    calls_.push_back({.kind = DiskCall::Kind::Sync, .file = last_file_});
  }
  calls_.push_back({.kind = DiskCall::Kind::SyncDirectory});
  RecordedDisk* nobody = nullptr;
  if (!recording.compare_exchange_strong(nobody, this)) std::abort();
}

RecordedDisk::~RecordedDisk() {
  recording = nullptr;
}

std::vector<DiskCall> RecordedDisk::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

std::size_t RecordedDisk::size() const {
  const std::lock_guard lock(mutex_);
  return calls_.size();
}

void RecordedDisk::fail(const Fault& fault) {
  const std::lock_guard lock(mutex_);
  fault_ = fault;
  matching_ = 0;
  failed_ = false;
}

bool RecordedDisk::failed() const {
  const std::lock_guard lock(mutex_);
  return failed_;
}

bool RecordedDisk::contains(const char* path) const {
  const std::string_view whole(path);
  return whole.starts_with(directory_) && (whole.size() == directory_.size() || whole[directory_.size()] == '/');
}

std::string RecordedDisk::name_of(const char* path) const {
  const std::size_t size = std::strlen(path);
  return size <= directory_.size() + 1 ? "" : std::string(path + directory_.size() + 1);
}

int RecordedDisk::file_of(int fd) const {
  const auto found = files_.find(fd);
  return found == files_.end() ? 0 : found->second;
}

void RecordedDisk::opened(int fd, const char* path, int flags, bool existed) {
  const std::lock_guard lock(mutex_);
  const std::string name = name_of(path);
  if (name.empty()) {
    files_[fd] = kDirectory;
    return;
  }
  int& file = names_[name];
  if (!existed || file == 0) {
    file = ++last_file_;
    calls_.push_back({.kind = DiskCall::Kind::Create, .file = file, .name = name});
  } else if ((flags & O_TRUNC) != 0) {
    calls_.push_back({.kind = DiskCall::Kind::Truncate, .file = file});
  }
  files_[fd] = file;
}

void RecordedDisk::closed(int fd) {
  const std::lock_guard lock(mutex_);
  files_.erase(fd);
}

std::optional<int> RecordedDisk::refuses(int fd, Fault::At at) {
  const std::lock_guard lock(mutex_);
  const int file = file_of(fd);
  if (file == 0 || !fault_ || fault_->at != at) return std::nullopt;
  const int number = matching_++;
  if (number < fault_->after || (number > fault_->after && !fault_->stays)) return std::nullopt;
  failed_ = true;
  if (at == Fault::At::Sync && file != kDirectory) {
    calls_.push_back({.kind = DiskCall::Kind::FailedSync, .file = file});
  }
  return fault_->error;
}

void RecordedDisk::wrote(int fd, std::uint64_t at, const void* data, std::size_t size) {
  const std::lock_guard lock(mutex_);
  const int file = file_of(fd);
  if (file <= 0 || size == 0) return;
  calls_.push_back({.kind = DiskCall::Kind::Write,
                    .file = file,
                    .at = at,
                    .data = std::string(static_cast<const char*>(data), size)});
}

void RecordedDisk::truncated(int fd, std::uint64_t size) {
  const std::lock_guard lock(mutex_);
  if (const int file = file_of(fd); file > 0) {
    calls_.push_back({.kind = DiskCall::Kind::Truncate, .file = file, .at = size});
  }
}

void RecordedDisk::synced(int fd) {
  const std::lock_guard lock(mutex_);
  const int file = file_of(fd);
  if (file > 0) calls_.push_back({.kind = DiskCall::Kind::Sync, .file = file});
  if (file == kDirectory) calls_.push_back({.kind = DiskCall::Kind::SyncDirectory});
}

void RecordedDisk::unlinked(const char* path) {
  const std::lock_guard lock(mutex_);
  const std::string name = name_of(path);
  names_.erase(name);
  calls_.push_back({.kind = DiskCall::Kind::Unlink, .name = name});
}

void RecordedDisk::renamed(const char* from, const char* to) {
  const std::lock_guard lock(mutex_);
  auto moved = names_.extract(name_of(from));
  if (moved.empty()) return;
  names_[name_of(to)] = moved.mapped();
  calls_.push_back({.kind = DiskCall::Kind::Rename, .name = name_of(from), .to = name_of(to)});
}

namespace {

using Open = int(const char*, int, ...);

int open_recorded(Open* next, const char* path, int flags, mode_t mode) {
  RecordedDisk* const disk = recording;
  if (disk == nullptr || !disk->contains(path)) return next(path, flags, mode);
  struct stat info {};
  const bool existed = ::stat(path, &info) == 0;
  const int fd = next(path, flags, mode);
  if (fd >= 0) disk->opened(fd, path, flags, existed);
  return fd;
}

mode_t mode_of(int flags, va_list& arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

using WriteAt = ssize_t(int, const void*, size_t, off64_t);

ssize_t write_recorded(WriteAt* next, int fd, const void* data, size_t size, off64_t at) {
  RecordedDisk* const disk = recording;
  if (disk != nullptr) {
    if (const auto error = disk->refuses(fd, Fault::At::Write)) {
      errno = *error;
      return -1;
    }
  }
  const ssize_t written = next(fd, data, size, at);
  if (disk != nullptr && written > 0) {
    disk->wrote(fd, static_cast<std::uint64_t>(at), data, static_cast<std::size_t>(written));
  }
  return written;
}

int sync_recorded(int (*next)(int), int fd) {
  RecordedDisk* const disk = recording;
  if (disk != nullptr) {
    if (const auto error = disk->refuses(fd, Fault::At::Sync)) {
      errno = *error;
      return -1;
    }
  }
  const int result = next(fd);
  if (disk != nullptr && result == 0) disk->synced(fd);
  return result;
}

int truncate_recorded(int (*next)(int, off64_t), int fd, off64_t size) {
  const int result = next(fd, size);
  RecordedDisk* const disk = recording;
  if (disk != nullptr && result == 0) disk->truncated(fd, static_cast<std::uint64_t>(size));
  return result;
}

}  // namespace
}  // namespace kubernel::crash

// The C library's functions, found before its own by every library of this program.
extern "C" {

int open(const char* path, int flags, ...) {
  static auto* const next = kubernel::crash::real<kubernel::crash::Open>("open");
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = kubernel::crash::mode_of(flags, arguments);
  va_end(arguments);
  return kubernel::crash::open_recorded(next, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  static auto* const next = kubernel::crash::real<kubernel::crash::Open>("open64");
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = kubernel::crash::mode_of(flags, arguments);
  va_end(arguments);
  return kubernel::crash::open_recorded(next, path, flags, mode);
}

int close(int fd) {
  static auto* const next = kubernel::crash::real<int(int)>("close");
  if (auto* const disk = kubernel::crash::recording.load(); disk != nullptr) disk->closed(fd);
  return next(fd);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t at) {
  static auto* const next = kubernel::crash::real<kubernel::crash::WriteAt>("pwrite");
  return kubernel::crash::write_recorded(next, fd, data, size, at);
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t at) {
  static auto* const next = kubernel::crash::real<kubernel::crash::WriteAt>("pwrite64");
  return kubernel::crash::write_recorded(next, fd, data, size, at);
}

int fsync(int fd) {
  static auto* const next = kubernel::crash::real<int(int)>("fsync");
  return kubernel::crash::sync_recorded(next, fd);
}

int fdatasync(int fd) {
  static auto* const next = kubernel::crash::real<int(int)>("fdatasync");
  return kubernel::crash::sync_recorded(next, fd);
}

int ftruncate(int fd, off_t size) noexcept {
  static auto* const next = kubernel::crash::real<int(int, off64_t)>("ftruncate");
  return kubernel::crash::truncate_recorded(next, fd, size);
}

int ftruncate64(int fd, off64_t size) noexcept {
  static auto* const next = kubernel::crash::real<int(int, off64_t)>("ftruncate64");
  return kubernel::crash::truncate_recorded(next, fd, size);
}

int unlink(const char* path) noexcept {
  static auto* const next = kubernel::crash::real<int(const char*)>("unlink");
  const int result = next(path);
  auto* const disk = kubernel::crash::recording.load();
  if (disk != nullptr && result == 0 && disk->contains(path)) disk->unlinked(path);
  return result;
}

int rename(const char* from, const char* to) noexcept {
  static auto* const next = kubernel::crash::real<int(const char*, const char*)>("rename");
  const int result = next(from, to);
  auto* const disk = kubernel::crash::recording.load();
  if (disk != nullptr && result == 0 && disk->contains(from)) disk->renamed(from, to);
  return result;
}

}  // extern "C"
