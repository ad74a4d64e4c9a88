// SPDX-License-Identifier: Apache-2.0
#include "namespace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/controller/conditions.h>
#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::namespaces {
namespace {

using namespace std::chrono_literals;
using api::Object;
using api::Resource;
using api::resources::kConfigMaps;
using api::resources::kNamespaces;
using api::resources::kPods;
using api::resources::kSecrets;
using nlohmann::json;
using ::testing::HasSubstr;

class NamespaceTest : public ::testing::Test {
 protected:
  NamespaceTest() {
    bench_.cluster.put(kNamespaces, {{"metadata", {{"name", "shop"}}},
                                     {"spec", {{"finalizers", {"kubernetes"}}}},
                                     {"status", {{"phase", "Active"}}}});
  }
  void put(const Resource& resource, const std::string& name, const std::string& ns = "shop",
           const json& more = json::object()) {
    json document = {{"metadata", {{"name", name}, {"namespace", ns}}}};
    document.merge_patch(more);
    bench_.cluster.put(resource, document);
  }
  void remove_namespace() { ASSERT_TRUE(bench_.cluster.remove({}, kNamespaces, {"", "shop"}, {})); }
  std::optional<Object> shop() { return bench_.cluster.find(kNamespaces, {"", "shop"}); }
  std::string condition(const char* type, const char* field) {
    const Object ns = *shop();
    return std::string(controller::find_condition(ns.pointer("/status/conditions"), type)[field].string());
  }

  testing::ControllerBench bench_{make_reconciler};
};

TEST_F(NamespaceTest, ADeletedNamespaceGoesWithAllThatIsInIt) {
  const Resource widgets{"example.com", "v1", "widgets"};
  bench_.cluster.serve(widgets, "Widget", true);
  put(kConfigMaps, "a");
  put(kSecrets, "b");
  put(widgets, "c");
  put(kConfigMaps, "other", "elsewhere");
  bench_.start();
  remove_namespace();
  bench_.settle();
  EXPECT_FALSE(shop());
  EXPECT_TRUE(bench_.cluster.all(kSecrets).empty());
  EXPECT_TRUE(bench_.cluster.all(widgets).empty());
  EXPECT_EQ(bench_.cluster.all(kConfigMaps).size(), 1U);
}

TEST_F(NamespaceTest, ALivingNamespaceIsLeftAlone) {
  put(kConfigMaps, "a");
  bench_.start();
  bench_.runner->add({"", "shop"});
  bench_.settle();
  EXPECT_EQ(bench_.cluster.all(kConfigMaps).size(), 1U);
}

TEST_F(NamespaceTest, PodsGoBeforeWhatTheyMayNeed) {
  put(kPods, "p", "shop", {{"spec", {{"nodeName", "n1"}}}});
  put(kSecrets, "needed");
  bench_.start();
  remove_namespace();
  bench_.settle();
  EXPECT_EQ(bench_.cluster.all(kSecrets).size(), 1U);
  EXPECT_EQ(condition("NamespaceContentRemaining", "status"), "True");
  EXPECT_EQ(condition("NamespaceContentRemaining", "message"),
            "Some resources are remaining: pods. has 1 resource instances");
  EXPECT_EQ(condition("NamespaceDeletionContentFailure", "status"), "False");
  EXPECT_EQ(shop()->pointer("/status/phase").string(), "Terminating");
  bench_.cluster.erase(kPods, {"shop", "p"});
  bench_.advance(16s);
  EXPECT_FALSE(shop());
}

TEST_F(NamespaceTest, TellsWhichFinalizersHoldIt) {
  put(kConfigMaps, "held", "shop", {{"metadata", {{"finalizers", {"example.com/hold"}}}}});
  bench_.start();
  remove_namespace();
  bench_.settle();
  EXPECT_EQ(condition("NamespaceFinalizersRemaining", "reason"), "SomeFinalizersRemain");
  EXPECT_THAT(condition("NamespaceFinalizersRemaining", "message"),
              HasSubstr("example.com/hold in 1 resource instances"));
  bench_.cluster.edit(kConfigMaps, {"shop", "held"}, [](json& map) { map["metadata"].erase("finalizers"); });
  bench_.advance(10s);
  EXPECT_FALSE(shop());
}

TEST_F(NamespaceTest, AFailureInOneResourceDoesNotKeepTheOthers) {
  put(kConfigMaps, "a");
  put(kSecrets, "b");
  bench_.cluster.fail_next("deletecollection", kConfigMaps, Error(Reason::Internal, "storage is sad"), 2);
  bench_.start();
  remove_namespace();
  bench_.settle();
  EXPECT_TRUE(bench_.cluster.all(kSecrets).empty());
  ASSERT_TRUE(shop());
  EXPECT_EQ(condition("NamespaceDeletionContentFailure", "reason"), "ContentDeletionFailed");
  EXPECT_THAT(condition("NamespaceDeletionContentFailure", "message"), HasSubstr("storage is sad"));
  bench_.advance(1s);
  EXPECT_FALSE(shop());
}

TEST_F(NamespaceTest, OtherFinalizersOfTheNamespaceAreNotItsAffair) {
  bench_.cluster.edit(kNamespaces, {"", "shop"}, [](json& ns) {
    ns["spec"]["finalizers"] = {"kubernetes", "example.com/mine"};
  });
  bench_.start();
  remove_namespace();
  bench_.settle();
  ASSERT_TRUE(shop());
  EXPECT_EQ(shop()->pointer("/spec/finalizers").to_json(), json::parse(R"(["example.com/mine"])"));
}

TEST_F(NamespaceTest, APassThatChangesNothingWritesNothing) {
  put(kConfigMaps, "held", "shop", {{"metadata", {{"finalizers", {"example.com/hold"}}}}});
  bench_.start();
  remove_namespace();
  bench_.settle();
  const auto before = shop()->head().resource_version;
  bench_.advance(30s);
  EXPECT_EQ(shop()->head().resource_version, before);
}

}  // namespace
}  // namespace kubernel::plugins::namespaces
