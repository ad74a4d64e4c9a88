// SPDX-License-Identifier: Apache-2.0
#include "graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kubernel::plugins::garbage_collector {
namespace {

using api::Object;
using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

const api::Resource kThings{"", "v1", "things"};

Object thing(const std::string& name, const std::vector<std::string>& owners, const json& metadata = json::object()) {
  json document = {
      {"apiVersion", "v1"}, {"kind", "Thing"}, {"metadata", {{"name", name}, {"namespace", "shop"}, {"uid", name}}}};
  for (const std::string& owner : owners) {
    document["metadata"]["ownerReferences"].push_back(
        {{"apiVersion", "v1"}, {"kind", "Thing"}, {"name", owner}, {"uid", owner}, {"blockOwnerDeletion", true}});
  }
  document["metadata"].update(metadata);
  return *Object::from_json(document);
}

const json kForegroundDeletion = {{"deletionTimestamp", "2026-01-01T00:00:00Z"},
                                  {"finalizers", {"foregroundDeletion"}}};

TEST(Graph, AnOwnerNotSeenYetIsToBeLookedAt) {
  Graph graph;
  EXPECT_THAT(graph.put(thing("child", {"parent"}), kThings), ElementsAre("parent"));
  EXPECT_FALSE(graph.find("parent")->observed);
  EXPECT_THAT(graph.put(thing("parent", {}), kThings), IsEmpty());
  EXPECT_TRUE(graph.find("parent")->observed);
  EXPECT_EQ(graph.dependents("parent").size(), 1U);
}

TEST(Graph, WhenAnOwnerGoesItsDependentsAreToBeLookedAt) {
  Graph graph;
  graph.put(thing("parent", {}), kThings);
  graph.put(thing("a", {"parent"}), kThings);
  graph.put(thing("b", {"parent"}), kThings);
  EXPECT_THAT(graph.remove("parent"), UnorderedElementsAre("a", "b"));
}

TEST(Graph, AForegroundDeletionLooksAtTheOwnerAndItsDependents) {
  Graph graph;
  graph.put(thing("parent", {}), kThings);
  graph.put(thing("a", {"parent"}), kThings);
  EXPECT_THAT(graph.put(thing("parent", {}, kForegroundDeletion), kThings), UnorderedElementsAre("parent", "a"));
  EXPECT_THAT(graph.put(thing("late", {"parent"}), kThings), ElementsAre("late"));
  EXPECT_THAT(graph.remove("a"), ElementsAre("parent"));
}

TEST(Graph, AnOwnerThatWaitsHearsWhenADependentLeavesIt) {
  Graph graph;
  graph.put(thing("parent", {}, kForegroundDeletion), kThings);
  graph.put(thing("a", {"parent"}), kThings);
  EXPECT_THAT(graph.put(thing("a", {}), kThings), ElementsAre("parent"));
  EXPECT_THAT(graph.dependents("parent"), IsEmpty());
}

TEST(Graph, ForgetsAnUnseenOwnerThatNobodyNamesAnyMore) {
  Graph graph;
  graph.put(thing("a", {"ghost"}), kThings);
  graph.put(thing("a", {}), kThings);
  EXPECT_FALSE(graph.find("ghost"));
}

}  // namespace
}  // namespace kubernel::plugins::garbage_collector
