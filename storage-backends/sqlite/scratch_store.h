// SPDX-License-Identifier: Apache-2.0
//
// For tests: a directory of its own for a store, and what a store is opened with.

#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include <stdlib.h>

#include <kubernel/testing/fake_clock.h>

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

/// What a store is opened with when the test looks at nothing of it.
struct Surroundings {
  testing::FakeClock clock;
  testing::ManualExecutor blocking;
  testing::RecordingLogger log;
  testing::RecordingMetrics metrics;
  testing::NoPoller poller;

  Result<std::unique_ptr<storage::Backend>> open(const std::string& path) {
    return open_sqlite({R"({"path":")" + path + R"("})", log, metrics, clock, blocking, poller});
  }
};

}  // namespace kubernel::storage_sqlite
