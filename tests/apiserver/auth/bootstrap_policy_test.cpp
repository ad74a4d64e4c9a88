// SPDX-License-Identifier: Apache-2.0
#include "auth/bootstrap_policy.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "../fixture.h"

namespace kubernel::apiserver {
namespace {

using api::resources::kClusterRoleBindings;
using api::resources::kClusterRoles;
using api::resources::kRoles;

struct Policy : Fixture {
  Policy() { create(api::resources::kNamespaces, "", R"({"metadata":{"name":"kube-public"}})"); }
  Result<void> apply() { return apply_bootstrap_policy({}, client(), executor()); }
  api::Object role(const std::string& name) {
    auto found = client().get({}, kClusterRoles, {"", name}, "");
    if (!found) throw std::runtime_error(found.error().message());
    return *std::move(found);
  }
  std::int64_t revision() { return client().list({}, kClusterRoles, {})->resource_version; }
};

TEST(BootstrapPolicy, TheDefaultRolesAndBindingsArePresentAfterTheFirstStart) {
  Policy f;
  ASSERT_TRUE(f.apply());
  const auto roles = f.list(kClusterRoles, "");
  std::set<std::string> names;
  for (const api::Object& one : roles) {
    names.insert(one.name());
    EXPECT_EQ(one.labels()["kubernetes.io/bootstrapping"].string(), "rbac-defaults") << one.name();
    EXPECT_EQ(one.annotations()["rbac.authorization.kubernetes.io/autoupdate"].string(), "true") << one.name();
    EXPECT_FALSE(one["rules"].empty()) << one.name();
  }
  for (const char* name :
       {"cluster-admin", "admin", "edit", "view", "system:discovery", "system:basic-user", "system:node",
        "system:kube-scheduler", "system:kube-controller-manager", "system:controller:deployment-controller",
        "system:controller:generic-garbage-collector", "system:public-info-viewer"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
  const auto admin = f.client().get({}, kClusterRoleBindings, {"", "cluster-admin"}, "");
  ASSERT_TRUE(admin);
  EXPECT_EQ((*admin)["subjects"].at(0)["name"].string(), "system:masters");
  EXPECT_EQ(f.list(kRoles, "kube-system").size() + f.list(kRoles, "kube-public").size(), 7U);
}

TEST(BootstrapPolicy, ASecondStartWritesNothing) {
  Policy f;
  ASSERT_TRUE(f.apply());
  const auto before = f.revision();
  ASSERT_TRUE(f.apply());
  EXPECT_EQ(f.revision(), before);
}

TEST(BootstrapPolicy, WhatIsMissingComesBackAndWhatWasAddedStays) {
  Policy f;
  ASSERT_TRUE(f.apply());
  ASSERT_TRUE(f.client().patch({}, kClusterRoles, {"", "system:kube-dns"}, client::PatchType::Json,
                               json::parse(R"([{"op":"remove","path":"/rules/0"},
                                 {"op":"add","path":"/rules/-","value":{"apiGroups":["x"],"resources":["y"],"verbs":["get"]}}])"),
                               {}));
  ASSERT_TRUE(f.client().remove({}, kClusterRoles, {"", "system:discovery"}, {}));
  ASSERT_TRUE(f.apply());
  EXPECT_EQ(f.role("system:kube-dns")["rules"].size(), 3U);
  EXPECT_EQ(f.role("system:discovery")["rules"].size(), 1U);
}

TEST(BootstrapPolicy, AnObjectThatDoesNotWantUpdatesIsLeftAlone) {
  Policy f;
  ASSERT_TRUE(f.apply());
  ASSERT_TRUE(f.client().patch(
      {}, kClusterRoles, {"", "system:kube-dns"}, client::PatchType::Merge,
      json::parse(R"({"metadata":{"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"false"}},"rules":[]})"),
      {}));
  ASSERT_TRUE(f.apply());
  EXPECT_TRUE(f.role("system:kube-dns")["rules"].empty());
}

TEST(BootstrapPolicy, HelpersThatRunAfterwardsFindNothingToDo) {
  Policy f;
  ASSERT_TRUE(f.apply());
  const auto before = f.revision();
  f.executor().run_all();
  EXPECT_EQ(f.revision(), before);
}

}  // namespace
}  // namespace kubernel::apiserver
