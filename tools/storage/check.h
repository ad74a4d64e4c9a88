// SPDX-License-Identifier: Apache-2.0
//
// check_store: reads all a store holds, present and past, and compares the two.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <kubernel/storage/backend.h>

#include "progress.h"

namespace kubernel::storage_tool {

struct CheckOptions {
  // Each revision has an event. Not so where others have keys in the same server.
  bool revisions_without_gap = true;
};

struct CheckReport {
  storage::Revision revision = 0;
  storage::Revision compacted = 0;
  std::int64_t keys = 0;            // Read whole and found right.
  std::int64_t events = 0;          // As well.
  std::vector<std::string> damage;  // One line each, naming key and revision. The first kMostDamage.
  std::int64_t damaged = 0;         // How many lines there would be.

  static constexpr std::size_t kMostDamage = 1000;
};

// Every checksum is verified, because everything is read. What history says of each key must be what the present says.
// Goes on after a damaged key.
//
// Errors: of the store, when it cannot be read at all.
Result<CheckReport> check_store(storage::Backend& store, const CheckOptions& options, Progress& progress);

}  // namespace kubernel::storage_tool
