// SPDX-License-Identifier: Apache-2.0
#include "commands.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <utility>

#include <nlohmann/json.hpp>

#include "check.h"
#include "contents.h"
#include "sqlite_backend.h"
#include "store_copy.h"
#include "transfer.h"

namespace kubernel::storage_tool {

using nlohmann::json;
using storage::Backend;
using storage::Revision;

namespace {

namespace fs = std::filesystem;

std::string size_text(std::int64_t bytes) {
  static constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits.at(unit));
  return out.data();
}

std::string text_of(const json& value) {
  return value.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Error file_error(const std::string& file, std::string_view what) {
  return {Reason::ServiceUnavailable, file + ": cannot " + std::string(what) + ": " + std::strerror(errno)};
}

// The files SQLite and we keep beside a store that is open.
void remove_companions(const std::string& file) {
  std::error_code missing;
  for (const char* suffix : {"-wal", "-shm", ".lock"}) fs::remove(file + suffix, missing);
}

// A file of ours that goes when it is no longer needed, with all that lies beside it.
class TemporaryStore {
 public:
  explicit TemporaryStore(std::string file) : file_(std::move(file)) {}
  ~TemporaryStore() {
    std::error_code missing;
    fs::remove(file_, missing);
    remove_companions(file_);
  }
  TemporaryStore(const TemporaryStore&) = delete;
  TemporaryStore& operator=(const TemporaryStore&) = delete;
  const std::string& file() const { return file_; }

 private:
  const std::string file_;
};

// A name beside `file` that nobody else uses. Whoever can read the store's directory can read the store.
std::string name_beside(const std::string& file, std::string_view purpose) {
  return file + "." + std::string(purpose) + "-" + std::to_string(::getpid());
}

Result<StoreUrl> file_url(const std::string& file) {
  return parse_store_url("sqlite:" + file);
}

// A store to look at. One that a running process has open is copied as of this moment, and the copy is looked at.
struct Looked {
  std::unique_ptr<TemporaryStore> copy;
  std::unique_ptr<Backend> store;
};

bool is_in_use(const Error& error) {
  return error.message().find("in use by another process") != std::string::npos;
}

Result<Looked> look(const Tools& tools, const StoreUrl& url) {
  Looked out;
  auto opened = tools.bench.open_existing(url);
  if (opened) {
    out.store = *std::move(opened);
    return out;
  }
  if (!url.is_file() || !is_in_use(opened.error())) return std::move(opened).error();
  out.copy = std::make_unique<TemporaryStore>(name_beside(url.file, "look"));
  KUBERNEL_TRY(const auto context, tools.bench.context(url));
  KUBERNEL_CHECK_OK(storage_sqlite::backup_sqlite(context, out.copy->file()));
  KUBERNEL_TRY(const StoreUrl copy, file_url(out.copy->file()));
  KUBERNEL_TRY(out.store, tools.bench.open(copy));
  return out;
}

// What a backend's leases can tell of one.
template <class Leases>
Result<std::chrono::seconds> ask_for_ttl(Leases& leases, storage::LeaseId id) {
  if constexpr (requires { leases.find(CallContext{}, id, false)->ttl; }) {
    KUBERNEL_TRY(const auto lease, leases.find(CallContext{}, id, false));
    return lease.ttl;
  } else {
    return Error(Reason::Invalid, "how long lease " + std::to_string(id) + " lasts cannot be asked for here");
  }
}

// For Transfer::lease_ttl.
std::function<Result<std::chrono::seconds>(storage::LeaseId)> lease_ttl(const StoreUrl& url, Backend& store) {
  return [file = url.file, &store](storage::LeaseId id) -> Result<std::chrono::seconds> {
    if (file.empty()) return ask_for_ttl(store.leases(), id);
    KUBERNEL_TRY(const auto times, storage_sqlite::lease_times(file));
    const auto found = times.find(id);
    return found != times.end() ? Result<std::chrono::seconds>(found->second)
                                : Error(Reason::NotFound, "lease " + std::to_string(id) + " not found");
  };
}

Error in_use(const StoreUrl& url, const Error& error, const std::string& advice) {
  if (!url.is_file() || !is_in_use(error)) return error;
  return {error.reason(), error.message() + ". " + advice};
}

Result<CheckReport> check_whole(const Tools& tools, const StoreUrl& url, Backend& store) {
  return check_store(store, {.revisions_without_gap = url.plugin != "storage-etcd"}, tools.progress);
}

// The directory entry of `file` survives power loss.
Result<void> sync_directory_of(const std::string& file) {
  const fs::path parent = fs::path(file).parent_path();
  const int fd = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  return synced ? Result<void>() : file_error(file, "sync its directory");
}

Result<void> sync_file(const std::string& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  return synced ? Result<void>() : file_error(file, "sync it");
}

Result<void> must_not_exist(const std::string& file) {
  std::error_code unknown;
  if (!fs::exists(fs::symlink_status(file, unknown))) return {};
  return Error(Reason::AlreadyExists,
               file + ": exists already; nothing is overwritten, choose another name or move it away");
}

// Gives a finished file its name, unless there is one by now.
Result<void> publish(const std::string& temporary, const std::string& file) {
  KUBERNEL_CHECK_OK(sync_file(temporary));
  if (::link(temporary.c_str(), file.c_str()) != 0) {
    if (errno == EEXIST) return must_not_exist(file);
    return file_error(file, "create it");
  }
  return sync_directory_of(file);
}

// Makes the store in `file` one file, with nothing beside it that matters.
Result<void> make_one_file(const Tools& tools, const StoreUrl& store, const std::string& file) {
  KUBERNEL_TRY(const auto context, tools.bench.context(store));
  return storage_sqlite::backup_sqlite(context, file);
}

// Opens the file that was written and reads it all: a backup nobody can start from is none.
Result<Digest> verify_backup(const Tools& tools, const std::string& file) {
  KUBERNEL_TRY(const StoreUrl url, file_url(file));
  Result<Digest> out = Digest{};
  {
    KUBERNEL_TRY(const auto store, tools.bench.open(url));
    out = digest(*store, [&](std::int64_t keys) { tools.progress.at("keys read again:", keys, 0); });
  }
  remove_companions(file);
  return out;
}

// Leaves `from`, whatever it is, in `file`, which nobody else knows of yet.
Result<void> copy_into_file(const Tools& tools, const StoreUrl& from, const std::string& file) {
  if (from.is_file()) return make_one_file(tools, from, file);
  const TemporaryStore work(file + ".work");
  KUBERNEL_TRY(const StoreUrl url, file_url(work.file()));
  {
    KUBERNEL_TRY(const auto source, tools.bench.open_existing(from));
    KUBERNEL_TRY(const auto target, tools.bench.open(url));
    KUBERNEL_CHECK_OK(
        transfer({*source, *target, from.text, tools.bench.executor(), tools.progress, lease_ttl(from, *source)}));
  }
  return make_one_file(tools, url, file);
}

json as_json(const std::string& store, const Transferred& done) {
  return {{"store", store},
          {"keys", done.keys},
          {"bytes", done.bytes},
          {"leases", done.leases},
          {"sha256", done.sha256},
          {"sourceRevision", done.source_revision},
          {"revision", done.target_revision},
          {"resumed", done.resumed}};
}

}  // namespace

Result<Answer> stats(const Tools& tools, const StoreUrl& url) {
  KUBERNEL_TRY(const auto looked, look(tools, url));
  KUBERNEL_TRY(const auto stats, looked.store->stats({}));
  Answer out;
  out.text = "keys        " + std::to_string(stats.keys) + "\nrevision    " + std::to_string(stats.revision) +
             "\ncompacted   " + std::to_string(stats.compacted) + "\nsize        " + size_text(stats.size_bytes) + "\n";
  const json document = {{"store", url.text},
                         {"keys", stats.keys},
                         {"revision", stats.revision},
                         {"compacted", stats.compacted},
                         {"sizeBytes", stats.size_bytes}};
  out.json = text_of(document);
  return out;
}

Result<Answer> check(const Tools& tools, const StoreUrl& url) {
  KUBERNEL_TRY(const auto looked, look(tools, url));
  KUBERNEL_TRY(const CheckReport report, check_whole(tools, url, *looked.store));
  Answer out;
  out.good = report.damaged == 0;
  for (const std::string& line : report.damage) out.text += line + "\n";
  const auto more = report.damaged - static_cast<std::int64_t>(report.damage.size());
  if (more > 0) out.text += "... and " + std::to_string(more) + " more\n";
  out.text += std::to_string(report.keys) + " keys and " + std::to_string(report.events) + " events up to revision " +
              std::to_string(report.revision) + " read; " +
              (out.good ? "nothing is damaged\n" : std::to_string(report.damaged) + " are damaged; restore a backup\n");
  out.json = text_of({{"store", url.text},
                      {"good", out.good},
                      {"revision", report.revision},
                      {"compacted", report.compacted},
                      {"keys", report.keys},
                      {"events", report.events},
                      {"damaged", report.damaged},
                      {"damage", report.damage}});
  return out;
}

Result<Answer> compact(const Tools& tools, const StoreUrl& url, std::optional<Revision> revision) {
  auto opened = tools.bench.open_existing(url);
  if (!opened) return in_use(url, opened.error(), "A running API server compacts its store by itself");
  Backend& store = **opened;
  KUBERNEL_TRY(const auto before, store.stats({}));
  KUBERNEL_CHECK_OK(store.compact({}, revision.value_or(before.revision)));
  KUBERNEL_TRY(const auto after, store.stats({}));
  Answer out;
  out.text = "history before revision " + std::to_string(after.compacted) + " is gone (was: before " +
             std::to_string(before.compacted) + "); " + size_text(after.size_bytes) + "\n";
  out.json = text_of({{"store", url.text},
                      {"compactedBefore", before.compacted},
                      {"compacted", after.compacted},
                      {"revision", after.revision},
                      {"sizeBytes", after.size_bytes}});
  return out;
}

Result<Answer> backup(const Tools& tools, const StoreUrl& from, const std::string& file) {
  KUBERNEL_CHECK_OK(must_not_exist(file));
  std::error_code unknown;
  if (from.is_file() && !fs::exists(from.file, unknown)) {
    return Error(Reason::NotFound, from.text + ": there is no such file");
  }
  const TemporaryStore temporary(name_beside(file, "unfinished"));
  KUBERNEL_CHECK_OK(copy_into_file(tools, from, temporary.file()));
  KUBERNEL_TRY(const Digest content, verify_backup(tools, temporary.file()));
  KUBERNEL_CHECK_OK(publish(temporary.file(), file));
  const auto size = static_cast<std::int64_t>(fs::file_size(file, unknown));
  Answer out;
  out.text = file + ": " + std::to_string(content.keys) + " keys as of revision " + std::to_string(content.revision) +
             ", " + size_text(size) + ", sha256 of its content " + content.sha256 + "\n";
  out.json = text_of({{"file", file},
                      {"keys", content.keys},
                      {"revision", content.revision},
                      {"sizeBytes", size},
                      {"sha256", content.sha256}});
  return out;
}

namespace {

// A copy of the backup, checked, whose revisions go on above those that were given since it was made.
Result<CheckReport> prepare_restore(const Tools& tools, const std::string& file, const std::string& copy,
                                    Revision skip) {
  std::error_code failed;
  if (!fs::exists(file, failed)) return Error(Reason::NotFound, file + ": there is no such file");
  fs::copy_file(file, copy, fs::copy_options::none, failed);
  if (failed) return Error(Reason::ServiceUnavailable, copy + ": cannot write it: " + failed.message());
  if (::chmod(copy.c_str(), 0600) != 0) return file_error(copy, "make it private");
  // Nobody waits for its writes to be on the disk: the copy is given its name only when it is whole.
  KUBERNEL_TRY(const StoreUrl url, parse_store_url("sqlite:" + copy + "?synchronous=normal"));
  KUBERNEL_TRY(const auto store, tools.bench.open(url));
  KUBERNEL_TRY(CheckReport report, check_whole(tools, url, *store));
  if (report.damaged > 0) {
    return Error(Reason::Invalid, file + ": is damaged (" + report.damage.front() + "); take another backup");
  }
  if (skip == 0) return report;
  KUBERNEL_TRY(report.revision, raise_revision(*store, report.revision + skip, tools.bench.executor(), tools.progress));
  return report;
}

Result<Answer> migrate_open(const Tools& tools, Backend& source, const StoreUrl& from, const std::string& name,
                            const StoreUrl& to) {
  KUBERNEL_TRY(const auto target, tools.bench.open(to));
  KUBERNEL_TRY(const Transferred done,
               transfer({source, *target, name, tools.bench.executor(), tools.progress, lease_ttl(from, source)}));
  Answer out;
  out.text = std::string(done.resumed ? "resumed and finished: " : "") + std::to_string(done.keys) + " keys, " +
             std::to_string(done.leases) + " leases, " + size_text(done.bytes) + ", equal in both stores (sha256 " +
             done.sha256 + ")\nrevision " + std::to_string(done.source_revision) + " there is followed by " +
             std::to_string(done.target_revision) + " here\n";
  out.json = text_of(as_json(to.text, done));
  return out;
}

}  // namespace

Result<Answer> restore(const Tools& tools, const std::string& file, const StoreUrl& to, Revision skip) {
  if (to.is_file()) KUBERNEL_CHECK_OK(must_not_exist(to.file));
  const TemporaryStore copy(name_beside(to.is_file() ? to.file : file, "restoring"));
  KUBERNEL_TRY(const CheckReport report, prepare_restore(tools, file, copy.file(), skip));
  if (!to.is_file()) {
    KUBERNEL_TRY(const StoreUrl url, file_url(copy.file()));
    KUBERNEL_TRY(const auto source, tools.bench.open(url));
    return migrate_open(tools, *source, url, "the backup " + file, to);
  }
  const TemporaryStore whole(copy.file() + ".whole");
  KUBERNEL_TRY(const StoreUrl url, file_url(copy.file()));
  KUBERNEL_CHECK_OK(make_one_file(tools, url, whole.file()));
  KUBERNEL_CHECK_OK(publish(whole.file(), to.file));
  Answer out;
  out.text = to.file + ": " + std::to_string(report.keys) + " keys, checked, at revision " +
             std::to_string(report.revision) + "\n";
  out.json = text_of({{"store", to.text}, {"keys", report.keys}, {"revision", report.revision}});
  return out;
}

Result<Answer> migrate(const Tools& tools, const StoreUrl& from, const StoreUrl& to) {
  if (from.text == to.text || (from.is_file() && from.file == to.file)) {
    return Error(Reason::BadRequest, "source and target are the same store");
  }
  auto source = tools.bench.open_existing(from);
  if (!source)
    return in_use(from, source.error(), "Stop what uses it before migrating, so that no write is left behind");
  return migrate_open(tools, **source, from, from.text, to);
}

}  // namespace kubernel::storage_tool
