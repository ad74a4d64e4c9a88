// SPDX-License-Identifier: Apache-2.0
//
// RecentRows: the newest rows of the keys that were written last.
//
// Most writes are to a key that was written a moment ago (a lease that is renewed, a status that changes again). What
// such a key is at need not be looked up, read and checked again.

#pragma once

#include <cstddef>
#include <list>
#include <string_view>
#include <unordered_map>

#include "database.h"

namespace kubernel::storage_common {

/// What a writer of a store may remember: the keys of some thousand objects. Keys that are written in turn, like the
/// leases of nodes, are either all remembered or none.
constexpr std::size_t kRecentRowsBytes = 8U << 20U;

/// For the one who writes the store: what is remembered is what was committed. Threads: one at a time.
class RecentRows {
 public:
  explicit RecentRows(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  /// Null: not known. Valid until the next put().
  const Row* find(std::string_view key) const;
  /// The key's newest row, which has been committed. A deletion is not kept: compaction takes it away.
  void put(const Row& row);
  void clear();

 private:
  using Rows = std::list<Row>;
  static std::size_t bytes_of(const Row& row);
  void erase(std::unordered_map<std::string_view, Rows::iterator>::iterator found);

  const std::size_t max_bytes_;
  std::size_t bytes_ = 0;
  Rows rows_;                                                    // The one written longest ago is the first.
  std::unordered_map<std::string_view, Rows::iterator> by_key_;  // Views into the rows.
};

}  // namespace kubernel::storage_common
