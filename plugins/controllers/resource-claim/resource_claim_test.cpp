// SPDX-License-Identifier: Apache-2.0
#include "resource_claim.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::resource_claim {
namespace {

using api::Object;
using api::resources::kPods;
using nlohmann::json;

const api::Resource kClaims{"resource.k8s.io", "v1", "resourceclaims"};
const api::Resource kTemplates{"resource.k8s.io", "v1", "resourceclaimtemplates"};

class ResourceClaimTest : public ::testing::Test {
 protected:
  ResourceClaimTest() {
    bench_.cluster.serve(kClaims, "ResourceClaim", true);
    bench_.cluster.serve(kTemplates, "ResourceClaimTemplate", true);
  }
  void make_template() {
    bench_.cluster.put_text(kTemplates, R"({"metadata":{"namespace":"default","name":"t"},"spec":{
        "metadata":{"labels":{"a":"b"},"annotations":{"c":"d"}},"spec":{"devices":{"requests":[{"name":"r"}]}}}})");
  }
  Object pod(const std::string& name, const std::string& spec, const std::string& phase = "Pending") {
    return bench_.cluster.put_text(kPods, R"({"metadata":{"namespace":"default","name":")" + name + R"("},"spec":)" +
                                              spec + R"(,"status":{"phase":")" + phase + R"("}})");
  }
  Object templated_pod(const std::string& name = "p") {
    return pod(name, R"({"resourceClaims":[{"name":"x","resourceClaimTemplateName":"t"}]})");
  }
  // A claim with that status, used by those pods.
  void claim(const std::string& name, const std::string& more, std::initializer_list<Object> users = {}) {
    json document =
        json::parse(R"({"metadata":{"namespace":"default","name":")" + name + R"("},"spec":{})" + more + "}");
    for (const Object& user : users) {
      document["status"]["reservedFor"].push_back({{"resource", "pods"}, {"name", user.name()}, {"uid", user.uid()}});
    }
    bench_.cluster.put(kClaims, document);
  }
  std::vector<Object> claims() { return bench_.cluster.all(kClaims); }
  Object stored(const std::string& name) { return *bench_.cluster.find(kClaims, {"default", name}); }
  Object stored_pod(const std::string& name = "p") { return *bench_.cluster.find(kPods, {"default", name}); }
  void finish(const std::string& name) {
    bench_.cluster.edit(kPods, {"default", name}, [](json& p) { p["status"]["phase"] = "Succeeded"; });
  }

  testing::ControllerBench bench_{make_reconciler};
};

constexpr const char* kAllocated = R"(,"status":{"allocation":{"devices":{}}})";

TEST_F(ResourceClaimTest, MakesAClaimFromATemplateAndTellsThePod) {
  make_template();
  const Object owner = templated_pod();
  bench_.start();
  ASSERT_EQ(claims().size(), 1U);
  const Object made = claims().front();
  EXPECT_TRUE(made.name().starts_with("p-x-")) << made.name();
  EXPECT_EQ(made.head().controller_uid, owner.uid());
  EXPECT_EQ(made.labels().to_json(), json::parse(R"({"a":"b"})"));
  EXPECT_EQ(made.annotations().to_json(), json::parse(R"({"c":"d","resource.kubernetes.io/pod-claim-name":"x"})"));
  EXPECT_EQ(made["spec"].to_json(), json::parse(R"({"devices":{"requests":[{"name":"r"}]}})"));
  EXPECT_EQ(stored_pod().pointer("/status/resourceClaimStatuses").to_json(),
            json::array({{{"name", "x"}, {"resourceClaimName", made.name()}}}));
  EXPECT_EQ(stored_pod().pointer("/status/phase").string(), "Pending");
}

TEST_F(ResourceClaimTest, MakesOneClaimHoweverStaleItsCacheIs) {
  make_template();
  bench_.start();
  templated_pod();
  bench_.cluster.fail_next("patch/status", kPods, Error(Reason::ServerTimeout, "later"));
  bench_.cluster.on_call(
      [this](std::string_view verb, const api::Resource& resource, const api::ObjectKey&) -> Result<void> {
        if (verb == "create" && resource == kClaims) bench_.cluster.freeze_cache();
        return {};
      });
  bench_.settle();
  EXPECT_FALSE(stored_pod().pointer("/status/resourceClaimStatuses"));
  bench_.advance(std::chrono::seconds(1));  // Tried again.
  bench_.cluster.on_call({});
  EXPECT_EQ(claims().size(), 1U);
  EXPECT_EQ(stored_pod().pointer("/status/resourceClaimStatuses/0/resourceClaimName").string(),
            claims().front().name());
}

TEST_F(ResourceClaimTest, AMissingTemplateIsToldAndWaitedFor) {
  templated_pod();
  bench_.start();
  ASSERT_FALSE(bench_.events.lines().empty());
  EXPECT_EQ(bench_.events.lines().front(),
            "Warning FailedResourceClaimCreation PodResourceClaim x: resource claim template \"t\": "
            "resourceclaimtemplate.resource.k8s.io \"t\" not found");
  make_template();
  bench_.settle();
  EXPECT_EQ(claims().size(), 1U);
}

TEST_F(ResourceClaimTest, ALostClaimIsMadeAgain) {
  make_template();
  templated_pod();
  bench_.start();
  const std::string before = claims().front().name();
  bench_.cluster.erase(kClaims, {"default", before});
  bench_.settle();
  ASSERT_EQ(claims().size(), 1U);
  EXPECT_EQ(stored_pod().pointer("/status/resourceClaimStatuses/0/resourceClaimName").string(),
            claims().front().name());
}

TEST_F(ResourceClaimTest, NothingIsMadeForAPodThatIsDone) {
  make_template();
  pod("p", R"({"resourceClaims":[{"name":"x","resourceClaimTemplateName":"t"}]})", "Failed");
  bench_.start();
  EXPECT_TRUE(claims().empty());
}

TEST_F(ResourceClaimTest, TheLastUserTakesTheAllocationAndTheFinalizerAlong) {
  const Object a = pod("a", R"({"resourceClaims":[{"name":"x","resourceClaimName":"c"}]})", "Running");
  const Object b = pod("b", R"({"resourceClaims":[{"name":"x","resourceClaimName":"c"}]})", "Running");
  claim("c", kAllocated, {a, b});
  bench_.cluster.edit(kClaims, {"default", "c"}, [](json& c) {
    c["metadata"]["finalizers"] = {"resource.kubernetes.io/delete-protection", "example.com/other"};
  });
  bench_.start();
  EXPECT_EQ(stored("c").pointer("/status/reservedFor").size(), 2U);
  finish("a");
  bench_.settle();
  EXPECT_EQ(stored("c").pointer("/status/reservedFor").size(), 1U);
  EXPECT_TRUE(stored("c").pointer("/status/allocation"));
  bench_.cluster.erase(kPods, {"default", "b"});
  bench_.settle();
  EXPECT_FALSE(stored("c").pointer("/status/reservedFor"));
  EXPECT_FALSE(stored("c").pointer("/status/allocation"));
  EXPECT_EQ(stored("c").pointer("/metadata/finalizers").to_json(), json::array({"example.com/other"}));
}

TEST_F(ResourceClaimTest, OtherKindsOfUsersKeepTheirReservation) {
  claim(
      "c",
      R"(,"status":{"allocation":{},"reservedFor":[{"apiGroup":"example.com","resource":"things","name":"x","uid":"u"}]})");
  bench_.start();
  EXPECT_EQ(stored("c").pointer("/status/reservedFor").size(), 1U);
}

TEST_F(ResourceClaimTest, AReservationOfAReplacedPodEnds) {
  pod("a", "{}", "Running");
  claim("c", R"(,"status":{"allocation":{},"reservedFor":[{"resource":"pods","name":"a","uid":"before"}]})");
  bench_.start();
  EXPECT_FALSE(stored("c").pointer("/status/reservedFor"));
}

TEST_F(ResourceClaimTest, APodTheCacheDoesNotKnowYetKeepsItsReservation) {
  bench_.start();
  bench_.cluster.freeze_cache();
  const Object late = pod("late", "{}", "Running");
  bench_.cluster.thaw_cache();
  claim("c", kAllocated, {late});
  bench_.settle();
  EXPECT_EQ(stored("c").pointer("/status/reservedFor").size(), 1U);
}

TEST_F(ResourceClaimTest, ADeletedClaimNobodyUsesIsLetGo) {
  claim("c", kAllocated);
  bench_.cluster.edit(kClaims, {"default", "c"},
                      [](json& c) { c["metadata"]["finalizers"] = {"resource.kubernetes.io/delete-protection"}; });
  bench_.start();
  EXPECT_TRUE(stored("c").pointer("/status/allocation"));
  ASSERT_TRUE(bench_.cluster.remove({}, kClaims, {"default", "c"}, {}));
  bench_.settle();
  EXPECT_TRUE(claims().empty());
}

TEST_F(ResourceClaimTest, TheClaimOfAPodThatIsDoneIsDeleted) {
  make_template();
  templated_pod();
  bench_.start();
  ASSERT_EQ(claims().size(), 1U);
  finish("p");
  bench_.settle();
  EXPECT_TRUE(claims().empty());
}

TEST_F(ResourceClaimTest, APodBoundWithoutTheSchedulerGetsItsReservation) {
  claim("c", kAllocated);
  const Object bound = pod("p", R"({"nodeName":"n","resourceClaims":[{"name":"x","resourceClaimName":"c"}]})");
  bench_.start();
  EXPECT_EQ(stored("c").pointer("/status/reservedFor").to_json(),
            json::array({{{"resource", "pods"}, {"name", "p"}, {"uid", bound.uid()}}}));
}

TEST_F(ResourceClaimTest, AClaimThatIsNotAllocatedIsReservedForNobody) {
  claim("c", "");
  pod("p", R"({"nodeName":"n","resourceClaims":[{"name":"x","resourceClaimName":"c"}]})");
  bench_.start();
  EXPECT_FALSE(stored("c").pointer("/status/reservedFor"));
}

}  // namespace
}  // namespace kubernel::plugins::resource_claim
