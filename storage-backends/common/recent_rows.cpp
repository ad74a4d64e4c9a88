// SPDX-License-Identifier: Apache-2.0
#include "recent_rows.h"

#include <iterator>
#include <utility>

namespace kubernel::storage_common {

namespace {

// The list's node, the map's, and the value's counts.
constexpr std::size_t kOverhead = 160;

}  // namespace

std::size_t RecentRows::bytes_of(const Row& row) {
  return sizeof(Row) + sizeof(storage::KeyValue) + kOverhead + row.kv->key.size() + row.kv->value.size();
}

const Row* RecentRows::find(std::string_view key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : &*found->second;
}

void RecentRows::put(const Row& row) {
  const auto found = by_key_.find(row.kv->key);
  const bool kept = !row.deleted && bytes_of(row) <= max_bytes_;
  if (found == by_key_.end()) {
    if (!kept) return;
    rows_.push_back(row);
    by_key_.emplace(rows_.back().kv->key, std::prev(rows_.end()));
  } else if (!kept) {
    erase(found);
    return;
  } else {
    auto node = by_key_.extract(found);  // Its key is a view into the row that goes.
    const auto place = node.mapped();
    bytes_ -= bytes_of(*place);
    *place = row;
    rows_.splice(rows_.end(), rows_, place);
    node.key() = place->kv->key;
    by_key_.insert(std::move(node));
  }
  bytes_ += bytes_of(row);
  while (bytes_ > max_bytes_) erase(by_key_.find(rows_.front().kv->key));
}

void RecentRows::clear() {
  by_key_.clear();
  rows_.clear();
  bytes_ = 0;
}

void RecentRows::erase(std::unordered_map<std::string_view, Rows::iterator>::iterator found) {
  const auto row = found->second;
  bytes_ -= bytes_of(*row);
  by_key_.erase(found);  // Before the row its key is a view into.
  rows_.erase(row);
}

}  // namespace kubernel::storage_common
