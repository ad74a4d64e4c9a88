// SPDX-License-Identifier: Apache-2.0
//
// The revisioned log: storage::Backend over any Database (database.h).
//
// Common to all SQL backends: assigning revisions, group commit, watches, compaction in small steps, leases.

#pragma once

#include <memory>

#include <kubernel/storage/backend.h>

#include "database.h"

namespace kubernel::storage_common {

struct LogStoreOptions {
  /// How much of recent history is kept in memory for watches that are a little behind.
  std::size_t recent_bytes = 4U << 20U;
  /// The most writes one commit takes.
  std::size_t max_batch = 512;
};

/// Errors: those of Database::marks(), count() and leases().
Result<std::unique_ptr<storage::Backend>> make_log_store(std::unique_ptr<Database> database,
                                                         const storage::BackendContext& context,
                                                         const LogStoreOptions& options);

}  // namespace kubernel::storage_common
