// SPDX-License-Identifier: Apache-2.0
//
// Lru: a map that forgets what was not asked for longest.

#pragma once

#include <cstddef>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace kubernel::client {

/// Threads: one at a time.
template <class T>
class Lru {
 public:
  explicit Lru(std::size_t limit) : limit_(limit) {}

  /// The entry, made when there is none. Valid until the next call.
  T& at(const std::string& key) {
    if (const auto found = places_.find(key); found != places_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
      return entries_.front().second;
    }
    if (entries_.size() >= limit_) {
      places_.erase(entries_.back().first);
      entries_.pop_back();
    }
    entries_.emplace_front(key, T{});
    places_.emplace(entries_.front().first, entries_.begin());
    return entries_.front().second;
  }

 private:
  using Entries = std::list<std::pair<const std::string, T>>;
  const std::size_t limit_;
  Entries entries_;  // The latest first.
  std::unordered_map<std::string_view, typename Entries::iterator> places_;
};

}  // namespace kubernel::client
