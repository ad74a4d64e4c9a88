// SPDX-License-Identifier: Apache-2.0
#include <kubernel/testing/fake_cluster.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/fake_clock.h>

namespace kubernel::testing {
namespace {

using api::resources::kNamespaces;
using api::resources::kPods;
using api::resources::kReplicaSets;
using client::EventType;
using nlohmann::json;

class FakeClusterTest : public ::testing::Test {
 protected:
  json pod(const std::string& name) {
    return {{"metadata", {{"name", name}, {"namespace", "shop"}}}, {"spec", json::object()}};
  }
  FakeClock clock_;
  FakeCluster cluster_{clock_};
};

TEST_F(FakeClusterTest, GivesNamesUidsAndRevisions) {
  const auto a = cluster_.create({}, kPods, {"shop", ""}, {{"metadata", {{"generateName", "web-"}}}}, {});
  const auto b = cluster_.create({}, kPods, {"shop", ""}, {{"metadata", {{"generateName", "web-"}}}}, {});
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->name().size(), 9U);
  EXPECT_NE(a->name(), b->name());
  EXPECT_NE(a->uid(), b->uid());
  EXPECT_LT(a->head().resource_version, b->head().resource_version);
  EXPECT_EQ(a->head().gvk.kind, "Pod");
  EXPECT_EQ(a->pointer("/metadata/creationTimestamp").string(), "2026-01-01T00:00:00Z");
}

TEST_F(FakeClusterTest, RefusesASecondObjectOfTheSameName) {
  cluster_.put(kPods, pod("a"));
  const auto again = cluster_.create({}, kPods, {"shop", ""}, pod("a"), {});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason(), Reason::AlreadyExists);
  EXPECT_EQ(again.error().message(), "pods \"a\" already exists");
}

TEST_F(FakeClusterTest, RefusesAWriteOverANewerVersion) {
  const auto old = cluster_.put(kPods, pod("a"));
  cluster_.edit(kPods, old.key(), [](json& document) { document["spec"]["nodeName"] = "n1"; });
  const auto written = cluster_.update({}, kPods, old.key(), old.to_json(), {});
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().reason(), Reason::Conflict);
}

TEST_F(FakeClusterTest, WritesStatusThroughItsSubresourceOnly) {
  const auto before = cluster_.put(kPods, pod("a"));
  json document = before.to_json();
  document["status"]["phase"] = "Running";
  document["spec"]["nodeName"] = "n1";
  const auto status = cluster_.update({}, kPods, before.key(), document, {.subresource = "status"});
  ASSERT_TRUE(status);
  EXPECT_EQ(status->pointer("/status/phase").string(), "Running");
  EXPECT_FALSE(status->pointer("/spec/nodeName"));
  EXPECT_EQ(status->head().generation, 1);

  document = status->to_json();
  document["status"]["phase"] = "Failed";
  document["spec"]["nodeName"] = "n1";
  const auto main = cluster_.update({}, kPods, before.key(), document, {});
  ASSERT_TRUE(main);
  EXPECT_EQ(main->pointer("/status/phase").string(), "Running");
  EXPECT_EQ(main->pointer("/spec/nodeName").string(), "n1");
  EXPECT_EQ(main->head().generation, 2);
}

TEST_F(FakeClusterTest, AWriteThatChangesNothingMakesNoNewVersion) {
  const auto before = cluster_.put(kPods, pod("a"));
  const auto after = cluster_.update({}, kPods, before.key(), before.to_json(), {});
  ASSERT_TRUE(after);
  EXPECT_EQ(after->head().resource_version, before.head().resource_version);
}

TEST_F(FakeClusterTest, FinalizersHoldADeletedObject) {
  json document = pod("a");
  document["metadata"]["finalizers"] = {"example.com/hold"};
  const auto before = cluster_.put(kPods, document);
  ASSERT_TRUE(cluster_.remove({}, kPods, before.key(), {}));
  ASSERT_TRUE(cluster_.find(kPods, before.key())->head().deleting);
  cluster_.edit(kPods, before.key(), [](json& d) { d["metadata"].erase("finalizers"); });
  EXPECT_FALSE(cluster_.find(kPods, before.key()));
}

TEST_F(FakeClusterTest, ABoundPodIsDeletedGracefully) {
  json document = pod("a");
  document["spec"]["nodeName"] = "n1";
  const auto before = cluster_.put(kPods, document);
  ASSERT_TRUE(cluster_.remove({}, kPods, before.key(), {}));
  EXPECT_TRUE(cluster_.find(kPods, before.key())->head().deleting);
  ASSERT_TRUE(cluster_.remove({}, kPods, before.key(), {.grace_period_seconds = 0}));
  EXPECT_FALSE(cluster_.find(kPods, before.key()));
}

TEST_F(FakeClusterTest, AnotherUidIsAnotherObject) {
  const auto before = cluster_.put(kPods, pod("a"));
  const auto removed = cluster_.remove({}, kPods, before.key(), {.precondition_uid = "other"});
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().reason(), Reason::Conflict);
  EXPECT_TRUE(cluster_.find(kPods, before.key()));
}

TEST_F(FakeClusterTest, ANamespaceStaysUntilItIsFinalizedAndTakesNothingNew) {
  cluster_.put(kNamespaces, {{"metadata", {{"name", "shop"}}}, {"spec", {{"finalizers", {"kubernetes"}}}}});
  ASSERT_TRUE(cluster_.remove({}, kNamespaces, {"", "shop"}, {}));
  const auto refused = cluster_.create({}, kPods, {"shop", ""}, pod("a"), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::Forbidden);
  ASSERT_TRUE(cluster_.update({}, kNamespaces, {"", "shop"},
                              {{"metadata", {{"name", "shop"}}}, {"spec", {{"finalizers", json::array()}}}},
                              {.subresource = "finalize"}));
  EXPECT_FALSE(cluster_.find(kNamespaces, {"", "shop"}));
}

TEST_F(FakeClusterTest, AWatchShowsWhatFollowsItsRevision) {
  const auto a = cluster_.put(kPods, pod("a"));
  cluster_.put(kReplicaSets, pod("not-a-pod"));
  const auto watch = cluster_.watch({}, kPods, {.resource_version = a.head().resource_version});
  ASSERT_TRUE(watch);
  cluster_.put(kPods, pod("b"));
  cluster_.erase(kPods, {"shop", "a"});
  const auto events = (*watch)->take(10);
  ASSERT_TRUE(events);
  ASSERT_EQ(events->size(), 2U);
  EXPECT_EQ(events->at(0).type, EventType::Added);
  EXPECT_EQ(events->at(1).type, EventType::Deleted);
  EXPECT_GT(events->at(1).object.head().resource_version, events->at(0).object.head().resource_version);
}

TEST_F(FakeClusterTest, AFrozenWatchDeliversLater) {
  const auto watch = cluster_.watch({}, kPods, {});
  int calls = 0;
  (*watch)->notify([&] { ++calls; });
  cluster_.freeze_cache();
  cluster_.put(kPods, pod("a"));
  EXPECT_TRUE((*watch)->take(10)->empty());
  calls = 0;
  cluster_.thaw_cache();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ((*watch)->take(10)->size(), 1U);
}

TEST_F(FakeClusterTest, FailsAsOftenAsItWasTold) {
  cluster_.fail_next("create", kPods, Error(Reason::ServiceUnavailable, "no"), 2);
  EXPECT_FALSE(cluster_.create({}, kPods, {"shop", ""}, pod("a"), {}));
  EXPECT_FALSE(cluster_.create({}, kPods, {"shop", ""}, pod("a"), {}));
  EXPECT_TRUE(cluster_.create({}, kPods, {"shop", ""}, pod("a"), {}));
}

TEST_F(FakeClusterTest, SelectsByFieldsAndLabels) {
  json document = pod("a");
  document["spec"]["nodeName"] = "n1";
  cluster_.put(kPods, document);
  cluster_.put(kPods, pod("b"));
  EXPECT_EQ(cluster_.list({}, kPods, {.field_selector = "spec.nodeName=n1"})->items.size(), 1U);
  EXPECT_EQ(cluster_.list({}, kPods, {.field_selector = "metadata.name!=a"})->items.size(), 1U);
}

}  // namespace
}  // namespace kubernel::testing
