// SPDX-License-Identifier: Apache-2.0
#include "garbage_collector.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::garbage_collector {
namespace {

using namespace std::chrono_literals;
using api::Object;
using api::ObjectKey;
using api::Resource;
using api::resources::kClusterRoles;
using api::resources::kConfigMaps;
using api::resources::kDeployments;
using api::resources::kPods;
using api::resources::kReplicaSets;
using client::Propagation;
using nlohmann::json;

class GarbageCollectorTest : public ::testing::Test {
 protected:
  static ObjectKey key(const std::string& name) { return {"shop", name}; }
  json reference(const Object& owner, bool blocks = true) {
    return {{"apiVersion", owner.head().gvk.api_version()},
            {"kind", owner.head().gvk.kind},
            {"name", owner.name()},
            {"uid", owner.uid()},
            {"controller", true},
            {"blockOwnerDeletion", blocks}};
  }
  Object put(const Resource& resource, const std::string& name, const std::vector<json>& owners = {}) {
    json document = {{"metadata", {{"name", name}, {"namespace", "shop"}}}};
    if (!owners.empty()) document["metadata"]["ownerReferences"] = owners;
    return bench_.cluster.put(resource, document);
  }
  bool has(const Resource& resource, const std::string& name) {
    return bench_.cluster.find(resource, key(name)).has_value();
  }
  void remove(const Resource& resource, const std::string& name, Propagation propagation) {
    ASSERT_TRUE(bench_.cluster.remove({}, resource, key(name), {.propagation = propagation}));
    bench_.settle();
  }
  // A deployment with a set with a pod.
  void build() {
    const Object d = put(kDeployments, "d");
    const Object r = put(kReplicaSets, "r", {reference(d)});
    put(kPods, "p", {reference(r)});
  }

  testing::ControllerBench bench_{make_reconciler};
};

TEST_F(GarbageCollectorTest, WhatIsOwnedGoesAfterItsOwner) {
  build();
  put(kConfigMaps, "free");
  bench_.start();
  EXPECT_TRUE(has(kPods, "p"));
  remove(kDeployments, "d", Propagation::Background);
  EXPECT_FALSE(has(kReplicaSets, "r"));
  EXPECT_FALSE(has(kPods, "p"));
  EXPECT_TRUE(has(kConfigMaps, "free"));
}

TEST_F(GarbageCollectorTest, WhatLostItsOwnerWhileNobodyLookedGoesToo) {
  build();
  bench_.cluster.erase(kDeployments, key("d"));
  bench_.start();
  EXPECT_FALSE(has(kReplicaSets, "r"));
  EXPECT_FALSE(has(kPods, "p"));
}

TEST_F(GarbageCollectorTest, AnOwnerOfTheSameNameIsNotTheOwner) {
  const Object old = put(kDeployments, "d");
  bench_.cluster.erase(kDeployments, key("d"));
  put(kDeployments, "d");
  put(kReplicaSets, "r", {reference(old)});
  bench_.start();
  EXPECT_FALSE(has(kReplicaSets, "r"));
}

TEST_F(GarbageCollectorTest, TheCacheAloneIsNoReasonToDelete) {
  bench_.start();
  bench_.cluster.freeze_cache();
  const Object d = put(kDeployments, "d");
  bench_.cluster.thaw_cache();
  // The dependent is seen before its owner: only a live read tells that the owner is there.
  bench_.cluster.break_watches(Reason::ServiceUnavailable);
  put(kReplicaSets, "r", {reference(d)});
  bench_.advance(1min);
  EXPECT_TRUE(has(kReplicaSets, "r"));
}

TEST_F(GarbageCollectorTest, AnOwnerThatCannotBeReadKeepsItsDependents) {
  const Object d = put(kDeployments, "d");
  put(kReplicaSets, "r", {reference(d)});
  bench_.start();
  bench_.cluster.fail_next("get", kDeployments, Error(Reason::ServiceUnavailable, "away"), 3);
  bench_.runner->add({"", bench_.cluster.find(kReplicaSets, key("r"))->uid()});
  bench_.advance(1s);
  EXPECT_TRUE(has(kReplicaSets, "r"));
}

TEST_F(GarbageCollectorTest, OneLivingOwnerIsEnoughAndTheDeadReferenceGoes) {
  const Object a = put(kDeployments, "a");
  const Object b = put(kDeployments, "b");
  put(kReplicaSets, "r", {reference(a), reference(b)});
  bench_.start();
  remove(kDeployments, "a", Propagation::Background);
  ASSERT_TRUE(has(kReplicaSets, "r"));
  const Object r = *bench_.cluster.find(kReplicaSets, key("r"));
  ASSERT_EQ(r.pointer("/metadata/ownerReferences").size(), 1U);
  EXPECT_EQ(r.pointer("/metadata/ownerReferences/0/name").string(), "b");
}

TEST_F(GarbageCollectorTest, ForegroundDeletionTakesTheDependentsFirst) {
  build();
  bench_.cluster.edit(kPods, key("p"), [](json& pod) { pod["metadata"]["finalizers"] = {"example.com/hold"}; });
  bench_.start();
  remove(kDeployments, "d", Propagation::Foreground);
  // The pod is held, so its set waits for it, and the deployment for the set.
  EXPECT_TRUE(bench_.cluster.find(kPods, key("p"))->head().deleting);
  EXPECT_TRUE(has(kReplicaSets, "r"));
  EXPECT_TRUE(has(kDeployments, "d"));
  bench_.cluster.edit(kPods, key("p"), [](json& pod) { pod["metadata"].erase("finalizers"); });
  bench_.settle();
  EXPECT_FALSE(has(kReplicaSets, "r"));
  EXPECT_FALSE(has(kDeployments, "d"));
}

TEST_F(GarbageCollectorTest, ADependentThatDoesNotBlockIsNotWaitedFor) {
  const Object d = put(kDeployments, "d");
  put(kReplicaSets, "r", {reference(d, false)});
  bench_.cluster.edit(kReplicaSets, key("r"), [](json& set) { set["metadata"]["finalizers"] = {"example.com/hold"}; });
  bench_.start();
  remove(kDeployments, "d", Propagation::Foreground);
  EXPECT_FALSE(has(kDeployments, "d"));
  EXPECT_TRUE(bench_.cluster.find(kReplicaSets, key("r"))->head().deleting);
}

TEST_F(GarbageCollectorTest, OrphansStayAndLoseTheReference) {
  build();
  bench_.start();
  remove(kDeployments, "d", Propagation::Orphan);
  EXPECT_FALSE(has(kDeployments, "d"));
  ASSERT_TRUE(has(kReplicaSets, "r"));
  EXPECT_FALSE(bench_.cluster.find(kReplicaSets, key("r"))->pointer("/metadata/ownerReferences"));
  EXPECT_TRUE(has(kPods, "p"));
}

TEST_F(GarbageCollectorTest, TwoThatOwnEachOtherCanBeDeletedInTheForeground) {
  const Object a = put(kConfigMaps, "a");
  const Object b = put(kConfigMaps, "b", {reference(a)});
  bench_.cluster.edit(kConfigMaps, key("a"),
                      [&](json& map) { map["metadata"]["ownerReferences"] = json::array({reference(b)}); });
  bench_.start();
  remove(kConfigMaps, "a", Propagation::Foreground);
  EXPECT_FALSE(has(kConfigMaps, "a"));
  EXPECT_FALSE(has(kConfigMaps, "b"));
}

TEST_F(GarbageCollectorTest, ACustomResourceIsCollectedFromItsDefinitionOn) {
  const Resource crds{"apiextensions.k8s.io", "v1", "customresourcedefinitions"};
  const Resource widgets{"example.com", "v1", "widgets"};
  bench_.cluster.serve(crds, "CustomResourceDefinition", false);
  bench_.start();
  bench_.cluster.serve(widgets, "Widget", true);
  bench_.cluster.put(crds, {{"metadata", {{"name", "widgets.example.com"}}}});
  bench_.settle();
  const Object w = put(widgets, "w");
  put(kConfigMaps, "m", {reference(w)});
  bench_.settle();
  EXPECT_TRUE(has(kConfigMaps, "m"));
  remove(widgets, "w", Propagation::Background);
  EXPECT_FALSE(has(kConfigMaps, "m"));
}

TEST_F(GarbageCollectorTest, AnOwnerOfAnUnknownKindKeepsItsDependents) {
  put(kConfigMaps, "m", {{{"apiVersion", "example.com/v1"}, {"kind", "Nothing"}, {"name", "x"}, {"uid", "u"}}});
  bench_.start();
  bench_.advance(1min);
  EXPECT_TRUE(has(kConfigMaps, "m"));
}

TEST_F(GarbageCollectorTest, AClusterScopedObjectWithANamespacedOwnerStays) {
  bench_.cluster.put(
      kClusterRoles,
      {{"metadata",
        {{"name", "c"},
         {"ownerReferences", {{{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"name", "gone"}, {"uid", "u"}}}}}}});
  bench_.start();
  bench_.advance(1min);
  EXPECT_TRUE(bench_.cluster.find(kClusterRoles, {"", "c"}));
}

TEST_F(GarbageCollectorTest, AnOwnerInAnotherNamespaceIsNone) {
  const Object far = bench_.cluster.put(kConfigMaps, {{"metadata", {{"name", "far"}, {"namespace", "elsewhere"}}}});
  put(kConfigMaps, "m", {reference(far)});
  bench_.start();
  EXPECT_FALSE(has(kConfigMaps, "m"));
  EXPECT_TRUE(bench_.cluster.find(kConfigMaps, {"elsewhere", "far"}));
  // The one that points to it rightly is not taken for another of the same kind.
  const auto near = bench_.cluster.put(
      kConfigMaps,
      {{"metadata",
        {{"name", "near"}, {"namespace", "elsewhere"}, {"ownerReferences", json::array({reference(far)})}}}});
  bench_.settle();
  bench_.runner->add({"", near.uid()});
  bench_.settle();
  EXPECT_TRUE(bench_.cluster.find(kConfigMaps, near.key()));
}

TEST_F(GarbageCollectorTest, WhatIsBeingDeletedIsNotDeletedAgain) {
  const Object d = put(kDeployments, "d");
  put(kReplicaSets, "r", {reference(d)});
  bench_.cluster.edit(kReplicaSets, key("r"), [](json& set) { set["metadata"]["finalizers"] = {"example.com/hold"}; });
  bench_.start();
  remove(kDeployments, "d", Propagation::Background);
  const auto before = bench_.cluster.find(kReplicaSets, key("r"))->head().resource_version;
  bench_.advance(1min);
  EXPECT_EQ(bench_.cluster.find(kReplicaSets, key("r"))->head().resource_version, before);
}

}  // namespace
}  // namespace kubernel::plugins::garbage_collector
