// SPDX-License-Identifier: Apache-2.0
#include <kubernel/scheduler/topology.h>

#include <algorithm>

namespace kubernel::scheduler {
namespace {

// Numbers of domains that no node has any more are only taken back by reading everything anew.
constexpr std::int32_t kSpareDomains = 1024;

std::size_t label_hash(std::string_view key, std::string_view value) {
  const std::hash<std::string_view> hash;
  return hash(key) * 31 + hash(value);
}

void add_at(std::vector<std::int32_t>& counts, std::int32_t at, std::int32_t change) {
  const auto index = static_cast<std::size_t>(at);
  if (index >= counts.size()) counts.resize(index + 1);
  counts[index] += change;
}

}  // namespace

PodObserver::~PodObserver() = default;

struct TopologyIndex::Domains : TopologyDomains {
  std::unordered_map<std::string, std::int32_t> numbers;

  std::int32_t number(const NodeInfo& node) {
    const api::Value value = node.labels()[key];
    if (!value) return -1;
    const auto [at, added] = numbers.try_emplace(std::string(value.string()), count);
    if (added) ++count;
    return at->second;
  }
};

struct TopologyIndex::NodeSet {
  NodePredicate contains;
  std::vector<std::uint8_t> members;  // By slot.
};

struct TopologyIndex::Sum {
  std::shared_ptr<DomainCounts> counts;
  std::shared_ptr<Domains> domains;
  std::shared_ptr<NodeSet> nodes;  // Null: all of them.

  bool counts_slot(std::uint32_t slot) const {
    return domains->of(slot) >= 0 && (nodes == nullptr || nodes->members[slot] != 0);
  }
  void add_pods(std::uint32_t slot, std::int32_t change) {
    if (change == 0 || !counts_slot(slot)) return;
    add_at(counts->pods, domains->of(slot), change);
    counts->total += change;
  }
  void add_node(std::uint32_t slot, std::int32_t change) {
    if (counts_slot(slot)) add_at(counts->nodes, domains->of(slot), change);
  }
};

struct TopologyIndex::Table {
  PodSetSpec set;
  std::shared_ptr<NodeCounts> counts = std::make_shared<NodeCounts>();
  std::vector<Sum> sums;
  std::uint64_t last_use = 0;

  void add(std::uint32_t slot, std::int32_t change) {
    counts->by_slot[slot] += change;
    counts->total += change;
    for (Sum& sum : sums) sum.add_pods(slot, change);
  }
};

struct TopologyIndex::Tally : TopologyIndex::Table {};

TopologyIndex::TopologyIndex(PodObserver* observer) : observer_(observer) {}
TopologyIndex::~TopologyIndex() = default;

template <typename Visit>
void TopologyIndex::for_each_table(const Visit& visit) {
  for (auto& [name, table] : tables_) visit(*table);
  for (auto& tally : tallies_) visit(static_cast<Table&>(*tally));
}

void TopologyIndex::advance(const Snapshot& snapshot) {
  if (version_ != 0 && version_ == snapshot.version()) return;
  advancing_ = &snapshot;
  if (!apply(snapshot)) rebuild(snapshot);
  advancing_ = nullptr;
  version_ = snapshot.version();
}

std::uint32_t TopologyIndex::slot(const NodeInfo& node) const noexcept {
  if (slot_by_name_.empty()) return node.slot;
  const auto found = slot_by_name_.find(node.name);
  return found == slot_by_name_.end() ? kNoSlot : found->second;
}

bool TopologyIndex::apply(const Snapshot& snapshot) {
  if (version_ == 0) return false;
  for (const auto& [key, domains] : domains_) {
    if (domains->count > 2 * static_cast<std::int32_t>(slots_) + kSpareDomains) return false;
  }
  const auto changes = snapshot.changes_since(version_);
  if (!changes) return false;
  for (const SnapshotChange& change : *changes) add_slot(change.slot);
  for (const SnapshotChange& change : *changes) {
    switch (change.kind) {
      case SnapshotChange::Kind::NodeSet:
        // A node that is gone from the snapshot is removed further on.
        if (const NodeInfo* node = snapshot.find(change.node); node != nullptr && node->slot == change.slot) {
          set_node(*node, change.slot);
        }
        break;
      case SnapshotChange::Kind::NodeRemoved: remove_node(change.slot); break;
      case SnapshotChange::Kind::PodAdded: change_pod(*change.pod, change.slot, 1); break;
      case SnapshotChange::Kind::PodRemoved: change_pod(*change.pod, change.slot, -1); break;
    }
  }
  return true;
}

void TopologyIndex::rebuild(const Snapshot& snapshot) {
  domains_.clear();
  node_sets_.clear();
  by_label_.clear();
  without_label_.clear();
  tables_.clear();
  if (observer_ != nullptr) observer_->reset();
  tallies_.clear();
  slot_by_name_.clear();
  slots_ = 0;
  const bool numbered = std::ranges::all_of(snapshot.nodes(), [](const auto& node) { return node->slot != kNoSlot; }) &&
                        snapshot.version() != 0;
  for (const auto& node : snapshot.nodes()) {
    if (!numbered) slot_by_name_.emplace(node->name, static_cast<std::uint32_t>(slot_by_name_.size()));
    slots_ = std::max(slots_, std::size_t{slot(*node)} + 1);
  }
  if (observer_ == nullptr) return;
  for (const auto& node : snapshot.nodes()) {
    for (const auto& pod : node->pods) observer_->pod_changed(*pod, slot(*node), 1);
  }
}

void TopologyIndex::add_slot(std::uint32_t slot) {
  if (slot < slots_) return;
  slots_ = std::size_t{slot} + 1;
  for (auto& [key, domains] : domains_) domains->of_slot.resize(slots_, -1);
  for (auto& [name, weak] : node_sets_) {
    if (const auto set = weak.lock()) set->members.resize(slots_, 0);
  }
  for_each_table([&](Table& table) { table.counts->by_slot.resize(slots_, 0); });
}

// A node takes what it holds out of every sum, changes, and puts it back where it now belongs.
void TopologyIndex::detach(std::uint32_t slot) {
  for_each_table([&](Table& table) {
    for (Sum& sum : table.sums) {
      sum.add_pods(slot, -table.counts->by_slot[slot]);
      sum.add_node(slot, -1);
    }
  });
}

void TopologyIndex::attach(std::uint32_t slot) {
  for_each_table([&](Table& table) {
    for (Sum& sum : table.sums) {
      sum.add_pods(slot, table.counts->by_slot[slot]);
      sum.add_node(slot, 1);
    }
  });
}

void TopologyIndex::set_node(const NodeInfo& node, std::uint32_t slot) {
  detach(slot);
  for (auto& [key, domains] : domains_) domains->of_slot[slot] = domains->number(node);
  for (auto& [name, weak] : node_sets_) {
    if (const auto set = weak.lock()) set->members[slot] = set->contains(node) ? 1 : 0;
  }
  attach(slot);
}

void TopologyIndex::remove_node(std::uint32_t slot) {
  detach(slot);
  for (auto& [key, domains] : domains_) domains->of_slot[slot] = -1;
  for_each_table([&](Table& table) { table.counts->total -= std::exchange(table.counts->by_slot[slot], 0); });
}

void TopologyIndex::change_pod(const PodInfo& pod, std::uint32_t slot, std::int32_t change) {
  if (observer_ != nullptr) observer_->pod_changed(pod, slot, change);
  for (Table* table : without_label_) {
    if (table->set.contains(pod)) table->add(slot, change);
  }
  if (by_label_.empty()) return;
  const api::Value labels = pod.object.labels();
  for (auto label = labels.begin(); label != labels.end(); ++label) {
    const auto [first, last] = by_label_.equal_range(label_hash(label.key(), (*label).string()));
    for (auto at = first; at != last; ++at) {
      // Two labels may share a hash; each table is asked once, by its own label.
      const PodSetSpec& set = at->second->set;
      const bool its_label = set.label_key == label.key() && set.label_value == (*label).string();
      if (its_label && set.contains(pod)) at->second->add(slot, change);
    }
  }
}

std::shared_ptr<TopologyIndex::Domains> TopologyIndex::domains_of(const Snapshot& snapshot, std::string_view key) {
  auto& domains = domains_[std::string(key)];
  if (domains != nullptr) return domains;
  domains = std::make_shared<Domains>();
  domains->key = key;
  domains->of_slot.assign(slots_, -1);
  for (const auto& node : snapshot.nodes()) domains->of_slot[slot(*node)] = domains->number(*node);
  return domains;
}

std::shared_ptr<const TopologyDomains> TopologyIndex::domains(const Snapshot& snapshot, std::string_view key) {
  return domains_of(snapshot, key);
}

std::shared_ptr<TopologyIndex::NodeSet> TopologyIndex::node_set(const Snapshot& snapshot, std::string_view name,
                                                                const std::function<NodePredicate()>& make_nodes) {
  if (name.empty()) return nullptr;
  auto& known = node_sets_[std::string(name)];
  if (auto set = known.lock()) return set;
  auto set = std::make_shared<NodeSet>();
  set->contains = make_nodes();
  set->members.assign(slots_, 0);
  for (const auto& node : snapshot.nodes()) set->members[slot(*node)] = set->contains(*node) ? 1 : 0;
  known = set;
  return set;
}

TopologyIndex::Table& TopologyIndex::table(const Snapshot& snapshot, std::string_view set,
                                           const std::function<PodSetSpec()>& make_set) {
  const std::string name(set);
  if (const auto found = tables_.find(name); found != tables_.end()) {
    found->second->last_use = ++uses_;
    return *found->second;
  }
  if (tables_.size() >= kMaxSets) evict_one();
  auto made = std::make_unique<Table>();
  made->set = make_set();
  made->last_use = ++uses_;
  made->counts->by_slot.assign(slots_, 0);
  for (const auto& node : snapshot.nodes()) {
    const std::uint32_t at = slot(*node);
    for (const auto& pod : node->pods) {
      if (made->set.contains(*pod)) made->add(at, 1);
    }
  }
  if (made->set.label_key.empty()) {
    without_label_.push_back(made.get());
  } else {
    by_label_.emplace(label_hash(made->set.label_key, made->set.label_value), made.get());
  }
  return *tables_.emplace(name, std::move(made)).first->second;
}

void TopologyIndex::evict_one() {
  const auto oldest = std::ranges::min_element(tables_, {}, [](const auto& entry) { return entry.second->last_use; });
  Table* table = oldest->second.get();
  std::erase(without_label_, table);
  std::erase_if(by_label_, [&](const auto& entry) { return entry.second == table; });
  tables_.erase(oldest);
  std::erase_if(node_sets_, [](const auto& entry) { return entry.second.expired(); });
}

TopologyIndex::Sum& TopologyIndex::add_sum(Table& table, std::shared_ptr<Domains> domains,
                                           std::shared_ptr<NodeSet> nodes) {
  Sum sum{std::make_shared<DomainCounts>(), std::move(domains), std::move(nodes)};
  sum.counts->domains = sum.domains;
  sum.counts->pods.assign(static_cast<std::size_t>(sum.domains->count), 0);
  sum.counts->nodes.assign(static_cast<std::size_t>(sum.domains->count), 0);
  for (std::uint32_t at = 0; at < slots_; ++at) {
    sum.add_pods(at, table.counts->by_slot[at]);
    sum.add_node(at, 1);
  }
  return table.sums.emplace_back(std::move(sum));
}

std::shared_ptr<const DomainCounts> TopologyIndex::counts(const Snapshot& snapshot, std::string_view set,
                                                          const std::function<PodSetSpec()>& make_set,
                                                          std::string_view key, std::string_view nodes,
                                                          const std::function<NodePredicate()>& make_nodes) {
  Table& found = table(snapshot, set, make_set);
  auto domains = domains_of(snapshot, key);
  auto node_filter = node_set(snapshot, nodes, make_nodes);
  for (const Sum& sum : found.sums) {
    if (sum.domains == domains && sum.nodes == node_filter) return sum.counts;
  }
  return add_sum(found, std::move(domains), std::move(node_filter)).counts;
}

std::shared_ptr<const NodeCounts> TopologyIndex::node_counts(const Snapshot& snapshot, std::string_view set,
                                                             const std::function<PodSetSpec()>& make_set) {
  return table(snapshot, set, make_set).counts;
}

TopologyIndex::Tally* TopologyIndex::add_tally(std::string_view key) {
  auto& tally = tallies_.emplace_back(std::make_unique<Tally>());
  tally->counts->by_slot.assign(slots_, 0);
  add_sum(*tally, domains_of(*advancing_, key), nullptr);
  return tally.get();
}

void TopologyIndex::remove_tally(Tally* tally) {
  std::erase_if(tallies_, [&](const auto& held) { return held.get() == tally; });
}

void TopologyIndex::bump(Tally* tally, std::uint32_t slot, std::int32_t change) {
  tally->add(slot, change);
}

std::shared_ptr<const DomainCounts> TopologyIndex::counts_of(const Tally& tally) noexcept {
  return tally.sums.front().counts;
}

std::int64_t TopologyIndex::size_of(const Tally& tally) noexcept {
  return tally.counts->total;
}

}  // namespace kubernel::scheduler
