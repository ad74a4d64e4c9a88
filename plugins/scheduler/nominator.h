// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <kubernel/scheduler/node_info.h>

namespace kubernel::plugins {

// The pods for which preemption has made room on a node, until they run there or give it up.
//
// Threads: all members may be called concurrently.
class Nominator {
 public:
  // In place of what was known of the pod.
  void set(std::shared_ptr<const scheduler::PodInfo> pod, std::string_view node);
  void remove(std::string_view uid);
  // "" when the pod is not nominated.
  std::string node_of(std::string_view uid) const;
  std::vector<std::shared_ptr<const scheduler::PodInfo>> on(std::string_view node) const;
  bool empty() const noexcept { return count_.load(std::memory_order_acquire) == 0; }

 private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
  };
  template <class T>
  using ByText = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;

  void erase(std::string_view uid);

  mutable std::mutex mutex_;
  ByText<std::vector<std::shared_ptr<const scheduler::PodInfo>>> by_node_;
  ByText<std::string> nodes_;  // By uid.
  std::atomic<std::size_t> count_ = 0;
};

}  // namespace kubernel::plugins
