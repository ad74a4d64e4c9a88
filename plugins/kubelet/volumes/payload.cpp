// SPDX-License-Identifier: Apache-2.0
#include "volumes/payload.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace kubernel::kubelet {

namespace {

namespace fs = std::filesystem;

constexpr const char* kData = "..data";
constexpr const char* kNewData = "..data_tmp";

Error system_error(const std::string& path) {
  return Error(Reason::Internal, path + ": " + std::strerror(errno));
}

Result<void> write_one(const std::string& path, const PayloadFile& file, std::optional<std::int64_t> group) {
  const int fd = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return system_error(path);
  std::string_view rest = file.content;
  bool good = true;
  while (good && !rest.empty()) {
    const ssize_t n = ::write(fd, rest.data(), rest.size());
    good = n > 0;
    if (good) rest.remove_prefix(static_cast<std::size_t>(n));
  }
  // With a group the owner's rights are given to it too, as upstream's fsGroup.
  mode_t mode = file.mode;
  if (group) {
    good = good && ::fchown(fd, static_cast<uid_t>(-1), static_cast<gid_t>(*group)) == 0;
    mode |= (mode & 0700U) >> 3U;
  }
  good = good && ::fchmod(fd, mode) == 0;  // Not by open(): the umask would count.
  const Error error = system_error(path);
  ::close(fd);
  if (!good) return error;
  return {};
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// What "..data" holds now; absent when it does not exist.
std::optional<Payload> current_payload(const fs::path& data) {
  std::error_code error;
  if (!fs::exists(data, error)) return std::nullopt;
  Payload out;
  for (const auto& entry : fs::recursive_directory_iterator(data, error)) {
    if (!entry.is_regular_file()) continue;
    struct stat info {};
    if (::stat(entry.path().c_str(), &info) != 0) continue;
    out[fs::relative(entry.path(), data, error).string()] = {read_file(entry.path()), info.st_mode & 07777U};
  }
  return out;
}

bool same_content(const Payload& now, const Payload& wanted) {
  if (now.size() != wanted.size()) return false;
  for (const auto& [path, file] : wanted) {
    const auto at = now.find(path);
    if (at == now.end() || at->second.content != file.content) return false;
  }
  return true;
}

std::set<std::string> top_names(const Payload& payload) {
  std::set<std::string> out;
  for (const auto& [path, file] : payload) out.insert(path.substr(0, path.find('/')));
  return out;
}

Result<void> update_links(const fs::path& directory, const std::set<std::string>& names) {
  std::error_code error;
  for (const auto& name : names) {
    const fs::path link = directory / name;
    if (fs::is_symlink(fs::symlink_status(link, error))) continue;
    fs::create_symlink(std::string(kData) + "/" + name, link, error);
    if (error) return Error(Reason::Internal, link.string() + ": " + error.message());
  }
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("..") && entry.is_symlink() && !names.contains(name)) fs::remove(entry.path(), error);
  }
  if (error) return Error(Reason::Internal, directory.string() + ": " + error.message());
  return {};
}

}  // namespace

bool is_safe_relative(std::string_view path) {
  if (path.empty() || path.starts_with('/')) return false;
  for (const auto& part : fs::path(path)) {
    if (part == "..") return false;
  }
  return true;
}

Result<void> add_keys(const std::map<std::string, std::string>& data, api::Value items, std::int64_t default_mode,
                      bool optional, std::string_view what, Payload& out) {
  if (items.empty()) {
    for (const auto& [key, content] : data) out[key] = {content, static_cast<std::uint32_t>(default_mode)};
    return {};
  }
  for (const api::Value item : items) {
    const std::string key(item["key"].string()), path(item["path"].string());
    const auto at = data.find(key);
    if (at == data.end()) {
      if (optional) continue;
      return Error(Reason::Invalid, std::string(what) + " references non-existent config key: " + key);
    }
    if (!is_safe_relative(path)) return Error(Reason::Invalid, "invalid path \"" + path + "\"");
    const api::Value mode = item["mode"];
    out[path] = {at->second, static_cast<std::uint32_t>(mode && !mode.is_null() ? mode.integer() : default_mode)};
  }
  return {};
}

Result<void> write_payload(const std::string& directory, const Payload& payload, std::optional<std::int64_t> group) {
  const fs::path base(directory);
  std::error_code error;
  const fs::path data = base / kData;
  const auto now = current_payload(data);
  if (now && same_content(*now, payload)) return update_links(base, top_names(payload));
  const fs::path before = fs::is_symlink(fs::symlink_status(data, error)) ? fs::read_symlink(data, error) : fs::path();
  std::string fresh = directory + "/..kubernel_XXXXXX";
  if (::mkdtemp(fresh.data()) == nullptr) return system_error(fresh);
  ::chmod(fresh.c_str(), 0755);
  for (const auto& [path, file] : payload) {
    const fs::path target = fs::path(fresh) / path;
    fs::create_directories(target.parent_path(), error);
    if (error) return Error(Reason::Internal, target.string() + ": " + error.message());
    KUBERNEL_CHECK_OK(write_one(target.string(), file, group));
  }
  fs::remove(base / kNewData, error);
  fs::create_symlink(fs::path(fresh).filename(), base / kNewData, error);
  if (!error) fs::rename(base / kNewData, data, error);
  if (error) return Error(Reason::Internal, data.string() + ": " + error.message());
  KUBERNEL_CHECK_OK(update_links(base, top_names(payload)));
  if (!before.empty()) fs::remove_all(base / before, error);
  return {};
}

}  // namespace kubernel::kubelet
