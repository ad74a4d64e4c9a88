// SPDX-License-Identifier: Apache-2.0
#include "deployment.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>
#include <kubernel/controller/conditions.h>
#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::deployment {
namespace {

using namespace std::chrono_literals;
using api::Object;
using api::ObjectKey;
using api::Value;
using api::resources::kDeployments;
using api::resources::kPods;
using api::resources::kReplicaSets;
using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DeploymentTest : public ::testing::Test {
 protected:
  const ObjectKey kWeb{"shop", "web"};

  void deploy(int replicas,
              const json& strategy = {{"type", "RollingUpdate"},
                                      {"rollingUpdate", {{"maxSurge", "25%"}, {"maxUnavailable", "25%"}}}}) {
    bench_.cluster.put(kDeployments,
                       {{"metadata", {{"name", "web"}, {"namespace", "shop"}, {"annotations", {{"team", "red"}}}}},
                        {"spec",
                         {{"replicas", replicas},
                          {"strategy", strategy},
                          {"progressDeadlineSeconds", 600},
                          {"revisionHistoryLimit", 2},
                          {"selector", {{"matchLabels", {{"app", "web"}}}}},
                          {"template",
                           {{"metadata", {{"labels", {{"app", "web"}}}}},
                            {"spec", {{"containers", {{{"name", "c"}, {"image", "v1"}}}}}}}}}}});
  }
  void edit(const std::function<void(json&)>& change) { bench_.cluster.edit(kDeployments, kWeb, change); }
  void set_image(const std::string& image) {
    edit([&](json& d) { d["spec"]["template"]["spec"]["containers"][0]["image"] = image; });
  }
  void scale(int replicas) {
    edit([&](json& d) { d["spec"]["replicas"] = replicas; });
  }

  Object web() const { return *bench_.cluster.find(kDeployments, kWeb); }
  std::vector<Object> sets() const { return bench_.cluster.all(kReplicaSets); }
  std::optional<Object> set_of(const std::string& image) const {
    for (const Object& set : sets()) {
      if (set.pointer("/spec/template/spec/containers/0/image").string() == image) return set;
    }
    return std::nullopt;
  }
  std::int64_t size(const std::string& image) const {
    const auto set = set_of(image);
    return set ? set->pointer("/spec/replicas").integer() : -1;
  }
  std::string reason(const char* type) const {
    const Object d = web();
    return std::string(controller::find_condition(d.pointer("/status/conditions"), type)["reason"].string());
  }

  // The replica set controller's part: `available` of each set's pods work (all when negative).
  void play_set(const std::string& image, std::int64_t available = -1) {
    const auto set = set_of(image);
    ASSERT_TRUE(set);
    const auto replicas = set->pointer("/spec/replicas").integer();
    const auto working = available < 0 ? replicas : std::min(available, replicas);
    bench_.cluster.edit(kReplicaSets, set->key(), [&](json& s) {
      s["status"] = {{"replicas", replicas},
                     {"readyReplicas", working},
                     {"availableReplicas", working},
                     {"terminatingReplicas", 0},
                     {"observedGeneration", s["metadata"]["generation"]}};
    });
    bench_.settle();
  }
  void play_until_done() {
    for (int round = 0; round < 30; ++round) {
      for (const Object& set : sets())
        play_set(std::string(set.pointer("/spec/template/spec/containers/0/image").string()));
    }
  }

  testing::ControllerBench bench_{make_reconciler};
};

TEST_F(DeploymentTest, CreatesAReplicaSetForItsTemplate) {
  deploy(3);
  bench_.start();
  ASSERT_EQ(sets().size(), 1U);
  const Object set = sets().at(0);
  const std::string hash(set.labels()["pod-template-hash"].string());
  EXPECT_EQ(set.name(), "web-" + hash);
  EXPECT_EQ(set.pointer("/spec/replicas").integer(), 3);
  EXPECT_EQ(set.pointer("/spec/selector/matchLabels/pod-template-hash").string(), hash);
  EXPECT_EQ(set.pointer("/spec/template/metadata/labels/pod-template-hash").string(), hash);
  EXPECT_EQ(set.head().controller_uid, web().uid());
  EXPECT_EQ(set.annotations()["team"].string(), "red");
  EXPECT_EQ(set.annotations()["deployment.kubernetes.io/revision"].string(), "1");
  EXPECT_EQ(set.annotations()["deployment.kubernetes.io/desired-replicas"].string(), "3");
  EXPECT_EQ(set.annotations()["deployment.kubernetes.io/max-replicas"].string(), "4");
  EXPECT_EQ(web().annotations()["deployment.kubernetes.io/revision"].string(), "1");
  EXPECT_EQ(web().head().generation, 1) << "what the controller writes is no change of the user's";
  EXPECT_THAT(bench_.events.lines(),
              Contains("Normal ScalingReplicaSet Scaled up replica set " + set.name() + " from 0 to 3"));
}

TEST_F(DeploymentTest, ReportsItsProgress) {
  deploy(3);
  bench_.start();
  EXPECT_EQ(reason("Available"), "MinimumReplicasUnavailable");
  EXPECT_EQ(reason("Progressing"), "NewReplicaSetCreated");
  play_set("v1", 0);
  EXPECT_EQ(web().pointer("/status/unavailableReplicas").integer(), 3);
  EXPECT_EQ(reason("Progressing"), "ReplicaSetUpdated");
  play_set("v1");
  const Object d = web();
  EXPECT_EQ(reason("Available"), "MinimumReplicasAvailable");
  EXPECT_EQ(reason("Progressing"), "NewReplicaSetAvailable");
  EXPECT_EQ(d.pointer("/status/observedGeneration").integer(), d.head().generation);
  EXPECT_EQ(d.pointer("/status/updatedReplicas").integer(), 3);
  EXPECT_EQ(d.pointer("/status/availableReplicas").integer(), 3);
  EXPECT_FALSE(d.pointer("/status/unavailableReplicas"));
}

TEST_F(DeploymentTest, RollsOutWithinSurgeAndUnavailability) {
  deploy(4);
  bench_.start();
  play_until_done();
  set_image("v2");
  bench_.settle();
  for (int round = 0; round < 40; ++round) {
    std::int64_t wanted = 0, available = 0;
    for (const Object& set : sets()) {
      wanted += set.pointer("/spec/replicas").integer();
      available +=
          std::min(set.pointer("/status/availableReplicas").integer(), set.pointer("/spec/replicas").integer());
    }
    ASSERT_LE(wanted, 5);
    ASSERT_GE(available, 3);
    // One pod at a time comes up.
    const auto fresh = set_of("v2");
    play_set("v2", fresh->pointer("/status/availableReplicas").integer() + 1);
    play_set("v1");
  }
  EXPECT_EQ(size("v1"), 0);
  EXPECT_EQ(size("v2"), 4);
  EXPECT_EQ(set_of("v2")->annotations()["deployment.kubernetes.io/revision"].string(), "2");
  EXPECT_EQ(reason("Progressing"), "NewReplicaSetAvailable");
}

TEST_F(DeploymentTest, AStuckRolloutKeepsTheOldPodsServing) {
  deploy(4);
  bench_.start();
  play_until_done();
  set_image("broken");
  bench_.settle();
  for (int i = 0; i < 5; ++i) {
    play_set("broken", 0);
    play_set("v1");
  }
  EXPECT_EQ(size("v1"), 3);
  EXPECT_EQ(size("broken"), 2);
}

TEST_F(DeploymentTest, UnhealthyOldPodsGoFirst) {
  deploy(4);
  bench_.start();
  play_set("v1", 1);
  set_image("v2");
  bench_.settle();
  play_set("v2", 0);
  // Below the minimum as it is, no healthy pod may go; one that does not work makes room for a second new one.
  EXPECT_EQ(size("v1"), 3);
  EXPECT_EQ(size("v2"), 2);
}

TEST_F(DeploymentTest, TellsWhenTheDeadlinePassedWithoutProgress) {
  deploy(2);
  bench_.start();
  play_set("v1", 0);
  bench_.advance(599s);
  EXPECT_EQ(reason("Progressing"), "ReplicaSetUpdated");
  bench_.advance(3s);
  EXPECT_EQ(reason("Progressing"), "ProgressDeadlineExceeded");
  play_set("v1");
  EXPECT_EQ(reason("Progressing"), "NewReplicaSetAvailable");
}

TEST_F(DeploymentTest, RecreateStartsNothingNewBeforeTheLastOldPodIsGone) {
  deploy(2, {{"type", "Recreate"}});
  bench_.start();
  play_until_done();
  const Object old = *set_of("v1");
  const auto pod = bench_.cluster.put(kPods, {{"metadata",
                                               {{"name", "web-1"},
                                                {"namespace", "shop"},
                                                {"ownerReferences",
                                                 {{{"apiVersion", "apps/v1"},
                                                   {"kind", "ReplicaSet"},
                                                   {"name", old.name()},
                                                   {"uid", old.uid()},
                                                   {"controller", true}}}}}},
                                              {"status", {{"phase", "Running"}}}});
  bench_.settle();
  set_image("v2");
  bench_.settle();
  EXPECT_EQ(size("v1"), 0);
  play_set("v1");
  EXPECT_EQ(size("v2"), -1);
  bench_.cluster.erase(kPods, pod.key());
  bench_.settle();
  EXPECT_EQ(size("v2"), 2);
}

TEST_F(DeploymentTest, APausedDeploymentIsScaledButNotRolledOut) {
  deploy(3);
  bench_.start();
  play_until_done();
  edit([](json& d) { d["spec"]["paused"] = true; });
  set_image("v2");
  scale(5);
  bench_.settle();
  EXPECT_EQ(size("v1"), 5);
  EXPECT_EQ(size("v2"), -1);
  EXPECT_EQ(reason("Progressing"), "DeploymentPaused");
  edit([](json& d) { d["spec"]["paused"] = false; });
  bench_.settle();
  EXPECT_GE(size("v2"), 1);
}

TEST_F(DeploymentTest, ScalesInProportionDuringARollout) {
  deploy(10);
  bench_.start();
  play_until_done();
  set_image("v2");
  bench_.settle();
  play_set("v2", 0);
  play_set("v1");
  ASSERT_EQ(size("v1"), 8);
  ASSERT_EQ(size("v2"), 5);
  scale(20);
  bench_.settle();
  EXPECT_EQ(size("v1") + size("v2"), 25);
  EXPECT_EQ(size("v1"), 15);
}

TEST_F(DeploymentTest, ScalesItsOnlySet) {
  deploy(3);
  bench_.start();
  play_until_done();
  scale(7);
  bench_.settle();
  EXPECT_EQ(size("v1"), 7);
  scale(0);
  bench_.settle();
  EXPECT_EQ(size("v1"), 0);
  scale(2);
  bench_.settle();
  EXPECT_EQ(size("v1"), 2);
}

TEST_F(DeploymentTest, GoingBackToAnOldTemplateUsesItsOldSetAndCountsUp) {
  deploy(2);
  bench_.start();
  play_until_done();
  const std::string first = set_of("v1")->name();
  set_image("v2");
  bench_.settle();
  play_until_done();
  set_image("v1");
  bench_.settle();
  play_until_done();
  EXPECT_EQ(sets().size(), 2U);
  EXPECT_EQ(set_of("v1")->name(), first);
  EXPECT_EQ(size("v1"), 2);
  EXPECT_EQ(set_of("v1")->annotations()["deployment.kubernetes.io/revision"].string(), "3");
  EXPECT_EQ(set_of("v1")->annotations()["deployment.kubernetes.io/revision-history"].string(), "1");
  EXPECT_EQ(web().annotations()["deployment.kubernetes.io/revision"].string(), "3");
}

TEST_F(DeploymentTest, KeepsNoMoreHistoryThanItsLimit) {
  deploy(1);
  bench_.start();
  play_until_done();
  for (const char* image : {"v2", "v3", "v4", "v5"}) {
    bench_.clock.advance(10s);
    set_image(image);
    bench_.settle();
    play_until_done();
  }
  EXPECT_EQ(sets().size(), 3U);
  EXPECT_FALSE(set_of("v1"));
  EXPECT_FALSE(set_of("v2"));
  EXPECT_TRUE(set_of("v3"));
}

TEST_F(DeploymentTest, AStaleCacheMakesNoSecondSet) {
  deploy(3);
  bench_.cluster.on_call([&](std::string_view verb, const api::Resource& resource, const ObjectKey&) -> Result<void> {
    if (verb == "create" && resource == kReplicaSets) bench_.cluster.freeze_cache();
    return {};
  });
  bench_.start();
  for (int i = 0; i < 3; ++i) {
    bench_.runner->add(kWeb);
    bench_.settle();
  }
  EXPECT_EQ(sets().size(), 1U);
  EXPECT_FALSE(web().pointer("/status/collisionCount"));
}

TEST_F(DeploymentTest, ANameTakenBySomethingElseMakesAnotherHash) {
  deploy(1);
  bench_.start();
  const std::string name = sets().at(0).name();
  bench_.cluster.erase(kDeployments, kWeb);
  bench_.cluster.erase(kReplicaSets, {"shop", name});
  bench_.settle();
  bench_.cluster.put(
      kReplicaSets,
      {{"metadata", {{"name", name}, {"namespace", "shop"}}},
       {"spec", {{"replicas", 0}, {"selector", {{"matchLabels", {{"x", "y"}}}}}, {"template", json::object()}}}});
  deploy(1);
  bench_.settle();
  bench_.advance(1s);
  EXPECT_EQ(sets().size(), 2U);
  EXPECT_EQ(web().pointer("/status/collisionCount").integer(), 1);
  EXPECT_EQ(size("v1"), 1);
}

TEST_F(DeploymentTest, TellsWhenItsSetCannotMakePods) {
  deploy(1);
  bench_.start();
  bench_.cluster.edit(kReplicaSets, sets().at(0).key(), [](json& s) {
    s["status"] = {
        {"replicas", 0},
        {"conditions",
         {{{"type", "ReplicaFailure"}, {"status", "True"}, {"reason", "FailedCreate"}, {"message", "quota"}}}}};
  });
  bench_.settle();
  EXPECT_EQ(reason("ReplicaFailure"), "FailedCreate");
  play_set("v1");
  EXPECT_EQ(reason("ReplicaFailure"), "");
}

TEST_F(DeploymentTest, TellsWhenItCannotMakeItsSet) {
  bench_.cluster.fail_next("create", kReplicaSets, Error(Reason::Forbidden, "no"), 2);
  deploy(1);
  bench_.start();
  EXPECT_EQ(reason("Progressing"), "ReplicaSetCreateError");
  EXPECT_THAT(bench_.events.lines(), Contains(HasSubstr("Failed to create new replica set")));
  bench_.advance(1s);
  EXPECT_EQ(size("v1"), 1);
}

TEST_F(DeploymentTest, WritesNothingThatSaysNothingNew) {
  deploy(2);
  bench_.start();
  play_until_done();
  const auto before = web().head().resource_version;
  const auto set_before = sets().at(0).head().resource_version;
  for (int i = 0; i < 3; ++i) {
    bench_.runner->add(kWeb);
    bench_.settle();
  }
  EXPECT_EQ(web().head().resource_version, before);
  EXPECT_EQ(sets().at(0).head().resource_version, set_before);
  bench_.advance(1h);
  EXPECT_EQ(web().head().resource_version, before);
}

TEST_F(DeploymentTest, SelectsNothingWithAnEmptySelector) {
  deploy(1);
  edit([](json& d) { d["spec"]["selector"] = json::object(); });
  bench_.start();
  EXPECT_EQ(sets().size(), 0U);
  EXPECT_THAT(bench_.events.lines(), Contains(HasSubstr("SelectingAll")));
}

TEST_F(DeploymentTest, TakesUpAMinReadySecondsThatChanged) {
  deploy(1);
  bench_.start();
  edit([](json& d) { d["spec"]["minReadySeconds"] = 7; });
  bench_.settle();
  EXPECT_EQ(sets().at(0).pointer("/spec/minReadySeconds").integer(), 7);
}

}  // namespace
}  // namespace kubernel::plugins::deployment
