// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <kubernel/scheduler/node_info.h>

namespace kubernel::plugins {

// What runs where, as far as the scheduler knows: what the API said, and the bindings it has decided on itself and not
// yet seen confirmed ("assumed" pods). A change is one step that the next snapshot takes on one NodeInfo; it shares the
// rest.
//
// Threads: all members may be called concurrently.
class SchedulerCache {
 public:
  void set_node(const api::Object& node);
  void remove_node(std::string_view name);

  // A bound pod the API reported; takes the place of an assumption about it.
  void set_pod(std::shared_ptr<const scheduler::PodInfo> pod);
  void remove_pod(std::string_view uid);

  // From now on `pod` counts on `node`, until it is confirmed, forgotten or removed.
  void assume(const scheduler::PodInfo& pod, std::string_view node);
  // Takes an assumption back; does nothing when the API has confirmed it.
  void forget(std::string_view uid);
  bool knows(std::string_view uid) const;

  struct Sizes {
    std::size_t nodes = 0, pods = 0, assumed = 0;  // `pods` counts the assumed ones too.
  };
  Sizes sizes() const;

  // Everything as of now; the same snapshot again when nothing has changed. What pods came or went on is exchanged in
  // the last snapshot, in place when nobody holds it any more.
  std::shared_ptr<const scheduler::Snapshot> snapshot();

 private:
  struct Placed {
    std::shared_ptr<const scheduler::PodInfo> pod;
    bool assumed = false;
  };
  // A pod that went, one that came, or one in the place of another.
  struct Step {
    std::shared_ptr<const scheduler::PodInfo> gone, come;
  };
  // The last snapshot shows `info` too; `ahead` is what has happened since. So a change of pods costs what the change
  // costs, however many pods the node has.
  struct Node {
    std::shared_ptr<scheduler::NodeInfo> info;
    std::vector<Step> ahead = {};
    bool changed = false;  // Since the last snapshot.
  };
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
  };

  // The caller of these holds the mutex.
  Node* find(std::string_view name);
  void add(Node& node, Step step);
  // Takes the steps, on a copy when more than `ours` hold the info.
  void catch_up(Node& node, long ours);
  std::uint32_t take_slot();
  void place(Placed placed);
  void displace(std::string_view uid);
  bool replace(const std::shared_ptr<const scheduler::PodInfo>& pod);
  void forget_snapshot();

  mutable std::mutex mutex_;
  std::map<std::string, Node, std::less<>> nodes_;
  std::unordered_map<std::string, Placed, TextHash, std::equal_to<>> pods_;  // By uid; also pods on nodes not seen yet.
  std::size_t assumed_ = 0;
  std::map<std::string, std::unordered_set<std::string>, std::less<>> homeless_;  // Uids of the latter, by node.
  // What plugins that keep counts of their own read between two snapshots.
  const std::shared_ptr<scheduler::ChangeLog> log_ = std::make_shared<scheduler::ChangeLog>();
  std::uint32_t next_slot_ = 0;
  std::uint64_t next_generation_ = 1;
  std::vector<std::uint32_t> free_slots_;
  std::shared_ptr<scheduler::Snapshot> current_;  // Null when nodes changed.
  std::vector<Node*> changed_;                    // Whose pods changed since.
};

}  // namespace kubernel::plugins
