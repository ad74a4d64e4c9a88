// SPDX-License-Identifier: Apache-2.0
//
// Reading a whole store, page by page, at one revision.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <kubernel/storage/backend.h>

namespace kubernel::storage_tool {

// Keys of ours in a store that is being copied into. A cluster's keys begin with a slash.
constexpr std::string_view kOurKeys = "kubernel/migration";
bool is_ours(std::string_view key);

// Goes through the keys of a store in order, at the revision of the first page.
class Contents {
 public:
  explicit Contents(storage::Backend& store) : store_(store) {}

  // The next key, without taking it; null at the end. Errors: of the store.
  Result<const storage::KeyValue*> peek();
  void take() { ++at_; }
  // Of the snapshot; after the first peek().
  storage::Revision revision() const { return revision_; }

 private:
  storage::Backend& store_;
  storage::Page page_{.more = true};
  std::size_t at_ = 0;
  storage::Revision revision_ = 0;
};

// What a store holds in short: equal for equal keys, values and leases.
struct Digest {
  std::int64_t keys = 0;
  std::int64_t bytes = 0;
  std::string sha256;
  storage::Revision revision = 0;

  bool same(const Digest& other) const { return keys == other.keys && sha256 == other.sha256; }
};

// `at_key`: told the number of keys now and then.
Result<Digest> digest(storage::Backend& store, const std::function<void(std::int64_t)>& at_key);

}  // namespace kubernel::storage_tool
