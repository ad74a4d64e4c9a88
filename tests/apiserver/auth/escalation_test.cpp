// SPDX-License-Identifier: Apache-2.0
#include "auth/escalation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "auth_fixture.h"

namespace kubernel::apiserver {
namespace {

using api::resources::kClusterRoleBindings;
using api::resources::kClusterRoles;
using api::resources::kRoleBindings;
using api::resources::kRoles;
using ::testing::HasSubstr;

/// alice may write RBAC objects of all kinds and read pods; adam is admin of "default".
class Escalation : public ::testing::Test, public AuthFixture {
 public:
  Escalation() {
    cluster_role(
        "rbac-writer",
        R"([{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles","rolebindings","clusterroles","clusterrolebindings"],
      "verbs":["create","update","patch","get"]},{"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]}])");
    bind("", "alice-writes", "rbac-writer", "alice");
    bind("default", "adam-administers", "admin", "adam");
  }
  Result<api::Object> create_as(const std::string& name, const api::Resource& resource, const std::string& ns,
                                const std::string& document) {
    return as(user(name))->create({}, resource, {ns, ""}, json::parse(document), {});
  }
  static std::string binding(const std::string& kind, const std::string& role) {
    return R"({"metadata":{"name":"b"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":")" + kind +
           R"(","name":")" + role +
           R"("},"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"alice"}]})";
  }
};

TEST_F(Escalation, WhatOneHasOneMayGrant) {
  EXPECT_EQ(problem(create_as(
                "alice", kRoles, "default",
                R"({"metadata":{"name":"r"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]})")),
            "");
  EXPECT_EQ(problem(create_as("alice", kRoleBindings, "default", binding("Role", "r"))), "");
}

TEST_F(Escalation, WhatOneLacksIsRefusedAndNamed) {
  const auto made = create_as(
      "alice", kRoles, "default",
      R"({"metadata":{"name":"r"},"rules":[{"apiGroups":[""],"resources":["pods","secrets"],"verbs":["get","delete"]}]})");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().reason(), Reason::Forbidden);
  EXPECT_EQ(
      made.error().message(),
      R"(roles.rbac.authorization.k8s.io "r" is forbidden: user "alice" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:
{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}
{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]})");
}

TEST_F(Escalation, ABindingGrantsItsRole) {
  EXPECT_THAT(problem(create_as("alice", kClusterRoleBindings, "", binding("ClusterRole", "cluster-admin"))),
              HasSubstr("is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"*\"], "
                        "Resources:[\"*\"], Verbs:[\"*\"]}\n"
                        "{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}"));
  EXPECT_EQ(problem(create_as("alice", kRoleBindings, "default", binding("Role", "none"))),
            R"(roles.rbac.authorization.k8s.io "none" not found)");
}

TEST_F(Escalation, AnAdministratorOfANamespaceGivesAwayWhatIsHis) {
  EXPECT_EQ(problem(create_as("adam", kRoleBindings, "default", binding("ClusterRole", "edit"))), "");
  EXPECT_THAT(problem(create_as("adam", kRoleBindings, "kube-system", binding("ClusterRole", "edit"))),
              HasSubstr("cannot create resource"));
}

TEST_F(Escalation, AnUpdateIsCheckedLikeACreate) {
  ASSERT_EQ(problem(create_as(
                "alice", kClusterRoles, "",
                R"({"metadata":{"name":"r"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]})")),
            "");
  const auto patched = as(user("alice"))
                           ->patch({}, kClusterRoles, {"", "r"}, client::PatchType::Json,
                                   json::parse(R"([{"op":"add","path":"/rules/0/verbs/-","value":"delete"}])"), {});
  EXPECT_THAT(problem(patched), HasSubstr(R"({APIGroups:[""], Resources:["pods"], Verbs:["delete"]})"));
}

TEST_F(Escalation, TheVerbsEscalateAndBindLiftIt) {
  cluster_role("lifter",
               R"([{"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles"],"verbs":["escalate"]},
    {"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles"],"verbs":["bind"],"resourceNames":["view"]}])");
  bind("", "lift", "lifter", "alice");
  EXPECT_EQ(
      problem(create_as("alice", kClusterRoles, "",
                        R"({"metadata":{"name":"r"},"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]})")),
      "");
  EXPECT_EQ(problem(create_as("alice", kClusterRoleBindings, "", binding("ClusterRole", "view"))), "");
  EXPECT_THAT(problem(create_as("alice", kRoleBindings, "default", binding("ClusterRole", "edit"))),
              HasSubstr("not currently held"));
}

TEST_F(Escalation, AnAggregationNeedsAllRights) {
  EXPECT_EQ(
      problem(create_as(
          "alice", kClusterRoles, "",
          R"({"metadata":{"name":"r"},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"a":"b"}}]}})")),
      R"(clusterroles.rbac.authorization.k8s.io "r" is forbidden: must have cluster-admin privileges to use an aggregationRule)");
}

TEST_F(Escalation, MembersOfMastersAreFree) {
  EXPECT_EQ(
      problem(client().create({}, kClusterRoleBindings, {}, json::parse(binding("ClusterRole", "cluster-admin")), {})),
      "");
}

}  // namespace
}  // namespace kubernel::apiserver
