// SPDX-License-Identifier: Apache-2.0
//
// KeyRange: the half-open range of keys that all operations of a store use.

#pragma once

#include <string>
#include <string_view>

namespace kubernel::storage {

/// [start, end); an empty end is the end of the key space. Bytewise order.
struct KeyRange {
  std::string start;
  std::string end;

  /// The range that holds `key` alone.
  static KeyRange only(std::string_view key) {
    KeyRange range{std::string(key), std::string(key)};
    range.end.push_back('\0');
    return range;
  }

  bool contains(std::string_view key) const noexcept { return key >= start && (end.empty() || key < end); }
  /// Whether no key but `start` can be in it.
  bool single() const noexcept {
    return end.size() == start.size() + 1 && end.back() == '\0' && end.compare(0, start.size(), start) == 0;
  }
};

}  // namespace kubernel::storage
