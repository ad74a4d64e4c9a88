// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <string>

#include <kubernel/storage/backend.h>

namespace kubernel::storage_sqlite {

/// Copies the store in `path`, as of one moment, into the new file `to`, synced and readable by its owner only. The
/// store may be open and written to meanwhile, here or in another process; writers do not wait.
///
/// Errors: AlreadyExists when there is a file `to`; ServiceUnavailable, naming a file, for everything else. `to` is
/// then gone again.
Result<void> copy_store(const std::string& path, const std::string& to);

/// How long each lease of the store in `path`, which may be in use, lasts.
Result<std::map<storage::LeaseId, std::chrono::seconds>> lease_times(const std::string& path);

}  // namespace kubernel::storage_sqlite
