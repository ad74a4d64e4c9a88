// SPDX-License-Identifier: Apache-2.0
//
// The half-open key range all read operations use.

#pragma once

#include <string>
#include <string_view>

namespace kubernel::storage_common {

/// [start, end); an empty end is the end of the key space. Bytewise order.
struct KeyRange {
  std::string start;
  std::string end;

  bool contains(std::string_view key) const noexcept { return key >= start && (end.empty() || key < end); }
};

}  // namespace kubernel::storage_common
