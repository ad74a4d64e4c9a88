// SPDX-License-Identifier: Apache-2.0
//
// BoltFile: writes a database file of bbolt, the format of etcd's snapshots, from front to back.
//
// Everything is sorted and its sizes are known before the first byte goes out, so that each page is written once, in
// order, and only one page is in memory at a time.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/result.h>

namespace kubernel::etcd_server {

struct BoltItem {
  std::string key;
  std::size_t value_size = 0;
};

struct BoltBucket {
  std::string name;
  std::vector<BoltItem> items;  ///< Ascending by key.
  /// The value of one item, of the size that was said.
  std::function<Result<std::string>(std::size_t index)> value;
};

/// `buckets`: ascending by name. Threads: one.
class BoltFile {
 public:
  explicit BoltFile(std::vector<BoltBucket> buckets);

  std::uint64_t size_bytes() const noexcept;
  /// Hands out the file in pieces. Errors: the sink's and the values'.
  Result<void> write(const std::function<Result<void>(std::string_view)>& sink) const;

 private:
  // A run of items, or of nodes of the level below, that share a page (or one item that needs several).
  struct Node {
    std::size_t first = 0, count = 0;
    std::uint64_t page = 0, pages = 1;
    std::string_view least;  // The first key in it.
  };
  struct Plan {
    std::vector<std::vector<Node>> levels;  // Leaves first; the last level has one node.
  };
  Plan plan(const BoltBucket& bucket);
  void number(std::vector<Node>& level);
  std::string first_pages() const;
  Result<std::string> leaf(const BoltBucket& bucket, const Node& node) const;
  static std::string branch(const std::vector<Node>& below, const Node& node);

  const std::vector<BoltBucket> buckets_;
  std::vector<Plan> plans_;
  std::uint64_t pages_ = 4;  // Two of metadata, the free list, the list of buckets.
};

}  // namespace kubernel::etcd_server
