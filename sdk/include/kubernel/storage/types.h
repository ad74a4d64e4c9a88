// SPDX-License-Identifier: Apache-2.0
//
// The values a store's operations take and return.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kubernel::storage {

using Revision = std::int64_t;
using LeaseId = std::int64_t;  ///< 0: no lease.

/// What every backend takes. Longer ones may be refused (RequestEntityTooLarge).
constexpr std::size_t kMaxKeyBytes = 1024;
constexpr std::size_t kMaxValueBytes = 1'500'000;

struct KeyValue {
  std::string key;
  std::string value;
  Revision created = 0;      ///< Revision at which the key began to exist.
  Revision modified = 0;     ///< Revision of the last write.
  std::int64_t version = 0;  ///< Writes since it was created; 1 for a new key.
  LeaseId lease = 0;
};

struct RangeOptions {
  std::string start;       ///< First key, inclusive.
  std::string end;         ///< First key not included; empty means to the end of the key space.
  std::size_t limit = 0;   ///< 0: no limit.
  Revision at = 0;         ///< 0: now.
  bool keys_only = false;  ///< Values are left empty.
  bool count = false;      ///< Also counts the whole range, whatever the limit. Costs as much as reading its keys.
};

struct Page {
  std::vector<KeyValue> items;  ///< Ascending by key (bytewise).
  Revision revision = 0;        ///< The snapshot all items were read at.
  bool more = false;            ///< The limit cut the range; go on from the last key + '\0'.
  std::int64_t count = 0;       ///< Keys in the whole range, when asked for.
};

}  // namespace kubernel::storage
