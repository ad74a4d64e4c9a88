// SPDX-License-Identifier: Apache-2.0
#include <kubernel/scheduler/topology.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

namespace kubernel::scheduler {
namespace {

std::shared_ptr<const PodInfo> pod(const std::string& name, const std::string& app) {
  auto object = api::Object::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + R"(","uid":"u-)" +
                                   name + R"(","labels":{"app":")" + app + R"("}},"spec":{}})");
  EXPECT_TRUE(object) << object.error().message();
  return std::make_shared<const PodInfo>(*object);
}

NodeInfo node(const std::string& name, const std::string& zone) {
  const std::string labels = zone.empty() ? "{}" : R"({"zone":")" + zone + R"("})";
  auto object = api::Object::parse(R"({"apiVersion":"v1","kind":"Node","metadata":{"name":")" + name +
                                   R"(","labels":)" + labels + "}}");
  EXPECT_TRUE(object) << object.error().message();
  return NodeInfo(*object);
}

// What the scheduler's cache does, with the nodes in the test's hands.
class Cluster {
 public:
  void set_node(const std::string& name, const std::string& zone) {
    NodeInfo info = node(name, zone);
    const auto known = nodes_.find(name);
    info.slot = known == nodes_.end() ? free_slot() : known->second.slot;
    log_->append({SnapshotChange::Kind::NodeSet, info.slot, name, nullptr});
    if (known != nodes_.end()) {
      for (const auto& held : known->second.pods) info.add_pod(held);
    }
    nodes_.insert_or_assign(name, std::move(info));
  }
  void remove_node(const std::string& name) {
    log_->append({SnapshotChange::Kind::NodeRemoved, nodes_.at(name).slot, {}, nullptr});
    nodes_.erase(name);
  }
  void add_pod(const std::string& node_name, std::shared_ptr<const PodInfo> added) {
    log_->append({SnapshotChange::Kind::PodAdded, nodes_.at(node_name).slot, {}, added});
    nodes_.at(node_name).add_pod(std::move(added));
  }
  void remove_pod(const std::string& node_name, const std::string& uid) {
    NodeInfo& info = nodes_.at(node_name);
    for (const auto& held : info.pods) {
      if (held->uid() == uid) log_->append({SnapshotChange::Kind::PodRemoved, info.slot, {}, held});
    }
    info.remove_pod(uid);
  }
  Snapshot snapshot() const {
    std::vector<std::shared_ptr<const NodeInfo>> out;
    for (const auto& [name, info] : nodes_) out.push_back(std::make_shared<const NodeInfo>(info));
    return Snapshot(std::move(out), log_, log_->end());
  }
  const std::map<std::string, NodeInfo>& nodes() const { return nodes_; }

 private:
  std::uint32_t free_slot() const {
    std::set<std::uint32_t> used;
    for (const auto& [name, info] : nodes_) used.insert(info.slot);
    std::uint32_t slot = 0;
    while (used.contains(slot)) ++slot;
    return slot;
  }

  std::map<std::string, NodeInfo> nodes_;
  std::shared_ptr<ChangeLog> log_ = std::make_shared<ChangeLog>();
};

PodSetSpec pods_of(const std::string& app, bool by_label) {
  PodSetSpec spec;
  spec.contains = [app](const PodInfo& info) { return info.object.labels()["app"].string() == app; };
  if (by_label) {
    spec.label_key = "app";
    spec.label_value = app;
  }
  return spec;
}

// Counts every pod that is seen, per zone.
struct CountEverything final : PodObserver {
  TopologyIndex index{this};
  TopologyIndex::Tally* tally = nullptr;

  void reset() override { tally = nullptr; }
  void pod_changed(const PodInfo&, std::uint32_t slot, std::int32_t change) override {
    if (tally == nullptr) tally = index.add_tally("zone");
    index.bump(tally, slot, change);
  }
};

std::map<std::string, int> by_zone(const Cluster& cluster, const DomainCounts& counts, const TopologyIndex& index) {
  std::map<std::string, int> out;
  for (const auto& [name, info] : cluster.nodes()) {
    const std::string zone(info.labels()["zone"].string());
    if (!zone.empty()) out[zone] = counts.pods_at(index.slot(info));
  }
  return out;
}

std::map<std::string, int> expected(const Cluster& cluster, const std::function<bool(const PodInfo&)>& contains,
                                    const NodePredicate& node_counts) {
  std::map<std::string, int> out;
  for (const auto& [name, info] : cluster.nodes()) {
    const std::string zone(info.labels()["zone"].string());
    if (zone.empty()) continue;
    out[zone] += 0;
    for (const auto& held : info.pods) out[zone] += node_counts(info) && contains(*held) ? 1 : 0;
  }
  return out;
}

bool named_even(const NodeInfo& info) {
  return (info.name.back() - '0') % 2 == 0;
}

TEST(TopologyIndex, CountsWhatIsThereWhenItIsFirstAsked) {
  Cluster cluster;
  cluster.set_node("n0", "a");
  cluster.add_pod("n0", pod("p", "web"));
  const Snapshot snapshot = cluster.snapshot();
  TopologyIndex index;
  index.advance(snapshot);
  const auto counts = index.counts(snapshot, "web", [] { return pods_of("web", true); }, "zone", {}, {});
  EXPECT_EQ(counts->pods_at(0), 1);
  EXPECT_EQ(counts->total, 1);
  EXPECT_EQ(counts->nodes.at(0), 1);
}

TEST(TopologyIndex, ReadsASnapshotThatNoCacheMadeByNodeName) {
  NodeInfo first = node("n0", "a");
  first.add_pod(pod("p", "web"));
  const Snapshot snapshot({std::make_shared<const NodeInfo>(first), std::make_shared<const NodeInfo>(node("n1", "b"))});
  TopologyIndex index;
  index.advance(snapshot);
  const auto counts = index.counts(snapshot, "web", [] { return pods_of("web", false); }, "zone", {}, {});
  EXPECT_EQ(counts->pods_at(index.slot(first)), 1);
  EXPECT_EQ(counts->pods_at(index.slot(node("n1", "b"))), 0);
  EXPECT_EQ(counts->domains->of(index.slot(node("n2", "b"))), -1);
}

TEST(TopologyIndex, ForgetsTheSetLeastRecentlyAskedFor) {
  Cluster cluster;
  cluster.set_node("n0", "a");
  const Snapshot snapshot = cluster.snapshot();
  TopologyIndex index;
  index.advance(snapshot);
  int made = 0;
  const auto ask = [&](std::size_t set) {
    (void)index.node_counts(snapshot, std::to_string(set), [&] {
      ++made;
      return pods_of("web", false);
    });
  };
  for (std::size_t i = 0; i <= TopologyIndex::kMaxSets; ++i) ask(i);
  ask(TopologyIndex::kMaxSets);
  EXPECT_EQ(made, static_cast<int>(TopologyIndex::kMaxSets) + 1);
  ask(0);
  EXPECT_EQ(made, static_cast<int>(TopologyIndex::kMaxSets) + 2);
}

// After any changes the counters equal a count from scratch.
TEST(TopologyIndex, CountersKeptByChangesEqualACountFromScratch) {
  const std::vector<std::string> zones{"", "a", "b", "c"};
  const std::vector<std::string> apps{"web", "db", "job"};
  for (unsigned seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto pick = [&](std::size_t count) { return random() % count; };
    Cluster cluster;
    TopologyIndex index;
    CountEverything everything;
    int pods = 0;
    for (int step = 0; step < 300; ++step) {
      const std::string name = "n" + std::to_string(pick(8));
      const bool exists = cluster.nodes().contains(name);
      switch (pick(6)) {
        case 0: cluster.set_node(name, zones[pick(zones.size())]); break;
        case 1:
          if (exists && pick(3) == 0) cluster.remove_node(name);
          break;
        case 2:
          if (exists && !cluster.nodes().at(name).pods.empty())
            cluster.remove_pod(name, cluster.nodes().at(name).pods.front()->uid());
          break;
        default:
          if (exists) cluster.add_pod(name, pod("p" + std::to_string(pods++), apps[pick(apps.size())]));
      }
      if (pick(4) != 0) continue;
      const Snapshot snapshot = cluster.snapshot();
      index.advance(snapshot);
      everything.index.advance(snapshot);
      for (const std::string& app : apps) {
        const auto spec = [&] { return pods_of(app, app != "job"); };
        const auto all = index.counts(snapshot, app, spec, "zone", {}, {});
        EXPECT_EQ(by_zone(cluster, *all, index),
                  expected(cluster, spec().contains, [](const NodeInfo&) { return true; }));
        const auto even = index.counts(snapshot, app, spec, "zone", "even", [] { return NodePredicate(named_even); });
        EXPECT_EQ(by_zone(cluster, *even, index), expected(cluster, spec().contains, named_even));
        const auto per_node = index.node_counts(snapshot, app, spec);
        for (const auto& [node_name, info] : cluster.nodes()) {
          EXPECT_EQ(per_node->at(index.slot(info)),
                    std::ranges::count_if(info.pods, [&](const auto& p) { return spec().contains(*p); }));
        }
      }
      if (everything.tally == nullptr) continue;
      EXPECT_EQ(by_zone(cluster, *TopologyIndex::counts_of(*everything.tally), everything.index),
                expected(
                    cluster, [](const PodInfo&) { return true; }, [](const NodeInfo&) { return true; }));
    }
  }
}

}  // namespace
}  // namespace kubernel::scheduler
