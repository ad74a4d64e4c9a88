// SPDX-License-Identifier: Apache-2.0
#include "auth/node_restriction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "auth_fixture.h"

namespace kubernel::apiserver {
namespace {

using ::testing::HasSubstr;
using namespace api::resources;

class Restriction : public ::testing::Test, public AuthFixture {
 public:
  Restriction() {
    for (const char* name : {"n1", "n2"}) create(kNodes, "", R"({"metadata":{"name":")" + std::string(name) + R"("}})");
    for (const char* name : {"n1", "n2"}) {
      create(kPods, "default",
             R"({"metadata":{"name":"on-)" + std::string(name) + R"("},"spec":{"nodeName":")" + name +
                 R"(","containers":[{"name":"c","image":"busybox"}]}})");
    }
  }
  std::unique_ptr<client::ApiClient> node = as(user("system:node:n1", {"system:nodes"}));

  std::string merge(const api::Resource& resource, const api::ObjectKey& key, const std::string& patch,
                    const std::string& subresource = "") {
    client::WriteOptions options;
    options.subresource = subresource;
    return problem(node->patch({}, resource, key, client::PatchType::Merge, json::parse(patch), options));
  }
};

TEST_F(Restriction, ANodeWritesItsOwnNodeOnly) {
  EXPECT_EQ(merge(kNodes, {"", "n1"}, R"({"metadata":{"labels":{"a":"b"}}})"), "");
  EXPECT_EQ(merge(kNodes, {"", "n1"}, R"({"status":{"nodeInfo":{"machineID":"x"}}})", "status"), "");
  EXPECT_EQ(merge(kNodes, {"", "n2"}, R"({"metadata":{"labels":{"a":"b"}}})"),
            R"(nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2")");
  EXPECT_EQ(problem(node->create({}, kNodes, {}, json::parse(R"({"metadata":{"name":"n3"}})"), {})),
            R"(nodes "n3" is forbidden: node "n1" is not allowed to modify node "n3")");
}

TEST_F(Restriction, ANodeDoesNotFreeItselfOfTaintsOrTakeRestrictedLabels) {
  EXPECT_THAT(merge(kNodes, {"", "n1"}, R"({"spec":{"taints":null}})"), HasSubstr("is not allowed to modify taints"));
  EXPECT_THAT(merge(kNodes, {"", "n1"}, R"({"metadata":{"labels":{"node-restriction.kubernetes.io/x":"y"}}})"),
              HasSubstr("is not allowed to set the following labels"));
}

TEST_F(Restriction, ANodeWritesTheStatusOfItsPodsOnly) {
  EXPECT_EQ(merge(kPods, {"default", "on-n1"}, R"({"status":{"phase":"Running"}})", "status"), "");
  EXPECT_THAT(merge(kPods, {"default", "on-n2"}, R"({"status":{"phase":"Running"}})", "status"),
              HasSubstr(R"(node "n1" can only update pod status for pods with spec.nodeName set to itself)"));
  EXPECT_THAT(problem(node->remove({}, kPods, {"default", "on-n2"}, {})),
              HasSubstr(R"(node "n1" can only delete pods with spec.nodeName set to itself)"));
  EXPECT_EQ(problem(node->remove({}, kPods, {"default", "on-n1"}, {})), "");
}

TEST_F(Restriction, ANodeCreatesMirrorPodsOnly) {
  const auto pod = [](const std::string& annotations, const std::string& on) {
    return json::parse(R"({"metadata":{"name":"m","annotations":)" + annotations + R"(},"spec":{"nodeName":")" + on +
                       R"(","containers":[{"name":"c","image":"busybox"}]}})");
  };
  EXPECT_THAT(problem(node->create({}, kPods, {"default", ""}, pod("{}", "n1"), {})),
              HasSubstr("can only create mirror pods"));
  const std::string mirror = R"({"kubernetes.io/config.mirror":"x"})";
  EXPECT_THAT(problem(node->create({}, kPods, {"default", ""}, pod(mirror, "n2"), {})),
              HasSubstr("can only create pods with spec.nodeName set to itself"));
  EXPECT_EQ(problem(node->create({}, kPods, {"default", ""}, pod(mirror, "n1"), {})), "");
}

TEST_F(Restriction, ANodeCreatesItsOwnLeaseOnly) {
  const auto lease = [&](const std::string& name) {
    return problem(node->create({}, kLeases, {"kube-node-lease", ""},
                                json::parse(R"({"metadata":{"name":")" + name + R"("}})"), {}));
  };
  EXPECT_EQ(lease("n1"), "");
  EXPECT_THAT(lease("n2"), HasSubstr("can only access node lease with the same name as the requesting node"));
}

TEST_F(Restriction, OthersAreNotRestricted) {
  EXPECT_TRUE(
      client().patch({}, kNodes, {"", "n2"}, client::PatchType::Merge, json::parse(R"({"spec":{"taints":null}})"), {}));
}

}  // namespace
}  // namespace kubernel::apiserver
