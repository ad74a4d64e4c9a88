// SPDX-License-Identifier: Apache-2.0
//
// StoreFile: the file of a store, ready for use: locked, private, of the right version.

#pragma once

#include <memory>
#include <string>

#include <kubernel/base/result.h>

#include "connection.h"

namespace kubernel::storage_sqlite {

struct FileOptions {
  std::string path;
  bool synchronous_full = true;
};

class StoreFile {
 public:
  /// Locks the file for this process (PATH.lock), creates it with mode 0600 if need be, and migrates its schema.
  ///
  /// Errors: one line that names the file and says what to do.
  static Result<std::unique_ptr<StoreFile>> open(const FileOptions& options);
  ~StoreFile();
  StoreFile(const StoreFile&) = delete;
  StoreFile& operator=(const StoreFile&) = delete;

  Connection& writer() { return *writer_; }
  const std::string& path() const { return path_; }

 private:
  Result<void> connect(const FileOptions& options);
  StoreFile(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  std::string path_;
  int lock_;  // A descriptor; held until the last connection is closed.
  std::unique_ptr<Connection> writer_;
};

}  // namespace kubernel::storage_sqlite
