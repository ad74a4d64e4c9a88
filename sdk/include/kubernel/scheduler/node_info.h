// SPDX-License-Identifier: Apache-2.0
//
// PodInfo, NodeInfo, Snapshot: the cluster as filters and scores see it.
//
// What a filter needs of a pod or a node is read from the object once, when it enters the scheduler's cache, and kept
// in compact form. A pod bound or removed changes a node's counters; nothing is recomputed. A snapshot shares the
// NodeInfos.

#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/export.h>
#include <kubernel/scheduler/resources.h>

namespace kubernel::scheduler {

struct HostPort {
  std::string ip;        ///< "0.0.0.0" when the pod names none.
  std::string protocol;  ///< "TCP" when the pod names none.
  std::int64_t port = 0;

  friend auto operator<=>(const HostPort&, const HostPort&) = default;
};

/// True when both cannot be bound on one node: same protocol and port, and one address is the wildcard or both are
/// equal.
KUBERNEL_EXPORT bool ports_conflict(const HostPort& a, const HostPort& b) noexcept;

/// Threads: immutable.
struct KUBERNEL_EXPORT PodInfo {
  explicit PodInfo(api::Object pod);

  api::Object object;
  api::Value spec;
  Resources requests;
  Resources scoring_requests;
  std::vector<HostPort> host_ports;
  std::int64_t priority = 0;
  std::string node_name;                   ///< spec.nodeName; empty while unbound.
  std::optional<Clock::WallTime> started;  ///< status.startTime.

  const api::ObjectKey& key() const noexcept { return object.key(); }
  const std::string& uid() const noexcept { return object.uid(); }
};

enum class TaintEffect : std::uint8_t { NoSchedule, PreferNoSchedule, NoExecute };

struct Taint {
  std::string key, value;
  TaintEffect effect = TaintEffect::NoSchedule;
};

/// NodeInfo::slot of a node that no cache has numbered.
inline constexpr std::uint32_t kNoSlot = 0xFFFFFFFF;

/// One node and the pods bound to it or assumed to be.
///
/// Threads: immutable once in a Snapshot; the cache edits copies.
struct KUBERNEL_EXPORT NodeInfo {
  explicit NodeInfo(api::Object node);

  api::Object object;
  std::string name;
  std::uint32_t slot =
      kNoSlot;  ///< Its number in tables by node: small, its own while it exists, used again afterwards.
  /// Another one whenever the node or its pods have changed, never used twice; 0 for a NodeInfo that is not as a cache
  /// made it.
  std::uint64_t generation = 0;
  Resources allocatable;
  Resources requested;
  Resources scoring_requested;
  std::vector<Taint> taints;
  bool unschedulable = false;
  std::vector<HostPort> used_ports;
  /// Name as the node reports it and bytes, sorted by name. Never null; shared by all states of the node.
  std::shared_ptr<const std::vector<std::pair<std::string, std::int64_t>>> images;
  std::vector<std::shared_ptr<const PodInfo>> pods;
  /// How many of the pods have which priority, lowest first.
  std::vector<std::pair<std::int64_t, std::size_t>> priorities;

  api::Value labels() const { return object.labels(); }
  /// True when a pod of that priority could evict somebody here.
  bool has_pods_below(std::int64_t priority) const noexcept {
    return !priorities.empty() && priorities.front().first < priority;
  }

  void add_pod(std::shared_ptr<const PodInfo> pod);
  /// Does nothing when no pod with that uid is there. Returns whether one was.
  bool remove_pod(std::string_view uid);
  /// As above, for this very PodInfo: no uid is compared, so it takes microseconds on a node of ten thousands of pods
  /// too.
  bool remove_pod(const PodInfo& pod);
  /// Puts `now` in the place of `before`, of which nothing counts that differs: nothing is counted anew. Returns
  /// whether `before` was there.
  bool replace_pod(const PodInfo& before, std::shared_ptr<const PodInfo> now);

 private:
  void take_out(std::vector<std::shared_ptr<const PodInfo>>::iterator at);
};

/// One step from a snapshot to a later one.
struct SnapshotChange {
  enum class Kind : std::uint8_t {
    NodeSet,      ///< A new node (its pods follow as PodAdded) or a changed one (its pods stay).
    NodeRemoved,  ///< With all its pods.
    PodAdded,
    PodRemoved,
  };
  Kind kind = Kind::NodeSet;
  std::uint32_t slot = kNoSlot;        ///< Of the node.
  std::string node;                    ///< NodeSet: its name; what it looks like is in the snapshot.
  std::shared_ptr<const PodInfo> pod;  ///< PodAdded, PodRemoved: as the node knew it.
};

/// The last kCapacity changes of one cache, numbered from 1 on.
///
/// Threads: all members may be called concurrently.
class KUBERNEL_EXPORT ChangeLog {
 public:
  static constexpr std::size_t kCapacity = 2048;

  void append(SnapshotChange change);
  /// The number the next change gets.
  std::uint64_t end() const;
  /// Those numbered [first, last); absent when the oldest of them are no longer known.
  std::optional<std::vector<SnapshotChange>> between(std::uint64_t first, std::uint64_t last) const;

 private:
  mutable std::mutex mutex_;
  std::deque<SnapshotChange> changes_;
  std::uint64_t first_ = 1;
};

/// All schedulable state at one moment.
///
/// Its nodes are in the order they are looked at: one of each zone in turn, by name within a zone, so that a pass that
/// stops early has seen every zone.
class KUBERNEL_EXPORT Snapshot {
 public:
  Snapshot() = default;
  /// `nodes` in any order.
  explicit Snapshot(std::vector<std::shared_ptr<const NodeInfo>> nodes);
  /// As above, as of just before the change numbered `version` of `log`.
  Snapshot(std::vector<std::shared_ptr<const NodeInfo>> nodes, std::shared_ptr<const ChangeLog> log,
           std::uint64_t version);

  std::span<const std::shared_ptr<const NodeInfo>> nodes() const noexcept { return nodes_; }
  /// Null when there is none.
  const NodeInfo* find(std::string_view name) const noexcept;
  /// How many nodes have the image; for spreading scores of popular images.
  std::size_t nodes_with_image(std::string_view image) const noexcept;

  /// Grows with every change; 0 for a snapshot that no cache made.
  std::uint64_t version() const noexcept { return version_; }
  /// What led from the snapshot of that version to this one, oldest first, for those who keep counts: absent when that
  /// is too long ago or no cache made this snapshot. Then everything must be read anew.
  std::optional<std::vector<SnapshotChange>> changes_since(std::uint64_t version) const;

  /// Puts later states in the place of some nodes' earlier ones; only their pods may differ. For the snapshot's maker,
  /// while nobody else has it.
  void update(std::span<const std::shared_ptr<const NodeInfo>> changed, std::uint64_t version);

 private:
  struct Layout;  // What stays as long as only pods come and go.
  std::vector<std::shared_ptr<const NodeInfo>> nodes_;
  std::shared_ptr<const Layout> layout_;
  std::shared_ptr<const ChangeLog> log_;
  std::uint64_t version_ = 0;
};

/// "busybox" -> "busybox:latest"; a tag or digest is kept (upstream's normalizedImageName).
KUBERNEL_EXPORT std::string normalized_image_name(std::string_view name);

}  // namespace kubernel::scheduler
