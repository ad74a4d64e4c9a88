// SPDX-License-Identifier: Apache-2.0
//
// transfer: makes one store hold what another holds.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <kubernel/base/executor.h>
#include <kubernel/storage/backend.h>

#include "progress.h"

namespace kubernel::storage_tool {

struct Transfer {
  storage::Backend& source;
  storage::Backend& target;
  std::string source_name;  // Remembered in the target, so that only the same migration goes on there.
  Executor& executor;       // Writes are made on it, many at once, so that they share commits.
  Progress& progress;
  // How long a lease of the source lasts. Errors: NotFound when there is none.
  std::function<Result<std::chrono::seconds>(storage::LeaseId)> lease_ttl;
};

struct Transferred {
  std::int64_t keys = 0;
  std::int64_t bytes = 0;
  std::int64_t leases = 0;
  std::string sha256;
  storage::Revision source_revision = 0;
  storage::Revision target_revision = 0;
  bool resumed = false;
};

// Copies keys, values and leases. The target must be empty, or have been left by an earlier run with the same
// source_name: that is its checkpoint, and only what differs is written again. In the end both stores are read whole
// and compared; the target's revision is above the source's, and its history begins there.
//
// Revisions are the target's own: a client that still has one of the source's is told it is too old (Expired), reads
// anew, and never sees one go back.
//
// Errors: AlreadyExists when the target holds something else; Conflict when either store is written to meanwhile by
// others for too long; those of the stores. What was copied stays, for the next run.
Result<Transferred> transfer(const Transfer& transfer);

// Makes the store's revision at least `wanted`, write by write, and compacts what that leaves. Returns the revision.
//
// Errors: Conflict when the store is written to by others; those of the store.
Result<storage::Revision> raise_revision(storage::Backend& store, storage::Revision wanted, Executor& executor,
                                         Progress& progress);

// Whether transfer() was interrupted on its way into this store; then from where.
Result<std::optional<std::string>> unfinished_source(storage::Backend& store);

}  // namespace kubernel::storage_tool
