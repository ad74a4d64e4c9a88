// SPDX-License-Identifier: Apache-2.0
#include "state_file.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

namespace kubernel::runtime::simulated {

namespace fs = std::filesystem;

namespace {

Error file_error(std::string_view what, const std::string& path, const std::error_code& code) {
  return Error(Reason::Internal, "cannot " + std::string(what) + " " + path + ": " + code.message());
}

std::error_code last_error() {
  return {errno != 0 ? errno : EIO, std::generic_category()};
}

}  // namespace

Result<StateFiles> StateFiles::open(std::string directory) {
  if (directory.empty()) return StateFiles({});
  std::error_code code;
  fs::create_directories(directory, code);
  if (!code) fs::permissions(directory, fs::perms::owner_all, code);
  if (code) return file_error("make", directory, code);
  return StateFiles(std::move(directory));
}

Result<void> StateFiles::write(std::string_view name, std::string_view content) const {
  if (directory_.empty()) return {};
  const std::string path = path_of(name), fresh = path + ".new";
  errno = 0;
  std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
  file << content;
  file.close();
  if (!file) return file_error("write", fresh, last_error());
  std::error_code code;
  fs::rename(fresh, path, code);
  if (code) return file_error("replace", path, code);
  return {};
}

Result<void> StateFiles::remove(std::string_view name) const {
  if (directory_.empty()) return {};
  std::error_code code;
  fs::remove(path_of(name), code);
  if (code) return file_error("remove", path_of(name), code);
  return {};
}

Result<std::vector<StateFiles::File>> StateFiles::read_all() const {
  std::vector<File> out;
  if (directory_.empty()) return out;
  std::error_code code;
  for (fs::directory_iterator at(directory_, code), end; !code && at != end; at.increment(code)) {
    if (at->path().extension() != ".json") continue;
    errno = 0;
    std::ifstream file(at->path(), std::ios::binary);
    std::stringstream content;
    content << file.rdbuf();
    if (!file) return file_error("read", at->path().string(), last_error());
    out.push_back({at->path().stem().string(), content.str()});
  }
  if (code) return file_error("list", directory_, code);
  std::ranges::sort(out, {}, &File::name);
  return out;
}

}  // namespace kubernel::runtime::simulated
