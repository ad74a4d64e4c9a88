// SPDX-License-Identifier: Apache-2.0
//
// For tests: a store in a directory of its own.

#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include <stdlib.h>

#include <gtest/gtest.h>

#include <kubernel/testing/storage_conformance.h>

#include "sqlite_backend.h"

namespace kubernel::storage_sqlite {

/// Removed with all that is in it.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kubernel-sqlite-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  std::string file(const std::string& name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

class SqliteInstance final : public testing::StorageInstance {
 public:
  Result<std::unique_ptr<storage::Backend>> open(storage::BackendContext context) override {
    context.config_json = R"({"path":")" + directory_.file("state.db") + R"("})";
    return open_sqlite(context);
  }

 private:
  ScratchDirectory directory_;
};

}  // namespace kubernel::storage_sqlite
