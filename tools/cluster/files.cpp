// SPDX-License-Identifier: Apache-2.0
#include "files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include <kubernel/base/child_process.h>

namespace kubernel::cluster {

Error system_error(std::string_view what, std::string_view path) {
  const std::string why = std::generic_category().message(errno);
  return {Reason::Internal, std::string(what) + " " + std::string(path) + ": " + why};
}

Result<void> write_control_file(const std::string& path, std::string_view text) {
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return system_error("open", path);
  if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return system_error("write", path);
  return {};
}

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Result<void> make_directory(const std::string& path) {
  std::error_code failure;
  std::filesystem::create_directories(path, failure);
  if (failure) return Error(Reason::Internal, "make directory " + path + ": " + failure.message());
  return {};
}

}  // namespace kubernel::cluster
