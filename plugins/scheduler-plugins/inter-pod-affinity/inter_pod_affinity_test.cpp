// SPDX-License-Identifier: Apache-2.0

#include "inter_pod_affinity.h"

#include <nlohmann/json.hpp>

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

using scheduler::NodeInfo;
using scheduler::PodInfo;
using Scores = std::vector<std::int64_t>;
using Refusals = std::vector<std::string>;

constexpr const char* kAffinity = "node(s) didn't match pod affinity rules";
constexpr const char* kAnti = "node(s) didn't match pod anti-affinity rules";
constexpr const char* kExisting = "node(s) didn't satisfy existing pods anti-affinity rules";

std::string term(const std::string& app, const std::string& key = "zone", const std::string& more = "") {
  return R"({"labelSelector":{"matchLabels":{"app":")" + app + R"("}},"topologyKey":")" + key + "\"" + more + "}";
}
std::string spec(const std::string& affinity) {
  return R"({"affinity":{)" + affinity + "}}";
}
std::string required(const std::string& terms) {
  return R"("podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[)" + terms + "]}";
}
std::string anti(const std::string& terms) {
  return R"("podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[)" + terms + "]}";
}
std::string preferred(const std::string& kind, int weight, const std::string& one) {
  return "\"" + kind + R"(":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":)" + std::to_string(weight) +
         R"(,"podAffinityTerm":)" + one + "}]}";
}

// Three nodes: a0 and a1 in zone a, b0 in zone b; and one without labels.
class InterPodAffinityTest : public testing::SchedulerPluginTest {
 protected:
  InterPodAffinityTest() {
    for (const auto& [name, zone] : {std::pair("a0", "a"), std::pair("a1", "a"), std::pair("b0", "b")}) {
      nodes_.push_back(node(name, R"("spec":{})", std::string(R"({"zone":")") + zone + R"(","host":")" + name + "\"}"));
    }
    nodes_.push_back(node("bare"));
  }
  void run(std::size_t at, std::shared_ptr<const PodInfo> pod) { nodes_[at].add_pod(std::move(pod)); }
  Refusals refusals(const PodInfo& pod) { return filter_all(*plugin_, pod, nodes_); }

  std::unique_ptr<scheduler::Plugin> plugin_ = make(make_inter_pod_affinity);
  std::vector<NodeInfo> nodes_;
};

TEST_F(InterPodAffinityTest, APodGoesWhereThePodsItWantsAre) {
  run(0, labeled_pod("web", R"({"app":"web"})"));
  EXPECT_EQ(refusals(*pod(spec(required(term("web"))))), (Refusals{"", "", kAffinity, kAffinity}));
  EXPECT_EQ(refusals(*pod(spec(required(term("web", "host"))))), (Refusals{"", kAffinity, kAffinity, kAffinity}));
}

TEST_F(InterPodAffinityTest, EveryTermMustHoldForTheSamePods) {
  run(0, labeled_pod("web", R"({"app":"web"})"));
  run(0, labeled_pod("db", R"({"app":"db"})"));
  EXPECT_EQ(refusals(*pod(spec(required(term("web") + "," + term("db"))))),
            (Refusals{kAffinity, kAffinity, kAffinity, kAffinity}));
  const std::string tier = R"({"labelSelector":{"matchLabels":{"tier":"front"}},"topologyKey":"host"})";
  run(2, labeled_pod("both", R"({"app":"web","tier":"front"})"));
  EXPECT_EQ(refusals(*pod(spec(required(term("web") + "," + tier)))), (Refusals{kAffinity, kAffinity, "", kAffinity}));
}

TEST_F(InterPodAffinityTest, TheFirstPodOfAGroupMayGoWhereTheLabelsAre) {
  const auto first = labeled_pod("p", R"({"app":"web"})", spec(required(term("web"))));
  EXPECT_EQ(refusals(*first), (Refusals{"", "", "", kAffinity}));
  EXPECT_EQ(refusals(*labeled_pod("q", R"({"app":"other"})", spec(required(term("web"))))),
            (Refusals{kAffinity, kAffinity, kAffinity, kAffinity}));
  run(2, labeled_pod("web", R"({"app":"web"})"));
  EXPECT_EQ(refusals(*first), (Refusals{kAffinity, kAffinity, "", kAffinity}));
}

TEST_F(InterPodAffinityTest, APodKeepsAwayFromThePodsItDoesNotWant) {
  run(0, labeled_pod("web", R"({"app":"web"})"));
  EXPECT_EQ(refusals(*pod(spec(anti(term("web"))))), (Refusals{kAnti, kAnti, "", ""}));
  EXPECT_EQ(refusals(*pod(spec(anti(term("web", "host"))))), (Refusals{kAnti, "", "", ""}));
}

TEST_F(InterPodAffinityTest, ARunningPodKeepsOthersAwayToo) {
  run(0, labeled_pod("web", R"({"app":"web"})", spec(anti(term("db")))));
  EXPECT_EQ(refusals(*labeled_pod("p", R"({"app":"db"})")), (Refusals{kExisting, kExisting, "", ""}));
  EXPECT_EQ(refusals(*labeled_pod("p", R"({"app":"web"})")), (Refusals{"", "", "", ""}));
}

TEST_F(InterPodAffinityTest, ATermSpeaksOfItsOwnNamespaceUnlessItNamesOthers) {
  run(0, labeled_pod("web", R"({"app":"web"})", "{}", "shop"));
  EXPECT_EQ(refusals(*pod(spec(anti(term("web"))))), (Refusals{"", "", "", ""}));
  EXPECT_EQ(refusals(*pod(spec(anti(term("web", "zone", R"(,"namespaces":["shop"])"))))),
            (Refusals{kAnti, kAnti, "", ""}));
  EXPECT_EQ(refusals(*pod(spec(anti(term("web", "zone", R"(,"namespaceSelector":{})"))))),
            (Refusals{kAnti, kAnti, "", ""}));
}

TEST_F(InterPodAffinityTest, ANamespaceSelectorReadsTheLabelsOfNamespaces) {
  cluster_.put_text(api::resources::kNamespaces, R"({"metadata":{"name":"shop","labels":{"team":"red"}}})");
  informers_->start();
  executor_.run_all();
  const auto selecting = [](const char* team) {
    return pod(spec(
        anti(term("web", "zone", std::string(R"(,"namespaceSelector":{"matchLabels":{"team":")") + team + R"("}})"))));
  };
  run(0, labeled_pod("web", R"({"app":"web"})", "{}", "shop"));
  EXPECT_EQ(refusals(*selecting("red")), (Refusals{kAnti, kAnti, "", ""}));
  EXPECT_EQ(refusals(*selecting("blue")), (Refusals{"", "", "", ""}));
  cluster_.edit(api::resources::kNamespaces, {"", "shop"},
                [](nlohmann::json& ns) { ns["metadata"]["labels"]["team"] = "blue"; });
  executor_.run_all();
  EXPECT_EQ(refusals(*selecting("red")), (Refusals{"", "", "", ""}));
  EXPECT_EQ(refusals(*selecting("blue")), (Refusals{kAnti, kAnti, "", ""}));
}

// KEP-3633.
TEST_F(InterPodAffinityTest, LabelKeysTakeThePodsOwnValues) {
  run(0, labeled_pod("old", R"({"app":"web","version":"1"})"));
  const auto wants = [](const char* version, const char* keys) {
    return labeled_pod("p", std::string(R"({"app":"web","version":")") + version + "\"}",
                       spec(anti(term("web", "zone", std::string(R"(,")") + keys + R"(":["version","absent"])"))));
  };
  EXPECT_EQ(refusals(*wants("1", "matchLabelKeys")), (Refusals{kAnti, kAnti, "", ""}));
  EXPECT_EQ(refusals(*wants("2", "matchLabelKeys")), (Refusals{"", "", "", ""}));
  EXPECT_EQ(refusals(*wants("1", "mismatchLabelKeys")), (Refusals{"", "", "", ""}));
  EXPECT_EQ(refusals(*wants("2", "mismatchLabelKeys")), (Refusals{kAnti, kAnti, "", ""}));
}

TEST_F(InterPodAffinityTest, ATermWithoutSelectorMatchesNoPod) {
  run(0, labeled_pod("web", R"({"app":"web"})"));
  EXPECT_EQ(refusals(*pod(spec(anti(R"({"topologyKey":"zone"})")))), (Refusals{"", "", "", ""}));
  EXPECT_EQ(refusals(*pod(spec(anti(R"({"topologyKey":"zone","labelSelector":{}})")))),
            (Refusals{kAnti, kAnti, "", ""}));
}

TEST_F(InterPodAffinityTest, PreferredTermsDrawAndRepel) {
  run(0, labeled_pod("web", R"({"app":"web"})"));
  run(2, labeled_pod("db", R"({"app":"db"})"));
  EXPECT_EQ(score(*plugin_, *pod(spec(preferred("podAffinity", 10, term("web")))), nodes_), (Scores{100, 100, 0, 0}));
  EXPECT_EQ(score(*plugin_, *pod(spec(preferred("podAntiAffinity", 10, term("db")))), nodes_),
            (Scores{100, 100, 0, 100}));
  EXPECT_EQ(score(*plugin_,
                  *pod(spec(preferred("podAffinity", 5, term("web", "host")) + "," +
                            preferred("podAntiAffinity", 5, term("db")))),
                  nodes_),
            (Scores{100, 50, 0, 50}));
}

TEST_F(InterPodAffinityTest, RunningPodsDrawAndRepelToo) {
  run(0, labeled_pod("likes", "{}", spec(preferred("podAffinity", 20, term("db")))));
  run(2, labeled_pod("dislikes", "{}", spec(preferred("podAntiAffinity", 20, term("db")))));
  EXPECT_EQ(score(*plugin_, *labeled_pod("p", R"({"app":"db"})"), nodes_), (Scores{100, 100, 0, 50}));
  const auto ignoring = make(make_inter_pod_affinity, R"({"ignorePreferredTermsOfExistingPods":true})");
  EXPECT_TRUE(score(*ignoring, *labeled_pod("p", R"({"app":"db"})"), nodes_).empty());
}

TEST_F(InterPodAffinityTest, RequiredAffinityOfRunningPodsCountsWithItsWeight) {
  run(0, labeled_pod("needs", "{}", spec(required(term("db")))));
  EXPECT_EQ(score(*plugin_, *labeled_pod("p", R"({"app":"db"})"), nodes_), (Scores{100, 100, 0, 0}));
  const auto indifferent = make(make_inter_pod_affinity, R"({"hardPodAffinityWeight":0})");
  EXPECT_TRUE(score(*indifferent, *labeled_pod("p", R"({"app":"db"})"), nodes_).empty());
}

TEST_F(InterPodAffinityTest, HasNothingToSayWithoutTerms) {
  run(0, labeled_pod("web", R"({"app":"web"})"));
  EXPECT_TRUE(score(*plugin_, *pod("{}"), nodes_).empty());
}

// Preemption imagines pods gone and others there, on data of its own.
TEST_F(InterPodAffinityTest, ImaginedPodsCount) {
  const auto wanted = labeled_pod("web", R"({"app":"web"})");
  const auto hostile = labeled_pod("hostile", "{}", spec(anti(term("p"))));
  const auto waiting = labeled_pod("p", R"({"app":"p"})", spec(required(term("web"))));
  run(0, wanted);
  run(2, hostile);
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
  imagine.pod_removed(*copy, *waiting, *wanted, nodes_[0]);
  EXPECT_EQ(on(*copy, 0), kAffinity);
  imagine.pod_added(*copy, *waiting, *wanted, nodes_[2]);
  EXPECT_EQ(on(*copy, 2), kExisting);
  imagine.pod_removed(*copy, *waiting, *hostile, nodes_[2]);
  EXPECT_EQ(on(*copy, 2), "");
  imagine.pod_added(*copy, *waiting, *hostile, nodes_[2]);
  EXPECT_EQ(on(*copy, 2), kExisting);
  EXPECT_EQ(on(*result->data, 0), "");
}

TEST_F(InterPodAffinityTest, IsWokenOnlyByWhatCouldHelp) {
  const auto together = pod(spec(required(term("web"))));
  const auto apart = labeled_pod("p", R"({"app":"p"})", spec(anti(term("web"))));
  const api::Object web = labeled_pod("web", R"({"app":"web"})")->object;
  const api::Object other = labeled_pod("other", R"({"app":"other"})")->object;
  const api::Object hostile = labeled_pod("hostile", "{}", spec(anti(term("p"))))->object;
  for (const auto& interest : plugin_->retry_on()) {
    if (interest.event == scheduler::ClusterEvent::PodAssigned) {
      EXPECT_TRUE(interest.helps(*together, {}, web));
      EXPECT_FALSE(interest.helps(*together, {}, other));
      EXPECT_FALSE(interest.helps(*apart, {}, other));
      EXPECT_TRUE(interest.helps(*apart, web, other));  // Relabeled.
    } else if (interest.event == scheduler::ClusterEvent::PodDeleted) {
      EXPECT_TRUE(interest.helps(*apart, web, {}));
      EXPECT_TRUE(interest.helps(*apart, hostile, {}));
      EXPECT_FALSE(interest.helps(*apart, other, {}));
      EXPECT_FALSE(interest.helps(*together, web, {}));
      EXPECT_FALSE(interest.helps(*apart, web, web)) << "it only needs less of something";
    } else if (interest.event == scheduler::ClusterEvent::NodeAdded) {
      EXPECT_TRUE(interest.helps(*together, {}, nodes_[0].object));
      EXPECT_FALSE(interest.helps(*together, {}, nodes_[3].object));
    }
  }
  const auto updated = scheduler::ClusterEvent::PodUpdated;
  EXPECT_TRUE(wakes(*plugin_, updated, *apart, together->object, apart->object)) << "it has other labels";
  EXPECT_FALSE(wakes(*plugin_, updated, *apart, apart->object, apart->object));
}

TEST_F(InterPodAffinityTest, IsWokenByANodeThatMovesIntoADomainOrOut) {
  const auto together = pod(spec(required(term("web"))));
  const auto apart = pod(spec(anti(term("web"))));
  const auto plain = pod("{}");
  const auto in = [](const std::string& labels) { return node("n", R"("spec":{})", labels).object; };
  const auto a = in(R"({"zone":"a"})"), b = in(R"({"zone":"b"})"), none = in("{}"),
             other = in(R"({"zone":"a","x":"y"})");
  struct Row {
    const char* rule;
    std::shared_ptr<const PodInfo> pod;
    api::Object before, after;
    bool woken;
  };
  const std::vector<Row> rows = {
      {"affinity: into a domain", together, none, a, true},
      {"affinity: into another", together, a, b, true},
      {"affinity: out of one", together, a, none, false},
      {"affinity: another label", together, a, other, false},
      {"anti-affinity: out of a domain", apart, a, none, true},
      {"anti-affinity: into another", apart, a, b, true},
      {"anti-affinity: into one", apart, none, a, false},
      {"anti-affinity: another label", apart, a, other, false},
      {"others' anti-affinity: any", plain, a, other, true},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(wakes(*plugin_, scheduler::ClusterEvent::NodeLabelsChanged, *row.pod, row.before, row.after), row.woken)
        << row.rule;
  }
}

}  // namespace
}  // namespace kubernel::plugins
