// SPDX-License-Identifier: Apache-2.0
#include "replicaset.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>
#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::replicaset {
namespace {

using namespace std::chrono_literals;
using api::Object;
using api::ObjectKey;
using api::resources::kNamespaces;
using api::resources::kPods;
using api::resources::kReplicaSets;
using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ReplicaSetTest : public ::testing::Test {
 protected:
  const ObjectKey kWeb{"shop", "web"};

  void desire(int replicas) {
    if (bench_.cluster.find(kReplicaSets, kWeb)) {
      bench_.cluster.edit(kReplicaSets, kWeb, [&](json& set) { set["spec"]["replicas"] = replicas; });
      return;
    }
    bench_.cluster.put(kReplicaSets,
                       {{"metadata", {{"name", "web"}, {"namespace", "shop"}}},
                        {"spec",
                         {{"replicas", replicas},
                          {"selector", {{"matchLabels", {{"app", "web"}}}}},
                          {"template",
                           {{"metadata", {{"labels", {{"app", "web"}}}, {"annotations", {{"note", "x"}}}}},
                            {"spec", {{"containers", {{{"name", "c"}, {"image", "i"}}}}}}}}}}});
  }
  std::vector<Object> pods() const { return bench_.cluster.all(kPods); }
  Object set() const { return *bench_.cluster.find(kReplicaSets, kWeb); }
  json status() const { return set()["status"].to_json(); }

  void edit_pod(const std::string& name, const std::function<void(json&)>& change) {
    bench_.cluster.edit(kPods, {"shop", name}, change);
  }
  void make_ready(const std::string& name) {
    edit_pod(name, [&](json& pod) {
      pod["spec"]["nodeName"] = "n1";
      pod["status"] = {{"phase", "Running"},
                       {"conditions",
                        {{{"type", "Ready"},
                          {"status", "True"},
                          {"lastTransitionTime", api::format_time(bench_.clock.wall_now())}}}}};
    });
  }
  json orphan(const std::string& name, const std::string& app) {
    return {{"metadata", {{"name", name}, {"namespace", "shop"}, {"labels", {{"app", app}}}}},
            {"spec", json::object()},
            {"status", {{"phase", "Running"}}}};
  }

  testing::ControllerBench bench_{make_reconciler};
};

TEST_F(ReplicaSetTest, CreatesTheMissingPodsFromItsTemplate) {
  desire(3);
  bench_.start();
  ASSERT_EQ(pods().size(), 3U);
  const Object pod = pods().at(0);
  EXPECT_THAT(pod.name(), StartsWith("web-"));
  EXPECT_EQ(pod.labels()["app"].string(), "web");
  EXPECT_EQ(pod.annotations()["note"].string(), "x");
  EXPECT_EQ(pod.pointer("/spec/containers/0/image").string(), "i");
  EXPECT_EQ(pod.head().controller_uid, set().uid());
  EXPECT_TRUE(pod.pointer("/metadata/ownerReferences/0/blockOwnerDeletion").boolean());
  EXPECT_THAT(bench_.events.lines(), Contains("Normal SuccessfulCreate Created pod: " + pod.name()));
}

TEST_F(ReplicaSetTest, ReportsWhatItSees) {
  desire(2);
  bench_.start();
  EXPECT_EQ(status(),
            json::parse(R"({"replicas":2,"fullyLabeledReplicas":2,"observedGeneration":1,"terminatingReplicas":0})"));
  make_ready(pods().at(0).name());
  bench_.settle();
  EXPECT_EQ(status()["readyReplicas"], 1);
  EXPECT_EQ(status()["availableReplicas"], 1);
}

TEST_F(ReplicaSetTest, CreatesNoExtraPodWhileTheCacheIsStale) {
  bench_.start();
  desire(2);
  bench_.settle();
  desire(3);
  bench_.executor.run_all();
  ASSERT_EQ(pods().size(), 3U);
  // The set's change is seen, the pods that follow from it are not.
  desire(5);
  bench_.cluster.on_call([&](std::string_view verb, const api::Resource& resource, const ObjectKey&) -> Result<void> {
    if (verb == "create" && resource == kPods) bench_.cluster.freeze_cache();
    return {};
  });
  bench_.settle();
  ASSERT_EQ(pods().size(), 5U);
  for (int i = 0; i < 3; ++i) {
    bench_.runner->add(kWeb);
    bench_.settle();
  }
  EXPECT_EQ(pods().size(), 5U);
  bench_.cluster.on_call({});
  bench_.cluster.thaw_cache();
  bench_.settle();
  EXPECT_EQ(pods().size(), 5U);
  EXPECT_EQ(status()["replicas"], 5);
}

TEST_F(ReplicaSetTest, DeletesNoExtraPodWhileTheCacheIsStale) {
  desire(4);
  bench_.start();
  desire(3);
  bench_.cluster.on_call([&](std::string_view verb, const api::Resource&, const ObjectKey&) -> Result<void> {
    if (verb == "delete") bench_.cluster.freeze_cache();
    return {};
  });
  bench_.settle();
  for (int i = 0; i < 3; ++i) {
    bench_.runner->add(kWeb);
    bench_.settle();
  }
  EXPECT_EQ(pods().size(), 3U);
}

TEST_F(ReplicaSetTest, ReplacesAPodThatWasDeleted) {
  desire(2);
  bench_.start();
  bench_.cluster.erase(kPods, pods().at(0).key());
  bench_.settle();
  EXPECT_EQ(pods().size(), 2U);
}

TEST_F(ReplicaSetTest, ReplacesAPodThatIsOnItsWayOutAtOnce) {
  desire(1);
  bench_.start();
  const ObjectKey first = pods().at(0).key();
  make_ready(first.name);
  bench_.settle();
  ASSERT_TRUE(bench_.cluster.remove({}, kPods, first, {}));
  bench_.settle();
  EXPECT_EQ(pods().size(), 2U);
  EXPECT_EQ(status()["replicas"], 1);
  EXPECT_EQ(status()["terminatingReplicas"], 1);
}

TEST_F(ReplicaSetTest, ReplacesAPodThatHasFailed) {
  desire(1);
  bench_.start();
  edit_pod(pods().at(0).name(), [](json& pod) { pod["status"]["phase"] = "Failed"; });
  bench_.settle();
  EXPECT_EQ(pods().size(), 2U);
}

TEST_F(ReplicaSetTest, AdoptsOrphansThatMatchAndNoOthers) {
  bench_.cluster.put(kPods, orphan("mine", "web"));
  bench_.cluster.put(kPods, orphan("foreign", "db"));
  desire(1);
  bench_.start();
  EXPECT_EQ(pods().size(), 2U);
  EXPECT_EQ(bench_.cluster.find(kPods, {"shop", "mine"})->head().controller_uid, set().uid());
  EXPECT_EQ(bench_.cluster.find(kPods, {"shop", "foreign"})->head().controller_uid, "");
}

TEST_F(ReplicaSetTest, AdoptsNothingWhenItWasDeletedMeanwhile) {
  desire(1);
  bench_.start();
  bench_.cluster.edit(kReplicaSets, kWeb, [](json& s) { s["metadata"]["finalizers"] = {"example.com/hold"}; });
  bench_.cluster.put(kPods, orphan("mine", "web"));
  bench_.cluster.freeze_cache();  // What follows is not seen: only a live read can tell.
  ASSERT_TRUE(bench_.cluster.remove({}, kReplicaSets, kWeb, {}));
  bench_.settle();
  EXPECT_EQ(bench_.cluster.find(kPods, {"shop", "mine"})->head().controller_uid, "");
  EXPECT_EQ(bench_.reconcile(kWeb).error().reason(), Reason::Conflict);
}

TEST_F(ReplicaSetTest, ReleasesAPodWhoseLabelsNoLongerMatchAndReplacesIt) {
  desire(1);
  bench_.start();
  const std::string name = pods().at(0).name();
  edit_pod(name, [](json& pod) { pod["metadata"]["labels"]["app"] = "debug"; });
  bench_.settle();
  EXPECT_EQ(pods().size(), 2U);
  EXPECT_EQ(bench_.cluster.find(kPods, {"shop", name})->head().controller_uid, "");
  EXPECT_FALSE(bench_.cluster.find(kPods, {"shop", name})->pointer("/metadata/ownerReferences"));
}

TEST_F(ReplicaSetTest, LeavesPodsOfAnotherControllerAlone) {
  json taken = orphan("taken", "web");
  taken["metadata"]["ownerReferences"] = {
      {{"apiVersion", "apps/v1"}, {"kind", "ReplicaSet"}, {"name", "x"}, {"uid", "other"}, {"controller", true}}};
  bench_.cluster.put(kPods, taken);
  desire(1);
  bench_.start();
  EXPECT_EQ(pods().size(), 2U);
  EXPECT_EQ(bench_.cluster.find(kPods, {"shop", "taken"})->head().controller_uid, "other");
}

TEST_F(ReplicaSetTest, ScaleDownPrefersPodsThatAreNotReady) {
  desire(3);
  bench_.start();
  const auto before = pods();
  make_ready(before.at(0).name());
  make_ready(before.at(2).name());
  bench_.settle();
  desire(2);
  bench_.settle();
  EXPECT_FALSE(bench_.cluster.find(kPods, before.at(1).key()));
  EXPECT_FALSE(bench_.cluster.find(kPods, before.at(0).key())->head().deleting);
  EXPECT_THAT(bench_.events.lines(), Contains("Normal SuccessfulDelete Deleted pod: " + before.at(1).name()));
}

TEST_F(ReplicaSetTest, ScaleDownHonorsDeletionCostAmongEquals) {
  desire(3);
  bench_.start();
  const auto before = pods();
  for (const Object& pod : before) make_ready(pod.name());
  edit_pod(before.at(0).name(),
           [](json& p) { p["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"] = "100"; });
  edit_pod(before.at(2).name(),
           [](json& p) { p["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"] = "-5"; });
  bench_.settle();
  desire(2);
  bench_.settle();
  EXPECT_TRUE(bench_.cluster.find(kPods, before.at(2).key())->head().deleting);
  EXPECT_FALSE(bench_.cluster.find(kPods, before.at(0).key())->head().deleting);
  desire(1);
  bench_.settle();
  EXPECT_TRUE(bench_.cluster.find(kPods, before.at(1).key())->head().deleting);
}

TEST_F(ReplicaSetTest, AfterAFailedCreateItSaysSoAndTriesNoMoreThanOneAtATime) {
  int tried = 0;
  bench_.cluster.on_call([&](std::string_view verb, const api::Resource& resource, const ObjectKey&) -> Result<void> {
    if (verb != "create" || resource != kPods) return {};
    ++tried;
    return Error(Reason::Forbidden, "exceeded quota");
  });
  desire(10);
  bench_.start();
  EXPECT_EQ(tried, 2);  // Once for the set, once more because its status changed; never all ten.
  const Object failed = set();
  EXPECT_EQ(failed.pointer("/status/conditions/0/type").string(), "ReplicaFailure");
  EXPECT_EQ(failed.pointer("/status/conditions/0/reason").string(), "FailedCreate");
  EXPECT_THAT(bench_.events.lines(), Contains("Warning FailedCreate Error creating: exceeded quota"));
  bench_.cluster.on_call({});
  bench_.advance(1s);
  EXPECT_EQ(pods().size(), 10U);
  EXPECT_FALSE(set().pointer("/status/conditions"));
}

TEST_F(ReplicaSetTest, GivesUpQuietlyInANamespaceThatIsGoing) {
  bench_.cluster.put(kNamespaces, {{"metadata", {{"name", "shop"}}}, {"spec", {{"finalizers", {"kubernetes"}}}}});
  desire(2);
  ASSERT_TRUE(bench_.cluster.remove({}, kNamespaces, {"", "shop"}, {}));
  bench_.start();
  EXPECT_EQ(pods().size(), 0U);
  EXPECT_TRUE(bench_.events.lines().empty());
  EXPECT_FALSE(bench_.clock.next_timer());
}

TEST_F(ReplicaSetTest, CreatesNothingWhenItIsBeingDeleted) {
  desire(2);
  bench_.cluster.edit(kReplicaSets, kWeb, [](json& s) { s["metadata"]["finalizers"] = {"foregroundDeletion"}; });
  ASSERT_TRUE(bench_.cluster.remove({}, kReplicaSets, kWeb, {}));
  bench_.start();
  EXPECT_EQ(pods().size(), 0U);
}

TEST_F(ReplicaSetTest, APodIsAvailableOnlyAfterMinReadySeconds) {
  desire(1);
  bench_.cluster.edit(kReplicaSets, kWeb, [](json& s) { s["spec"]["minReadySeconds"] = 30; });
  bench_.start();
  make_ready(pods().at(0).name());
  bench_.settle();
  EXPECT_EQ(status()["readyReplicas"], 1);
  EXPECT_FALSE(status().contains("availableReplicas"));
  bench_.advance(29s);
  EXPECT_FALSE(status().contains("availableReplicas"));
  bench_.advance(1s);
  EXPECT_EQ(status()["availableReplicas"], 1);
}

TEST_F(ReplicaSetTest, WritesNoStatusThatSaysNothingNew) {
  desire(2);
  bench_.start();
  const auto before = set().head().resource_version;
  for (int i = 0; i < 3; ++i) {
    bench_.runner->add(kWeb);
    bench_.settle();
  }
  EXPECT_EQ(set().head().resource_version, before);
  EXPECT_FALSE(bench_.clock.next_timer());
}

TEST_F(ReplicaSetTest, IsDoneWithASetThatIsGone) {
  bench_.start();
  const auto next = bench_.reconcile(kWeb);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->delay(), 0ms);
}

TEST_F(ReplicaSetTest, SetsWithOneSelectorDoNotTakeEachOthersPods) {
  desire(2);
  bench_.start();
  json other = set().to_json();
  other["metadata"] = {{"name", "web2"}, {"namespace", "shop"}};
  other.erase("status");
  bench_.cluster.put(kReplicaSets, other);
  bench_.settle();
  EXPECT_EQ(pods().size(), 4U);
}

}  // namespace
}  // namespace kubernel::plugins::replicaset
