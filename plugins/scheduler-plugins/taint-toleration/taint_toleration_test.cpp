// SPDX-License-Identifier: Apache-2.0

#include "taint_toleration.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

struct Row {
  const char* rule;
  const char* taint;
  const char* tolerations;
  bool fits;
};

class TaintTolerationRules : public testing::SchedulerPluginTest, public ::testing::WithParamInterface<Row> {};

// core/v1 Toleration.
TEST_P(TaintTolerationRules, Hold) {
  const auto plugin = make(make_taint_toleration);
  const auto tainted = node("a", std::string(R"("spec":{"taints":[)") + GetParam().taint + "]}");
  const auto info = pod(std::string(R"({"tolerations":)") + GetParam().tolerations + "}");
  EXPECT_EQ(filter(*plugin, *info, tainted).empty(), GetParam().fits) << GetParam().rule;
}

INSTANTIATE_TEST_SUITE_P(
    Rules, TaintTolerationRules,
    ::testing::Values(
        Row{"no toleration", R"({"key":"k","value":"v","effect":"NoSchedule"})", "[]", false},
        Row{"NoExecute keeps away too", R"({"key":"k","effect":"NoExecute"})", "[]", false},
        Row{"PreferNoSchedule never does", R"({"key":"k","effect":"PreferNoSchedule"})", "[]", true},
        Row{"equal value", R"({"key":"k","value":"v","effect":"NoSchedule"})", R"([{"key":"k","value":"v"}])", true},
        Row{"other value", R"({"key":"k","value":"v","effect":"NoSchedule"})", R"([{"key":"k","value":"w"}])", false},
        Row{"exists ignores the value", R"({"key":"k","value":"v","effect":"NoSchedule"})",
            R"([{"key":"k","operator":"Exists"}])", true},
        Row{"empty key with exists tolerates all", R"({"key":"k","effect":"NoExecute"})", R"([{"operator":"Exists"}])",
            true},
        Row{"other effect", R"({"key":"k","effect":"NoExecute"})",
            R"([{"key":"k","operator":"Exists","effect":"NoSchedule"}])", false},
        Row{"a key that is part of another", R"({"key":"kk","effect":"NoSchedule"})",
            R"([{"key":"k","operator":"Exists"}])", false},
        Row{"greater than", R"({"key":"k","value":"10","effect":"NoSchedule"})",
            R"([{"key":"k","operator":"Gt","value":"5"}])", true}));

class TaintTolerationTest : public testing::SchedulerPluginTest {};

TEST_F(TaintTolerationTest, SaysThatATaintIsNotTolerated) {
  EXPECT_EQ(filter(*make(make_taint_toleration), *pod("{}"),
                   node("a", R"("spec":{"taints":[{"key":"k","value":"v","effect":"NoSchedule"}]})")),
            "node(s) had untolerated taint(s)");
}

TEST_F(TaintTolerationTest, PrefersNodesWithFewerUntoleratedTaints) {
  const auto one = R"("spec":{"taints":[{"key":"k","effect":"PreferNoSchedule"}]})";
  const auto two =
      R"("spec":{"taints":[{"key":"k","effect":"PreferNoSchedule"},{"key":"l","effect":"PreferNoSchedule"}]})";
  EXPECT_EQ(score(*make(make_taint_toleration), *pod("{}"), {node("a"), node("b", one), node("c", two)}),
            (std::vector<std::int64_t>{100, 50, 0}));
}

TEST_F(TaintTolerationTest, IsWokenOnlyByANodeWhoseTaintsItTolerates) {
  const auto plugin = make(make_taint_toleration);
  const auto free = node("a");
  const auto tainted = node("a", R"("spec":{"taints":[{"key":"k","value":"v","effect":"NoSchedule"}]})");
  EXPECT_TRUE(wakes(*plugin, scheduler::ClusterEvent::NodeAdded, *pod("{}"), {}, free.object));
  EXPECT_FALSE(wakes(*plugin, scheduler::ClusterEvent::NodeAdded, *pod("{}"), {}, tainted.object));
  EXPECT_TRUE(wakes(*plugin, scheduler::ClusterEvent::NodeTaintsChanged, *pod("{}"), tainted.object, free.object));
  EXPECT_FALSE(wakes(*plugin, scheduler::ClusterEvent::NodeTaintsChanged, *pod("{}"), free.object, tainted.object));
  EXPECT_FALSE(wakes(*plugin, scheduler::ClusterEvent::NodeTaintsChanged, *pod("{}"), free.object, free.object));
  const auto plain = pod("{}");
  const auto tolerant = pod(R"({"tolerations":[{"operator":"Exists"}]})");
  EXPECT_TRUE(wakes(*plugin, scheduler::ClusterEvent::PodUpdated, *tolerant, plain->object, tolerant->object));
  EXPECT_FALSE(wakes(*plugin, scheduler::ClusterEvent::PodUpdated, *plain, plain->object, plain->object));
}

}  // namespace
}  // namespace kubernel::plugins
