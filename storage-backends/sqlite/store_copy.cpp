// SPDX-License-Identifier: Apache-2.0
#include "store_copy.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "connection.h"

namespace kubernel::storage_sqlite {
namespace {

// Page by page, also damaged ones: what is wrong with a store must be wrong with its copy. All in one step, so that
// the copy is of one moment and need not begin again when the store is written to.
Result<void> copy_pages(Connection& from, Connection& to) {
  sqlite3_backup* const copy = sqlite3_backup_init(to.handle(), "main", from.handle(), "main");
  if (copy == nullptr) return to.error("copy");
  constexpr int kAll = -1;
  const int stepped = sqlite3_backup_step(copy, kAll);
  const int finished = sqlite3_backup_finish(copy);
  if (stepped == SQLITE_DONE && finished == SQLITE_OK) return {};
  return to.error("copy of " + from.path());
}

Result<void> copy_into(const std::string& path, const std::string& to) {
  KUBERNEL_TRY(const auto target, Connection::open(to, true));
  KUBERNEL_CHECK_OK(target->run("PRAGMA synchronous=EXTRA"));
  KUBERNEL_TRY(const auto source, Connection::open(path, false));
  return copy_pages(*source, *target);
}

Error failed(const std::string& file, const std::string& what) {
  return {Reason::ServiceUnavailable, "storage-sqlite: " + file + ": " + what + ": " + std::strerror(errno)};
}

}  // namespace

Result<void> copy_store(const std::string& path, const std::string& to) {
  if (::access(path.c_str(), R_OK) != 0) return failed(path, "cannot be read");
  const int fd = ::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0 && errno == EEXIST) return Error(Reason::AlreadyExists, "storage-sqlite: " + to + ": exists already");
  if (fd < 0) return failed(to, "cannot be created");
  ::close(fd);
  auto copied = copy_into(path, to);
  if (!copied) ::unlink(to.c_str());
  ::unlink((to + "-wal").c_str());
  ::unlink((to + "-shm").c_str());
  return copied;
}

Result<std::map<storage::LeaseId, std::chrono::seconds>> lease_times(const std::string& path) {
  KUBERNEL_TRY(const auto store, Connection::open(path, false));
  std::map<storage::LeaseId, std::chrono::seconds> out;
  Query query(*store, "SELECT id, ttl FROM leases");
  for (;;) {
    KUBERNEL_TRY(const bool found, query.step());
    if (!found) return out;
    out[query.number(0)] = std::chrono::seconds(query.number(1));
  }
}

}  // namespace kubernel::storage_sqlite
