// SPDX-License-Identifier: Apache-2.0

#include "node_affinity.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

constexpr const char* kRefusal = "node(s) didn't match Pod's node affinity/selector";

std::string required(const std::string& terms) {
  return R"({"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":)" +
         terms + "}}}}";
}

class NodeAffinityTest : public testing::SchedulerPluginTest {
 protected:
  std::unique_ptr<scheduler::Plugin> plugin_ = make(make_node_affinity);
  scheduler::NodeInfo ssd_ = node("a", R"("spec":{})", R"({"disk":"ssd","cores":"8"})");
};

TEST_F(NodeAffinityTest, ANodeSelectorNeedsEveryLabel) {
  EXPECT_EQ(filter(*plugin_, *pod(R"({"nodeSelector":{"disk":"ssd"}})"), ssd_), "");
  EXPECT_EQ(filter(*plugin_, *pod(R"({"nodeSelector":{"disk":"ssd","gpu":"yes"}})"), ssd_), kRefusal);
}

TEST_F(NodeAffinityTest, TermsAreAlternativesAndTheirExpressionsMustAllHold) {
  EXPECT_EQ(filter(*plugin_, *pod(required(R"([{"matchExpressions":[{"key":"disk","operator":"In","values":["hdd"]}]},
      {"matchExpressions":[{"key":"disk","operator":"Exists"},{"key":"cores","operator":"Gt","values":["4"]}]}])")),
                   ssd_),
            "");
  EXPECT_EQ(filter(*plugin_, *pod(required(R"([{"matchExpressions":[{"key":"disk","operator":"Exists"},
      {"key":"cores","operator":"Lt","values":["4"]}]}])")),
                   ssd_),
            kRefusal);
}

TEST_F(NodeAffinityTest, AnEmptyTermMatchesNothing) {
  EXPECT_EQ(filter(*plugin_, *pod(required("[{}]")), ssd_), kRefusal);
}

TEST_F(NodeAffinityTest, ATermMayNameItsNodes) {
  const auto by_name = [](const std::string& name) {
    return required(R"([{"matchFields":[{"key":"metadata.name","operator":"In","values":[")" + name + R"("]}]}])");
  };
  EXPECT_EQ(filter(*plugin_, *pod(by_name("a")), ssd_), "");
  EXPECT_EQ(filter(*plugin_, *pod(by_name("b")), ssd_), "not among the pre-filtered nodes");
}

TEST_F(NodeAffinityTest, ATermThatNamesTwoNodesAtOnceFitsNone) {
  const auto field = [](const std::string& name) {
    return R"({"key":"metadata.name","operator":"In","values":[")" + name + R"("]})";
  };
  EXPECT_EQ(filter(*plugin_, *pod(required(R"([{"matchFields":[)" + field("a") + "," + field("b") + "]}]")), ssd_),
            "pod affinity terms conflict");
}

TEST_F(NodeAffinityTest, AnAddedPreferenceScoresForEveryPod) {
  const auto plugin = make(make_node_affinity, R"({"addedAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":
      [{"weight":7,"preference":{"matchExpressions":[{"key":"disk","operator":"Exists"}]}}]}})");
  EXPECT_EQ(score(*plugin, *pod("{}"), {ssd_, node("b")}), (std::vector<std::int64_t>{100, 0}));
}

TEST_F(NodeAffinityTest, NotInAndDoesNotExistHoldWithoutTheLabel) {
  EXPECT_EQ(filter(*plugin_, *pod(required(R"([{"matchExpressions":[{"key":"gpu","operator":"NotIn","values":["x"]},
      {"key":"gpu","operator":"DoesNotExist"}]}])")),
                   ssd_),
            "");
}

TEST_F(NodeAffinityTest, PreferredTermsAddTheirWeights) {
  const auto wants = pod(R"({"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[
      {"weight":10,"preference":{"matchExpressions":[{"key":"disk","operator":"Exists"}]}},
      {"weight":30,"preference":{"matchExpressions":[{"key":"cores","operator":"Exists"}]}}]}}})");
  EXPECT_EQ(score(*plugin_, *wants, {ssd_, node("b", R"("spec":{})", R"({"disk":"hdd"})"), node("c")}),
            (std::vector<std::int64_t>{100, 25, 0}));
}

TEST_F(NodeAffinityTest, AnAddedAffinityAppliesToEveryPod) {
  const auto plugin = make(make_node_affinity, R"({"addedAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":
      {"nodeSelectorTerms":[{"matchExpressions":[{"key":"disk","operator":"Exists"}]}]}}})");
  EXPECT_EQ(filter(*plugin, *pod("{}"), ssd_), "");
  EXPECT_EQ(filter(*plugin, *pod("{}"), node("b")), "node(s) didn't match scheduler-enforced node affinity");
}

TEST_F(NodeAffinityTest, IsWokenOnlyByANodeThatMatchesNow) {
  const auto plugin = make(make_node_affinity);
  const auto wants_ssd = pod(R"({"nodeSelector":{"disk":"ssd"}})");
  const auto ssd = node("a", R"("spec":{})", R"({"disk":"ssd"})");
  const auto hdd = node("a", R"("spec":{})", R"({"disk":"hdd"})");
  EXPECT_TRUE(wakes(*plugin, scheduler::ClusterEvent::NodeAdded, *wants_ssd, {}, ssd.object));
  EXPECT_FALSE(wakes(*plugin, scheduler::ClusterEvent::NodeAdded, *wants_ssd, {}, hdd.object));
  EXPECT_TRUE(wakes(*plugin, scheduler::ClusterEvent::NodeLabelsChanged, *wants_ssd, hdd.object, ssd.object));
  EXPECT_FALSE(wakes(*plugin, scheduler::ClusterEvent::NodeLabelsChanged, *wants_ssd, ssd.object, ssd.object));
  EXPECT_FALSE(wakes(*plugin, scheduler::ClusterEvent::NodeLabelsChanged, *wants_ssd, ssd.object, hdd.object));
}

}  // namespace
}  // namespace kubernel::plugins
