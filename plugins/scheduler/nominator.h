// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <shared_mutex>
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
  // Those on the node that count when `pod` is looked at there: of no lower priority, and not itself.
  std::vector<std::shared_ptr<const scheduler::PodInfo>> ahead_of(const scheduler::PodInfo& pod,
                                                                  std::string_view node) const;
  // Another number whenever the pods on that node change; 0 when there are none.
  std::uint64_t version(std::string_view node) const;
  bool empty() const noexcept { return count_.load(std::memory_order_acquire) == 0; }

 private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
  };
  template <class T>
  using ByText = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;

  struct OnNode {
    std::vector<std::shared_ptr<const scheduler::PodInfo>> pods;
    std::uint64_t version = 0;
  };

  void erase(std::string_view uid);

  mutable std::shared_mutex mutex_;  // Read for many nodes at once.
  ByText<OnNode> by_node_;
  std::uint64_t last_version_ = 0;
  ByText<std::string> nodes_;  // By uid.
  std::atomic<std::size_t> count_ = 0;
};

}  // namespace kubernel::plugins
