// SPDX-License-Identifier: Apache-2.0
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.h"

namespace kubernel::apiserver {
namespace {

using ::testing::HasSubstr;

const api::Resource kAddresses{"networking.k8s.io", "v1", "ipaddresses"};

std::string service(const std::string& name, const std::string& more = "") {
  return R"({"metadata":{"name":")" + name + R"("},"spec":{"ports":[{"port":80}])" + more + "}}";
}

TEST(Services, GetAnAddressOfTheRangeAndNoTwoGetTheSame) {
  Fixture f;
  std::set<std::string> seen;
  for (int i = 0; i < 50; ++i) {
    const auto made = f.create(api::resources::kServices, "default", service("s" + std::to_string(i)));
    const std::string ip(made["spec"]["clusterIP"].string());
    EXPECT_TRUE(seen.insert(ip).second) << ip;
    EXPECT_EQ(made.pointer("/spec/clusterIPs/0").string(), ip);
    EXPECT_EQ(made["spec"]["ipFamilyPolicy"].string(), "SingleStack");
    EXPECT_EQ(made["spec"]["type"].string(), "ClusterIP");
  }
  EXPECT_EQ(f.list(kAddresses, "").size(), 50U);
}

TEST(Services, AnAddressThatIsTakenOrOutOfRangeIsInvalid) {
  Fixture f;
  f.create(api::resources::kServices, "default", service("a", R"(,"clusterIP":"10.96.0.10")"));
  const auto taken = f.client().create({}, api::resources::kServices, {"default", ""},
                                       json::parse(service("b", R"(,"clusterIP":"10.96.0.10")")), {});
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().message(), HasSubstr("failed to allocate IP 10.96.0.10: provided IP is already allocated"));
  const auto outside = f.client().create({}, api::resources::kServices, {"default", ""},
                                         json::parse(service("c", R"(,"clusterIP":"192.168.0.1")")), {});
  ASSERT_FALSE(outside);
  EXPECT_THAT(outside.error().message(), HasSubstr("is not in the valid range"));
}

TEST(Services, ADeletedServiceGivesItsAddressAndPortBack) {
  Fixture f;
  f.create(api::resources::kServices, "default", service("a", R"(,"type":"NodePort","clusterIP":"10.96.0.10")"));
  ASSERT_TRUE(f.client().remove({}, api::resources::kServices, {"default", "a"}, {}));
  EXPECT_TRUE(f.list(kAddresses, "").empty());
  f.create(api::resources::kServices, "default", service("b", R"(,"clusterIP":"10.96.0.10")"));
}

TEST(Services, NodePortsAreUniqueAndKeptByUpdates) {
  Fixture f;
  const auto made = f.create(api::resources::kServices, "default", service("a", R"(,"type":"NodePort")"));
  const auto port = made.pointer("/spec/ports/0/nodePort").integer();
  EXPECT_GE(port, 30'000);
  EXPECT_LE(port, 32'767);
  const auto second = f.client().create(
      {}, api::resources::kServices, {"default", ""},
      json::parse(R"({"metadata":{"name":"b"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":)" +
                  std::to_string(port) + "}]}}"),
      {});
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message(), HasSubstr("provided port is already allocated"));

  const auto updated = f.client().update({}, api::resources::kServices, made.key(),
                                         json::parse(service("a", R"(,"type":"NodePort")")), {});
  ASSERT_TRUE(updated) << updated.error().message();
  EXPECT_EQ(updated->pointer("/spec/ports/0/nodePort").integer(), port);
  EXPECT_EQ((*updated)["spec"]["clusterIP"].string(), made["spec"]["clusterIP"].string());

  const auto inward = f.client().patch({}, api::resources::kServices, made.key(), client::PatchType::Merge,
                                       json::parse(R"({"spec":{"type":"ClusterIP"}})"), {});
  ASSERT_TRUE(inward) << inward.error().message();
  EXPECT_FALSE(inward->pointer("/spec/ports/0/nodePort"));
}

TEST(Services, HeadlessAndExternalOnesHaveNoAddress) {
  Fixture f;
  const auto headless = f.create(api::resources::kServices, "default", service("h", R"(,"clusterIP":"None")"));
  EXPECT_EQ(headless["spec"]["clusterIP"].string(), "None");
  const auto external =
      f.create(api::resources::kServices, "default",
               R"({"metadata":{"name":"e"},"spec":{"type":"ExternalName","externalName":"example.com"}})");
  EXPECT_FALSE(external["spec"]["clusterIP"]);
  EXPECT_TRUE(f.list(kAddresses, "").empty());
}

TEST(Services, AFailedCreateKeepsNothing) {
  Fixture f;
  f.create(api::resources::kServices, "default", service("a"));
  const auto again = f.client().create({}, api::resources::kServices, {"default", ""}, json::parse(service("a")), {});
  ASSERT_FALSE(again);
  EXPECT_EQ(f.list(kAddresses, "").size(), 1U);
}

TEST(Services, TheAddressDoesNotChange) {
  Fixture f;
  f.create(api::resources::kServices, "default", service("a", R"(,"clusterIP":"10.96.0.10")"));
  const auto moved =
      f.client().patch({}, api::resources::kServices, {"default", "a"}, client::PatchType::Merge,
                       json::parse(R"({"spec":{"clusterIP":"10.96.0.11","clusterIPs":["10.96.0.11"]}})"), {});
  ASSERT_FALSE(moved);
  EXPECT_THAT(moved.error().message(), HasSubstr("may not change once set"));
}

}  // namespace
}  // namespace kubernel::apiserver
