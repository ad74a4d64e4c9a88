// SPDX-License-Identifier: Apache-2.0
//
// TopologyIndex: how many of which pods run in each zone, on each host, in each domain of any node label.
//
// Affinity and spreading ask the same question for every pod they look at: how many pods that match this selector run
// in the domain of that node? The index answers from counters. A counter is made when it is first asked for, by looking
// at every pod once; from then on the changes between snapshots (Snapshot::changes_since) keep it true, so a pod bound
// or removed costs an addition, not a search.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <kubernel/base/export.h>
#include <kubernel/scheduler/node_info.h>

namespace kubernel::scheduler {

/// The values of one node label as small numbers: its domains.
struct TopologyDomains {
  std::string key;
  std::vector<std::int32_t> of_slot;  ///< By node; -1 for a node without the label.
  std::int32_t count = 0;             ///< Numbers given so far; some may have lost their last node.

  /// -1 when the node has no such label.
  std::int32_t of(std::uint32_t slot) const noexcept { return slot < of_slot.size() ? of_slot[slot] : -1; }
};

/// How many pods of one set run in each domain of one key, on the nodes that count.
struct DomainCounts {
  std::shared_ptr<const TopologyDomains> domains;
  std::vector<std::int32_t> pods;   ///< By domain; a domain beyond the end has none.
  std::vector<std::int32_t> nodes;  ///< By domain: the nodes that count.
  std::int64_t total = 0;           ///< Of `pods`.

  std::int32_t pods_in(std::int32_t domain) const noexcept {
    return domain >= 0 && static_cast<std::size_t>(domain) < pods.size() ? pods[static_cast<std::size_t>(domain)] : 0;
  }
  std::int32_t pods_at(std::uint32_t slot) const noexcept { return pods_in(domains->of(slot)); }
};

/// How many pods of one set run on each node.
struct NodeCounts {
  std::vector<std::int32_t> by_slot;
  std::int64_t total = 0;

  std::int32_t at(std::uint32_t slot) const noexcept { return slot < by_slot.size() ? by_slot[slot] : 0; }
};

/// A set of pods that the index counts.
struct PodSetSpec {
  std::function<bool(const PodInfo& pod)> contains;
  /// A label that every pod of the set carries; an empty key when there is none such. Saves asking `contains` about
  /// other pods.
  std::string label_key, label_value;
};

using NodePredicate = std::function<bool(const NodeInfo& node)>;

/// Sees every pod that comes to a node or leaves it, for tallies. Called from TopologyIndex::advance().
class KUBERNEL_EXPORT PodObserver {
 public:
  virtual ~PodObserver();
  /// All tallies are gone; what follows announces every pod there is.
  virtual void reset() = 0;
  /// `change` is 1 or -1. Not called for the pods of a node that is removed: every tally forgets them by itself.
  virtual void pod_changed(const PodInfo& pod, std::uint32_t slot, std::int32_t change) = 0;
};

/// Threads: none of its members may be called concurrently; the counts it gives out may be read from several threads
/// until the next call of advance(). Lifetime: counts given out stay readable after the index has let go of them, but
/// change no more.
class KUBERNEL_EXPORT TopologyIndex {
 public:
  /// Counters kept; beyond that the one least recently asked for is dropped.
  static constexpr std::size_t kMaxSets = 256;

  /// `observer` may be null; it outlives the index.
  explicit TopologyIndex(PodObserver* observer = nullptr);
  ~TopologyIndex();
  TopologyIndex(const TopologyIndex&) = delete;
  TopologyIndex& operator=(const TopologyIndex&) = delete;

  /// Brings every counter to that snapshot. All members below are asked about the snapshot given last.
  void advance(const Snapshot& snapshot);

  /// The node's number in what the index gives out.
  std::uint32_t slot(const NodeInfo& node) const noexcept;

  /// The pods of a set per domain of `key`. `set` names the set: equal names mean equal sets; `make_set` is called for
  /// a name not known. `nodes` names in the same way which nodes count; empty: all of them.
  std::shared_ptr<const DomainCounts> counts(const Snapshot& snapshot, std::string_view set,
                                             const std::function<PodSetSpec()>& make_set, std::string_view key,
                                             std::string_view nodes, const std::function<NodePredicate()>& make_nodes);
  /// The same per node.
  std::shared_ptr<const NodeCounts> node_counts(const Snapshot& snapshot, std::string_view set,
                                                const std::function<PodSetSpec()>& make_set);
  std::shared_ptr<const TopologyDomains> domains(const Snapshot& snapshot, std::string_view key);

  /// A counter that the observer keeps: pods per domain of `key`.
  struct Tally;
  /// Only from within the observer's calls.
  Tally* add_tally(std::string_view key);
  void remove_tally(Tally* tally);
  void bump(Tally* tally, std::uint32_t slot, std::int32_t change);
  static std::shared_ptr<const DomainCounts> counts_of(const Tally& tally) noexcept;
  /// Pods in the tally, on nodes without the label too.
  static std::int64_t size_of(const Tally& tally) noexcept;

 private:
  struct Domains;
  struct NodeSet;
  struct Sum;
  struct Table;

  bool apply(const Snapshot& snapshot);
  void rebuild(const Snapshot& snapshot);
  void set_node(const NodeInfo& node, std::uint32_t slot);
  void remove_node(std::uint32_t slot);
  void add_slot(std::uint32_t slot);
  void detach(std::uint32_t slot);
  void attach(std::uint32_t slot);
  void change_pod(const PodInfo& pod, std::uint32_t slot, std::int32_t change);
  std::shared_ptr<Domains> domains_of(const Snapshot& snapshot, std::string_view key);
  std::shared_ptr<NodeSet> node_set(const Snapshot& snapshot, std::string_view name,
                                    const std::function<NodePredicate()>& make_nodes);
  Table& table(const Snapshot& snapshot, std::string_view set, const std::function<PodSetSpec()>& make_set);
  Sum& add_sum(Table& table, std::shared_ptr<Domains> domains, std::shared_ptr<NodeSet> nodes);
  void evict_one();
  template <typename Visit>
  void for_each_table(const Visit& visit);

  PodObserver* const observer_;
  const Snapshot* advancing_ = nullptr;  // During advance().
  std::uint64_t version_ = 0;
  std::size_t slots_ = 0;
  std::uint64_t uses_ = 0;
  std::unordered_map<std::string, std::uint32_t> slot_by_name_;  // Only for snapshots that no cache made.
  std::unordered_map<std::string, std::shared_ptr<Domains>> domains_;
  std::unordered_map<std::string, std::weak_ptr<NodeSet>> node_sets_;
  std::unordered_map<std::string, std::unique_ptr<Table>> tables_;
  std::unordered_multimap<std::size_t, Table*> by_label_;  // Tables with a label, by the hash of both.
  std::vector<Table*> without_label_;
  std::vector<std::unique_ptr<Tally>> tallies_;
};

}  // namespace kubernel::scheduler
