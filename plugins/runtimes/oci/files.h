// SPDX-License-Identifier: Apache-2.0
//
// Files and digests: the few operations the image store and the runtime share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <kubernel/base/child_process.h>
#include <kubernel/base/result.h>

namespace kubernel::runtime::oci {

/// Internal, "cannot <what> <path>: <reason>".
Error file_error(std::string_view what, const std::string& path, int code);

/// Errors: NotFound; RequestEntityTooLarge above `limit`.
Result<std::string> read_file(const std::string& path, std::size_t limit = 64 * 1024 * 1024);

enum class Durable : bool { No, Yes };

/// The file has either its old content or all of `content`, also after a crash (after power loss: Durable::Yes).
Result<void> write_file_atomic(const std::string& path, std::string_view content, Durable durable = Durable::No);

/// Writes to a file that exists (a control file of the kernel); no creation, no truncation.
Result<void> write_existing(const std::string& path, std::string_view content);

/// Errors other than "exists" fail. Mode applies to directories made here.
Result<void> make_directories(const std::string& path, unsigned mode = 0755);

/// Fine when there is nothing. Does not follow symbolic links.
Result<void> remove_tree(const std::string& path);

bool exists(const std::string& path);

/// SHA-256, fed piece by piece.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(std::string_view bytes);
  /// "sha256:<hex>". Call once.
  std::string digest();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// "sha256:<hex>" of `bytes`.
std::string sha256_digest(std::string_view bytes);

/// True for "sha256:" and 64 lower-case hexadecimal digits.
bool valid_digest(std::string_view text);

/// The hexadecimal part. Precondition: valid_digest(digest).
std::string hex_of(std::string_view digest);

}  // namespace kubernel::runtime::oci
