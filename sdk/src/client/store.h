// SPDX-License-Identifier: Apache-2.0
//
// Store: an informer's indexed objects.

#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/api/selector.h>

namespace kubernel::client {

/// Threads: all members may be called concurrently.
class Store {
 public:
  using IndexKeys = std::function<std::vector<std::string>(const api::Object&)>;

  Store();

  /// Returns what was there before.
  std::optional<api::Object> put(const api::Object& object);
  std::optional<api::Object> remove(const api::ObjectKey& key);

  std::optional<api::Object> find(const api::ObjectKey& key) const;
  std::vector<api::Object> list(std::string_view ns, const api::LabelSelector& selector) const;
  /// The index called "" is by the uid of the controlling owner.
  std::vector<api::Object> by_index(std::string_view name, std::string_view value) const;
  void add_index(std::string name, IndexKeys keys);

 private:
  struct Index {
    IndexKeys keys;
    std::unordered_map<std::string, std::set<api::ObjectKey>> entries;
  };
  void index(const api::Object& object);
  void unindex(const api::Object& object);

  mutable std::shared_mutex mutex_;
  std::map<api::ObjectKey, api::Object> objects_;
  std::map<std::string, Index, std::less<>> indices_;
};

}  // namespace kubernel::client
