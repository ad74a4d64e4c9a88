// SPDX-License-Identifier: Apache-2.0

#include "pod_topology_spread.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

using scheduler::NodeInfo;
using scheduler::PodInfo;
using Scores = std::vector<std::int64_t>;
using Refusals = std::vector<std::string>;

constexpr const char* kSkew = "node(s) didn't match pod topology spread constraints";
constexpr const char* kMissing = "node(s) didn't match pod topology spread constraints (missing required label)";

std::string constraint(const std::string& more = "", int skew = 1, const std::string& key = "zone",
                       const std::string& when = "DoNotSchedule") {
  return R"({"maxSkew":)" + std::to_string(skew) + R"(,"topologyKey":")" + key + R"(","whenUnsatisfiable":")" + when +
         R"(","labelSelector":{"matchLabels":{"app":"web"}})" + more + "}";
}
std::string spec(const std::string& constraints, const std::string& more = "") {
  return R"({"topologySpreadConstraints":[)" + constraints + "]" + more + "}";
}

class PodTopologySpreadTest : public testing::SchedulerPluginTest {
 protected:
  // Nodes a0 and a1 in zone a, b0 in zone b, c0 in zone c, and one without labels.
  PodTopologySpreadTest() {
    for (const std::string name : {"a0", "a1", "b0", "c0"}) {
      nodes_.push_back(node(name, R"("spec":{})",
                            R"({"zone":")" + name.substr(0, 1) + R"(","kubernetes.io/hostname":")" + name + "\"}"));
    }
    nodes_.push_back(node("bare"));
  }
  void run(std::size_t at, const std::string& labels = R"({"app":"web"})", const std::string& ns = "default",
           const std::string& more_metadata = "") {
    nodes_[at].add_pod(labeled_pod("w" + std::to_string(count_++), labels, "{}", ns, more_metadata));
  }
  void swap_node(std::size_t at, const std::string& members, const std::string& labels) {
    nodes_[at] = node(nodes_[at].name, members, labels);
  }
  Refusals refusals(const std::string& pod_spec, const std::string& labels = R"({"app":"web"})") {
    return filter_all(*plugin_, *labeled_pod("p", labels, pod_spec), nodes_);
  }

  std::unique_ptr<scheduler::Plugin> plugin_ = make(make_pod_topology_spread);
  std::vector<NodeInfo> nodes_;
  int count_ = 0;
};

TEST_F(PodTopologySpreadTest, NoDomainMayHaveMoreThanMaxSkewAboveTheEmptiest) {
  run(0);
  EXPECT_EQ(refusals(spec(constraint())), (Refusals{kSkew, kSkew, "", "", kMissing}));
  EXPECT_EQ(refusals(spec(constraint("", 2))), (Refusals{"", "", "", "", kMissing}));
  run(2);
  run(3);
  EXPECT_EQ(refusals(spec(constraint())), (Refusals{"", "", "", "", kMissing}));
}

TEST_F(PodTopologySpreadTest, APodThatDoesNotMatchItselfAddsNothing) {
  run(0);
  EXPECT_EQ(refusals(spec(constraint()), R"({"app":"other"})"), (Refusals{"", "", "", "", kMissing}));
}

TEST_F(PodTopologySpreadTest, OnlyRunningPodsOfTheNamespaceCount) {
  run(0, R"({"app":"web"})", "other");
  run(0, R"({"app":"db"})");
  run(0, R"({"app":"web"})", "default", R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")");
  EXPECT_EQ(refusals(spec(constraint())), (Refusals{"", "", "", "", kMissing}));
}

// KEP-3022.
TEST_F(PodTopologySpreadTest, WithFewerThanMinDomainsTheMinimumIsZero) {
  for (const std::size_t at : {0, 2, 3}) run(at);
  EXPECT_EQ(refusals(spec(constraint(R"(,"minDomains":3)"))), (Refusals{"", "", "", "", kMissing}));
  EXPECT_EQ(refusals(spec(constraint(R"(,"minDomains":4)"))), (Refusals{kSkew, kSkew, kSkew, kSkew, kMissing}));
}

// KEP-3094.
TEST_F(PodTopologySpreadTest, NodesThePodCannotUseDoNotCountUnlessIgnored) {
  run(0);
  run(2);
  const std::string selector = R"(,"nodeSelector":{"disk":"ssd"})";
  for (const std::size_t at : {0, 2}) {
    const auto pods = nodes_[at].pods;
    swap_node(at, R"("spec":{})", R"({"disk":"ssd","zone":")" + nodes_[at].name.substr(0, 1) + "\"}");
    for (const auto& held : pods) nodes_[at].add_pod(held);
  }
  // Zone c has no such node: the emptiest domain among a and b holds one pod.
  EXPECT_EQ(refusals(spec(constraint(), selector)), (Refusals{"", "", "", "", kMissing}));
  EXPECT_EQ(refusals(spec(constraint(R"(,"nodeAffinityPolicy":"Ignore")"), selector)),
            (Refusals{kSkew, kSkew, kSkew, "", kMissing}));
}

TEST_F(PodTopologySpreadTest, TaintedNodesCountUnlessHonored) {
  run(0);
  run(2);
  swap_node(3, R"("spec":{"taints":[{"key":"k","effect":"NoSchedule"}]})", R"({"zone":"c"})");
  EXPECT_EQ(refusals(spec(constraint())), (Refusals{kSkew, kSkew, kSkew, "", kMissing}));
  EXPECT_EQ(refusals(spec(constraint(R"(,"nodeTaintsPolicy":"Honor")"))), (Refusals{"", "", "", "", kMissing}));
  EXPECT_EQ(refusals(spec(constraint(R"(,"nodeTaintsPolicy":"Honor")"),
                          R"(,"tolerations":[{"key":"k","operator":"Exists"}])")),
            (Refusals{kSkew, kSkew, kSkew, "", kMissing}));
}

// KEP-3243.
TEST_F(PodTopologySpreadTest, LabelKeysCountOnlyPodsOfTheSameRevision) {
  run(0, R"({"app":"web","version":"1"})");
  const std::string keys = constraint(R"(,"matchLabelKeys":["version"])");
  EXPECT_EQ(refusals(spec(keys), R"({"app":"web","version":"1"})"), (Refusals{kSkew, kSkew, "", "", kMissing}));
  EXPECT_EQ(refusals(spec(keys), R"({"app":"web","version":"2"})"), (Refusals{"", "", "", "", kMissing}));
}

TEST_F(PodTopologySpreadTest, EveryConstraintMustHold) {
  run(0);
  run(2);
  run(3);
  EXPECT_EQ(refusals(spec(constraint() + "," + constraint("", 1, "kubernetes.io/hostname"))),
            (Refusals{kSkew, "", kSkew, kSkew, kMissing}));
}

// A node without all the keys is in no domain of any constraint.
TEST_F(PodTopologySpreadTest, ANodeThatLacksOneOfTheKeysDoesNotCountForTheOthers) {
  run(0);
  swap_node(3, R"("spec":{})", R"({"zone":"c"})");
  run(2);
  EXPECT_EQ(refusals(spec(constraint() + "," + constraint("", 5, "kubernetes.io/hostname"))),
            (Refusals{"", "", "", kMissing, kMissing}));
}

// Two pods with one node selector and different keys do not share which nodes count.
TEST_F(PodTopologySpreadTest, NodesThatCountForOneKeyDoNotForAnother) {
  const std::string selector = R"(,"nodeSelector":{"disk":"ssd"})";
  swap_node(0, R"("spec":{})", R"({"disk":"ssd","kubernetes.io/hostname":"a0"})");  // Has no zone.
  run(0);
  std::vector<std::shared_ptr<const NodeInfo>> shared;
  auto log = std::make_shared<scheduler::ChangeLog>();
  for (auto& info : nodes_) {
    info.slot = static_cast<std::uint32_t>(shared.size());
    shared.push_back(std::make_shared<const NodeInfo>(info));
  }
  const scheduler::Snapshot snapshot(shared, log, log->end());
  auto& pre_filter = dynamic_cast<scheduler::PreFilter&>(*plugin_);
  const auto by_zone = labeled_pod("p", R"({"app":"web"})", spec(constraint(), selector));
  const auto by_host = labeled_pod("q", R"({"app":"web"})",
                                   spec(constraint(R"(,"minDomains":2)", 1, "kubernetes.io/hostname"), selector));
  ASSERT_TRUE(pre_filter.pre_filter({}, *by_zone, snapshot));
  const auto data = pre_filter.pre_filter({}, *by_host, snapshot);
  EXPECT_EQ(joined(*dynamic_cast<scheduler::Filter&>(*plugin_).filter(*by_host, data->data.get(), *shared[0])), kSkew);
}

TEST_F(PodTopologySpreadTest, PreferredConstraintsScoreTheEmptierDomainHigher) {
  run(0);
  run(0);
  run(2);
  const auto web = labeled_pod("p", R"({"app":"web"})", spec(constraint("", 1, "zone", "ScheduleAnyway")));
  // log(3 domains + 2) * pods: 3.2, 3.2, 1.6 and 0, rounded to 3, 3, 2 and 0.
  EXPECT_EQ(score(*plugin_, *web, nodes_), (Scores{0, 0, 33, 100, 0}));
}

TEST_F(PodTopologySpreadTest, OnEqualDomainsEveryNodeScoresTheSame) {
  const auto web = labeled_pod("p", R"({"app":"web"})", spec(constraint("", 1, "zone", "ScheduleAnyway")));
  EXPECT_EQ(score(*plugin_, *web, nodes_), (Scores{100, 100, 100, 100, 0}));
}

TEST_F(PodTopologySpreadTest, HostsAreCountedByNode) {
  run(0);
  const auto web =
      labeled_pod("p", R"({"app":"web"})", spec(constraint("", 1, "kubernetes.io/hostname", "ScheduleAnyway")));
  EXPECT_EQ(score(*plugin_, *web, nodes_), (Scores{0, 100, 100, 100, 0}));
}

TEST_F(PodTopologySpreadTest, PodsOfAServiceSpreadByDefault) {
  cluster_.put_text(api::resources::kServices,
                    R"({"metadata":{"namespace":"default","name":"web"},"spec":{"selector":{"app":"web"}}})");
  informers_->start();
  executor_.run_all();
  run(0);
  run(0);
  run(0);
  const auto scores = score(*plugin_, *labeled_pod("p", R"({"app":"web"})"), nodes_);
  ASSERT_EQ(scores.size(), 5U);
  EXPECT_LT(scores[0], scores[2]);
  EXPECT_GT(scores[4], 0);  // System defaults do not ignore nodes without the labels.
  EXPECT_TRUE(score(*plugin_, *labeled_pod("q", R"({"app":"other"})"), nodes_).empty());
}

TEST_F(PodTopologySpreadTest, PodsOfAReplicaSetSpreadByDefault) {
  cluster_.put_text(
      api::resources::kReplicaSets,
      R"({"metadata":{"namespace":"default","name":"r"},"spec":{"selector":{"matchLabels":{"app":"web"}}}})");
  informers_->start();
  executor_.run_all();
  run(0);
  const auto owned = labeled_pod(
      "p", R"({"app":"web"})", "{}", "default",
      R"(,"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"u","controller":true}])");
  const auto scores = score(*plugin_, *owned, nodes_);
  ASSERT_EQ(scores.size(), 5U);
  EXPECT_LT(scores[0], scores[2]);
}

TEST_F(PodTopologySpreadTest, AListOfDefaultConstraintsTakesThePlaceOfTheSystems) {
  plugin_ = make(make_pod_topology_spread, R"({"defaultingType":"List","defaultConstraints":[
      {"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule"}]})");
  cluster_.put_text(api::resources::kServices,
                    R"({"metadata":{"namespace":"default","name":"web"},"spec":{"selector":{"app":"web"}}})");
  informers_->start();
  executor_.run_all();
  run(0);
  EXPECT_EQ(refusals("{}"), (Refusals{kSkew, kSkew, "", "", kMissing}));
  EXPECT_EQ(refusals(spec(constraint("", 2))), (Refusals{"", "", "", "", kMissing}));  // The pod's own win.
}

TEST_F(PodTopologySpreadTest, DefaultConstraintsNeedTheListType) {
  const auto made = make_pod_topology_spread(
      context(R"({"defaultConstraints":[{"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"ScheduleAnyway"}]})"));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().message(), "defaultConstraints: only with defaultingType List");
}

// Preemption imagines pods gone and others there, on data of its own.
TEST_F(PodTopologySpreadTest, ImaginedPodsCount) {
  run(0);
  const auto held = nodes_[0].pods.front();
  const auto waiting = labeled_pod("p", R"({"app":"web"})", spec(constraint()));
  std::vector<std::shared_ptr<const NodeInfo>> shared;
  for (const auto& info : nodes_) shared.push_back(std::make_shared<const NodeInfo>(info));
  const scheduler::Snapshot snapshot(shared);
  auto result = dynamic_cast<scheduler::PreFilter&>(*plugin_).pre_filter({}, *waiting, snapshot);
  ASSERT_TRUE(result);
  auto& filter = dynamic_cast<scheduler::Filter&>(*plugin_);
  auto& imagine = dynamic_cast<scheduler::PreFilterExtensions&>(*plugin_);
  const auto on = [&](const scheduler::CycleData& data, std::size_t at) {
    return joined(*filter.filter(*waiting, &data, nodes_[at]));
  };

  const auto copy = result->data->clone();
  EXPECT_EQ(on(*copy, 0), kSkew);
  imagine.pod_removed(*copy, *waiting, *held, nodes_[0]);
  EXPECT_EQ(on(*copy, 0), "");
  imagine.pod_added(*copy, *waiting, *held, nodes_[2]);
  EXPECT_EQ(on(*copy, 2), kSkew);
  EXPECT_EQ(on(*result->data, 0), kSkew);
}

TEST_F(PodTopologySpreadTest, IsWokenOnlyByWhatCouldHelp) {
  const auto waiting = labeled_pod("p", R"({"app":"web"})", spec(constraint()));
  const api::Object web = labeled_pod("a", R"({"app":"web"})")->object;
  const api::Object other = labeled_pod("b", R"({"app":"other"})")->object;
  const api::Object elsewhere = labeled_pod("c", R"({"app":"web"})", "{}", "other")->object;
  for (const auto& interest : plugin_->retry_on()) {
    if (interest.event == scheduler::ClusterEvent::PodDeleted) {
      EXPECT_TRUE(interest.helps(*waiting, web, {}));
      EXPECT_FALSE(interest.helps(*waiting, other, {}));
      EXPECT_FALSE(interest.helps(*waiting, elsewhere, {}));
    } else if (interest.event == scheduler::ClusterEvent::PodAssigned) {
      EXPECT_TRUE(interest.helps(*waiting, {}, web));
      EXPECT_FALSE(interest.helps(*waiting, {}, other));
    } else if (interest.event == scheduler::ClusterEvent::NodeAdded) {
      EXPECT_TRUE(interest.helps(*waiting, {}, nodes_[0].object));
      EXPECT_FALSE(interest.helps(*waiting, {}, nodes_[4].object));
    }
  }
  EXPECT_TRUE(wakes(*plugin_, scheduler::ClusterEvent::NodeDeleted, *waiting, nodes_[0].object, {}))
      << "with it a domain that had too few may be gone";
  EXPECT_FALSE(wakes(*plugin_, scheduler::ClusterEvent::NodeDeleted, *waiting, nodes_[4].object, {}));
  const auto updated = scheduler::ClusterEvent::PodUpdated;
  const auto tolerant = [](const std::string& more) {
    return labeled_pod("p", R"({"app":"web"})", spec(constraint(more), R"(,"tolerations":[{"operator":"Exists"}])"));
  };
  EXPECT_TRUE(wakes(*plugin_, updated, *waiting, labeled_pod("p", "{}")->object, waiting->object))
      << "it counts itself";
  EXPECT_FALSE(wakes(*plugin_, updated, *waiting, waiting->object, waiting->object));
  EXPECT_FALSE(wakes(*plugin_, updated, *tolerant(""), waiting->object, tolerant("")->object));
  const auto honoring = tolerant(R"(,"nodeTaintsPolicy":"Honor")");
  EXPECT_TRUE(wakes(*plugin_, updated, *honoring, waiting->object, honoring->object)) << "other nodes count";
}

}  // namespace
}  // namespace kubernel::plugins
