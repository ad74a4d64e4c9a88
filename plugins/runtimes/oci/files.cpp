// SPDX-License-Identifier: Apache-2.0
#include "files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include <openssl/evp.h>

namespace kubernel::runtime::oci {
namespace {

Result<void> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return file_error("write", path, errno);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

Error file_error(std::string_view what, const std::string& path, int code) {
  return {code == ENOENT ? Reason::NotFound : Reason::Internal,
          "cannot " + std::string(what) + " " + path + ": " + std::generic_category().message(code)};
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return file_error("open", path, errno);
  std::string content;
  std::array<char, 16 * 1024> buffer{};
  for (;;) {
    const ssize_t got = read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return file_error("read", path, errno);
    if (got == 0) return content;
    content.append(buffer.data(), static_cast<std::size_t>(got));
    if (content.size() > limit) {
      return Error(Reason::RequestEntityTooLarge, path + " is larger than " + std::to_string(limit) + " bytes");
    }
  }
}

Result<void> write_file_atomic(const std::string& path, std::string_view content, Durable durable) {
  std::string temporary = path + ".XXXXXX";
  const UniqueFd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return file_error("create", path, errno);
  Result<void> written = write_all(fd.get(), content, path);
  if (written && durable == Durable::Yes && fsync(fd.get()) != 0) written = file_error("sync", path, errno);
  if (written && rename(temporary.c_str(), path.c_str()) != 0) written = file_error("replace", path, errno);
  if (!written) {
    unlink(temporary.c_str());
    return written;
  }
  if (durable == Durable::Yes) {
    const std::string parent = std::filesystem::path(path).parent_path().string();
    const UniqueFd directory(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory || fsync(directory.get()) != 0) return file_error("sync", parent, errno);
  }
  return {};
}

Result<void> write_existing(const std::string& path, std::string_view content) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return file_error("open", path, errno);
  // A control file takes its value in one write.
  if (write(fd.get(), content.data(), content.size()) < 0) {
    return file_error("write \"" + std::string(content) + "\" to", path, errno);
  }
  return {};
}

Result<void> make_directories(const std::string& path, unsigned mode) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), mode) != 0 && errno != EEXIST) return file_error("create directory", part, errno);
    if (end == std::string::npos) return {};
  }
}

Result<void> remove_tree(const std::string& path) {
  std::error_code code;
  std::filesystem::remove_all(path, code);
  if (code) return file_error("remove", path, code.value());
  return {};
}

bool exists(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0;
}

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr);
}
Sha256::~Sha256() {
  EVP_MD_CTX_free(state_->context);
}
void Sha256::add(std::string_view bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

std::string Sha256::digest() {
  static constexpr char kHex[] = "0123456789abcdef";
  std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
  unsigned size = 0;
  EVP_DigestFinal_ex(state_->context, raw.data(), &size);
  std::string out = "sha256:";
  for (unsigned i = 0; i < size; ++i) {
    out += kHex[raw[i] >> 4U];
    out += kHex[raw[i] & 15U];
  }
  return out;
}

std::string sha256_digest(std::string_view bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.digest();
}

bool valid_digest(std::string_view text) {
  static constexpr std::string_view kPrefix = "sha256:";
  if (!text.starts_with(kPrefix) || text.size() != kPrefix.size() + 64) return false;
  return std::ranges::all_of(text.substr(kPrefix.size()),
                             [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string hex_of(std::string_view digest) {
  return std::string(digest.substr(digest.find(':') + 1));
}

}  // namespace kubernel::runtime::oci
