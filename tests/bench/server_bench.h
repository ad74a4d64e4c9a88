// SPDX-License-Identifier: Apache-2.0
//
// A database server for storage-bench.

#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include <kubernel/storage/backend.h>

namespace kubernel::bench {

struct MeasuredServer {
  std::shared_ptr<void> process;  // Ends with the last copy.
  std::function<Result<std::unique_ptr<storage::Backend>>(storage::BackendContext)> open;
  /// Prints what the server does by itself: 64 clients that each insert rows of 256 bytes, one per commit.
  std::function<void(double seconds)> measure_raw;
  /// Where the server itself tells of writes: calls `seen` with each revision, from a thread of its own, until what it
  /// returns is destroyed. Empty otherwise.
  std::function<std::shared_ptr<void>(std::function<void(storage::Revision)> seen)> watch_raw;
};

/// Starts it with its files in `directory` and all of them synced. `open` is empty and `why` says why when that cannot
/// be.
MeasuredServer start_server(const std::string& backend, const std::filesystem::path& directory, std::string& why);

}  // namespace kubernel::bench
