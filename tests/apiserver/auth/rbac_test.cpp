// SPDX-License-Identifier: Apache-2.0
#include "auth/rbac.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "../fixture.h"
#include "auth/bootstrap_policy.h"

namespace kubernel::apiserver {
namespace {

using api::resources::kClusterRoleBindings;
using api::resources::kClusterRoles;
using api::resources::kRoleBindings;
using api::resources::kRoles;

auth::User user(std::string name, std::vector<std::string> groups = {}) {
  groups.emplace_back("system:authenticated");
  return {std::move(name), "", std::move(groups), {}};
}

// "VERB GROUP/RESOURCE[/SUBRESOURCE] [NS[/NAME]]", or "VERB PATH".
auth::Attributes ask(auth::User who, const std::string& what) {
  auth::Attributes a;
  a.user = std::move(who);
  std::istringstream in(what);
  std::string resource, place;
  in >> a.verb >> resource >> place;
  if (resource.starts_with("/")) {
    a.is_resource_request = false;
    a.path = resource;
    return a;
  }
  const std::size_t slash = resource.find('/');
  a.group = resource.substr(0, slash) == "core" ? "" : resource.substr(0, slash);
  a.resource = resource.substr(slash + 1);
  a.version = "v1";
  if (const std::size_t sub = a.resource.find('/'); sub != std::string::npos) {
    a.subresource = a.resource.substr(sub + 1);
    a.resource.resize(sub);
  }
  const std::size_t name = place.find('/');
  a.ns = place.substr(0, name);
  if (name != std::string::npos) a.name = place.substr(name + 1);
  return a;
}

struct RbacFixture : Fixture {
  Rbac rbac{api()};

  bool allowed(const auth::User& who, const std::string& what) { return decide(who, what).allowed; }
  auth::Decision decide(const auth::User& who, const std::string& what) {
    auto decision = rbac.authorize({}, ask(who, what));
    if (!decision) throw std::runtime_error(decision.error().message());
    return *decision;
  }
  void cluster_role(const std::string& name, const std::string& rules) {
    create(kClusterRoles, "", R"({"metadata":{"name":")" + name + R"("},"rules":)" + rules + "}");
  }
  void role(const std::string& ns, const std::string& name, const std::string& rules) {
    create(kRoles, ns, R"({"metadata":{"name":")" + name + R"("},"rules":)" + rules + "}");
  }
  void bind(const std::string& ns, const std::string& name, const std::string& kind, const std::string& role,
            const std::string& subject) {
    create(ns.empty() ? kClusterRoleBindings : kRoleBindings, ns,
           R"({"metadata":{"name":")" + name + R"("},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":")" +
               kind + R"(","name":")" + role + R"("},"subjects":[)" + subject + "]}");
  }
};

const std::string kAlice = R"({"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"alice"})";
const std::string kPodReader = R"([{"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]}])";

TEST(Rbac, NobodyMayDoAnythingWithoutABinding) {
  RbacFixture f;
  const auto decision = f.decide(user("alice"), "get core/pods default/p");
  EXPECT_FALSE(decision.allowed);
  EXPECT_FALSE(decision.denied);
  EXPECT_EQ(decision.reason, "");
}

TEST(Rbac, AClusterRoleBindingCountsEverywhereAndSaysWhy) {
  RbacFixture f;
  f.cluster_role("reader", kPodReader);
  f.bind("", "b", "ClusterRole", "reader", kAlice);
  const auto decision = f.decide(user("alice"), "get core/pods default/p");
  EXPECT_TRUE(decision.allowed);
  EXPECT_EQ(decision.reason, R"(RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "reader" to User "alice")");
  EXPECT_TRUE(f.allowed(user("alice"), "list core/pods"));
  EXPECT_FALSE(f.allowed(user("alice"), "delete core/pods default/p"));
  EXPECT_FALSE(f.allowed(user("bob"), "get core/pods default/p"));
}

TEST(Rbac, ARoleBindingCountsInItsNamespaceOnly) {
  RbacFixture f;
  f.cluster_role("reader", kPodReader);
  f.bind("default", "b", "ClusterRole", "reader", R"({"kind":"Group","name":"dev"})");
  const auto decision = f.decide(user("carol", {"dev"}), "get core/pods default/p");
  EXPECT_EQ(decision.reason, R"(RBAC: allowed by RoleBinding "b/default" of ClusterRole "reader" to Group "dev")");
  EXPECT_FALSE(f.allowed(user("carol", {"dev"}), "get core/pods kube-system/p"));
  EXPECT_FALSE(f.allowed(user("carol", {"dev"}), "list core/pods"));
}

TEST(Rbac, ARoleBindingToAServiceAccountCountsForItsTokens) {
  RbacFixture f;
  f.role("default", "reader", kPodReader);
  f.bind("default", "b", "Role", "reader", R"({"kind":"ServiceAccount","name":"robot","namespace":"kube-system"})");
  const auto decision = f.decide(user("system:serviceaccount:kube-system:robot"), "list core/pods default");
  EXPECT_TRUE(decision.allowed);
  EXPECT_EQ(decision.reason,
            R"(RBAC: allowed by RoleBinding "b/default" of Role "reader" to ServiceAccount "robot/kube-system")");
  EXPECT_FALSE(f.allowed(user("system:serviceaccount:default:robot"), "list core/pods default"));
  EXPECT_FALSE(f.allowed(user("robot"), "list core/pods default"));
}

TEST(Rbac, ARoleOfAnotherNamespaceIsNotFound) {
  RbacFixture f;
  f.role("kube-system", "reader", kPodReader);
  f.bind("default", "b", "Role", "reader", kAlice);
  const auto decision = f.decide(user("alice"), "list core/pods default");
  EXPECT_FALSE(decision.allowed);
  EXPECT_EQ(decision.reason, R"(RBAC: role.rbac.authorization.k8s.io "reader" not found)");
}

struct RuleRow {
  const char* name;
  const char* rule;
  const char* asked;
  bool allowed;
};
class RbacRules : public ::testing::TestWithParam<RuleRow> {};

// pkg/apis/rbac/v1/evaluation_helpers.go
INSTANTIATE_TEST_SUITE_P(
    All, RbacRules,
    ::testing::Values(
        RuleRow{"AnyVerb", R"({"apiGroups":[""],"resources":["pods"],"verbs":["*"]})", "patch core/pods default/p",
                true},
        RuleRow{"AnyGroup", R"({"apiGroups":["*"],"resources":["pods"],"verbs":["get"]})",
                "get metrics.k8s.io/pods default/p", true},
        RuleRow{"AnotherGroup", R"({"apiGroups":["apps"],"resources":["pods"],"verbs":["get"]})",
                "get core/pods default/p", false},
        RuleRow{"PodsAreNotExec", R"({"apiGroups":[""],"resources":["pods"],"verbs":["*"]})",
                "create core/pods/exec default/p", false},
        RuleRow{"ExecIsNotPods", R"({"apiGroups":[""],"resources":["pods/exec"],"verbs":["*"]})",
                "create core/pods default", false},
        RuleRow{"Exec", R"({"apiGroups":[""],"resources":["pods/exec"],"verbs":["create"]})",
                "create core/pods/exec default/p", true},
        RuleRow{"NotAPrefix", R"({"apiGroups":[""],"resources":["pods/ex"],"verbs":["*"]})",
                "create core/pods/exec default/p", false},
        RuleRow{"AnySubresource", R"({"apiGroups":["*"],"resources":["*/scale"],"verbs":["get"]})",
                "get apps/deployments/scale default/d", true},
        RuleRow{"AnyScaleIsNotStatus", R"({"apiGroups":["*"],"resources":["*/scale"],"verbs":["get"]})",
                "get apps/deployments/status default/d", false},
        RuleRow{"AnyResource", R"({"apiGroups":["*"],"resources":["*"],"verbs":["get"]})",
                "get core/pods/log default/p", true},
        RuleRow{"TheName", R"({"apiGroups":[""],"resources":["pods"],"verbs":["get"],"resourceNames":["p"]})",
                "get core/pods default/p", true},
        RuleRow{"AnotherName", R"({"apiGroups":[""],"resources":["pods"],"verbs":["get"],"resourceNames":["p"]})",
                "get core/pods default/pp", false},
        RuleRow{"NamesAndNoName", R"({"apiGroups":[""],"resources":["pods"],"verbs":["list"],"resourceNames":["p"]})",
                "list core/pods default", false},
        RuleRow{"APath", R"({"nonResourceURLs":["/healthz"],"verbs":["get"]})", "get /healthz", true},
        RuleRow{"APathIsExact", R"({"nonResourceURLs":["/healthz"],"verbs":["get"]})", "get /healthz/x", false},
        RuleRow{"PathsBelow", R"({"nonResourceURLs":["/healthz/*"],"verbs":["get"]})", "get /healthz/x", true},
        RuleRow{"PathsBelowAreNotBeside", R"({"nonResourceURLs":["/healthz/*"],"verbs":["get"]})", "get /healthzx",
                false},
        RuleRow{"AnyPath", R"({"nonResourceURLs":["*"],"verbs":["get"]})", "get /anything", true},
        RuleRow{"ResourcesAreNoPaths", R"({"apiGroups":["*"],"resources":["*"],"verbs":["*"]})", "get /healthz", false},
        RuleRow{"PathsAreNoResources", R"({"nonResourceURLs":["*"],"verbs":["*"]})", "get core/pods default/p", false}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_P(RbacRules, AllowWhatUpstreamAllows) {
  RbacFixture f;
  f.cluster_role("r", "[" + std::string(GetParam().rule) + "]");
  f.bind("", "b", "ClusterRole", "r", kAlice);
  EXPECT_EQ(f.allowed(user("alice"), GetParam().asked), GetParam().allowed);
}

TEST(Rbac, ChangesCountAtOnce) {
  RbacFixture f;
  f.cluster_role("reader", kPodReader);
  EXPECT_FALSE(f.allowed(user("alice"), "get core/pods default/p"));
  f.bind("", "b", "ClusterRole", "reader", kAlice);
  EXPECT_TRUE(f.allowed(user("alice"), "get core/pods default/p"));
  ASSERT_TRUE(f.client().remove({}, kClusterRoleBindings, {"", "b"}, {}));
  f.executor().run_all();
  EXPECT_FALSE(f.allowed(user("alice"), "get core/pods default/p"));
}

TEST(Rbac, ASubjectTakenOutOfABindingLosesItsRights) {
  RbacFixture f;
  f.cluster_role("reader", kPodReader);
  f.bind("default", "b", "ClusterRole", "reader", kAlice);
  EXPECT_TRUE(f.allowed(user("alice"), "get core/pods default/p"));
  ASSERT_TRUE(f.client().patch({}, kRoleBindings, {"default", "b"}, client::PatchType::Merge,
                               json::parse(R"({"subjects":null})"), {}));
  f.executor().run_all();
  EXPECT_FALSE(f.allowed(user("alice"), "get core/pods default/p"));
  ASSERT_TRUE(f.client().remove({}, kRoleBindings, {"default", "b"}, {}));
  f.executor().run_all();
  EXPECT_FALSE(f.allowed(user("alice"), "get core/pods default/p"));
}

TEST(Rbac, AnAggregatedRoleGivesWhatItsPartsGiveNow) {
  RbacFixture f;
  f.create(
      kClusterRoles, "",
      R"({"metadata":{"name":"all"},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"part":"yes"}}]}})");
  f.bind("", "b", "ClusterRole", "all", kAlice);
  EXPECT_FALSE(f.allowed(user("alice"), "get core/pods default/p"));
  f.create(kClusterRoles, "", R"({"metadata":{"name":"part","labels":{"part":"yes"}},"rules":)" + kPodReader + "}");
  EXPECT_TRUE(f.allowed(user("alice"), "get core/pods default/p"));
  ASSERT_TRUE(f.client().patch({}, kClusterRoles, {"", "part"}, client::PatchType::Merge,
                               json::parse(R"({"metadata":{"labels":{"part":"no"}}})"), {}));
  f.executor().run_all();
  EXPECT_FALSE(f.allowed(user("alice"), "get core/pods default/p"));
}

TEST(Rbac, TheDefaultRolesGiveWhatUpstreamGives) {
  RbacFixture f;
  f.create(api::resources::kNamespaces, "", R"({"metadata":{"name":"kube-public"}})");
  ASSERT_TRUE(apply_bootstrap_policy({}, f.client(), f.executor()));
  f.bind("default", "b", "ClusterRole", "view", kAlice);
  f.bind("default", "c", "ClusterRole", "admin", R"({"kind":"User","name":"adam"})");
  const auth::User nobody{"system:anonymous", "", {"system:unauthenticated"}, {}};
  EXPECT_TRUE(f.allowed(nobody, "get /readyz"));
  EXPECT_FALSE(f.allowed(nobody, "get /metrics"));
  EXPECT_FALSE(f.allowed(nobody, "get /api"));
  EXPECT_TRUE(f.allowed(user("bob"), "get /apis/apps/v1"));
  EXPECT_TRUE(f.allowed(user("bob"), "create authorization.k8s.io/selfsubjectaccessreviews"));
  EXPECT_FALSE(f.allowed(user("bob"), "list core/pods default"));
  EXPECT_TRUE(f.allowed(user("alice"), "list core/pods default"));
  EXPECT_TRUE(f.allowed(user("alice"), "get core/pods/log default/p"));
  EXPECT_FALSE(f.allowed(user("alice"), "list core/secrets default"));
  EXPECT_FALSE(f.allowed(user("alice"), "create core/pods default"));
  EXPECT_TRUE(f.allowed(user("adam"), "create rbac.authorization.k8s.io/rolebindings default"));
  EXPECT_TRUE(f.allowed(user("adam"), "list core/pods default"));
  EXPECT_FALSE(f.allowed(user("adam"), "list core/pods kube-system"));
  EXPECT_TRUE(
      f.allowed(user("system:serviceaccount:kube-system:deployment-controller"), "create apps/replicasets default"));
  EXPECT_FALSE(f.allowed(user("system:serviceaccount:kube-system:deployment-controller"), "create core/pods default"));
  EXPECT_TRUE(f.allowed(user("system:kube-scheduler"), "create core/pods/binding default/p"));
  EXPECT_FALSE(f.allowed(user("system:node:n1", {"system:nodes"}), "list core/secrets default"));
}

}  // namespace
}  // namespace kubernel::apiserver
