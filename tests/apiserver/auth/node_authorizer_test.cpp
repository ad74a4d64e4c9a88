// SPDX-License-Identifier: Apache-2.0
#include "auth/node_authorizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "auth_fixture.h"

namespace kubernel::apiserver {
namespace {

using ::testing::HasSubstr;
using namespace api::resources;

const auth::User kNode = AuthFixture::user("system:node:n1", {"system:nodes"});

/// Node n1 runs pod p, which refers to what is called "mine"; node n2 runs q, which refers to what is called "other".
class Nodes : public AuthFixture {
 public:
  Nodes() {
    for (const char* name : {"n1", "n2"}) create(kNodes, "", R"({"metadata":{"name":")" + std::string(name) + R"("}})");
    for (const char* name : {"mine", "env", "pull", "other"}) {
      for (const api::Resource& resource : {kSecrets, kConfigMaps}) {
        create(resource, "default", R"({"metadata":{"name":")" + std::string(name) + R"("}})");
      }
    }
    create(kServiceAccounts, "default", R"({"metadata":{"name":"robot"}})");
    create(
        kPods, "default",
        R"({"metadata":{"name":"p"},"spec":{"nodeName":"n1","serviceAccountName":"robot","imagePullSecrets":[{"name":"pull"}],
      "containers":[{"name":"c","image":"busybox","envFrom":[{"secretRef":{"name":"env"}}],
        "env":[{"name":"X","valueFrom":{"configMapKeyRef":{"name":"env","key":"k"}}}]}],
      "volumes":[{"name":"s","secret":{"secretName":"mine"}},{"name":"m","configMap":{"name":"mine"}},
        {"name":"d","persistentVolumeClaim":{"claimName":"mine"}}]}})");
    create(kPods, "default",
           R"({"metadata":{"name":"q"},"spec":{"nodeName":"n2","containers":[{"name":"c","image":"busybox"}],
      "volumes":[{"name":"s","secret":{"secretName":"other"}},{"name":"d","persistentVolumeClaim":{"claimName":"other"}}]}})");
    for (const char* name : {"mine", "other"}) {
      create(kPersistentVolumes, "",
             R"({"metadata":{"name":"pv-)" + std::string(name) +
                 R"("},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/x"},
                 "claimRef":{"namespace":"default","name":")" +
                 name + R"("}}})");
    }
  }

  auth::Decision ask(const std::string& verb, const std::string& resource, const std::string& place,
                     const std::string& fields = "") {
    auth::Attributes a;
    a.user = kNode;
    a.verb = verb;
    const std::size_t slash = resource.find('/');
    a.group = resource.substr(0, slash) == "core" ? "" : resource.substr(0, slash);
    a.resource = resource.substr(slash + 1);
    if (const std::size_t sub = a.resource.find('/'); sub != std::string::npos) {
      a.subresource = a.resource.substr(sub + 1);
      a.resource.resize(sub);
    }
    const std::size_t name = place.find('/');
    a.ns = place.substr(0, name);
    if (name != std::string::npos) a.name = place.substr(name + 1);
    a.field_selector = *api::FieldSelector::parse(fields);
    auto decision = nodes_.authorize({}, a);
    if (!decision) throw std::runtime_error(decision.error().message());
    return *decision;
  }

 private:
  NodeAuthorizer nodes_{api()};
};

struct Row {
  const char* name;
  const char* verb;
  const char* resource;
  const char* place;  // "NS/NAME"; cluster-scoped: "/NAME".
  const char* fields;
  bool allowed;
};
class NodeRules : public ::testing::TestWithParam<Row> {};

// plugin/pkg/auth/authorizer/node/node_authorizer.go
INSTANTIATE_TEST_SUITE_P(
    All, NodeRules,
    ::testing::Values(Row{"ASecretOfItsPod", "get", "core/secrets", "default/mine", "", true},
                      Row{"ASecretInTheEnvironment", "get", "core/secrets", "default/env", "", true},
                      Row{"APullSecret", "get", "core/secrets", "default/pull", "", true},
                      Row{"WatchesOneSecret", "watch", "core/secrets", "default/", "metadata.name=mine", true},
                      Row{"AnotherNodesSecret", "get", "core/secrets", "default/other", "", false},
                      Row{"TheSameNameElsewhere", "get", "core/secrets", "kube-system/mine", "", false},
                      Row{"AllSecrets", "list", "core/secrets", "default/", "", false},
                      Row{"AllSecretsOfAll", "list", "core/secrets", "", "", false},
                      Row{"WritesASecret", "update", "core/secrets", "default/mine", "", false},
                      Row{"AConfigMapOfItsPod", "get", "core/configmaps", "default/mine", "", true},
                      Row{"AConfigMapInTheEnvironment", "get", "core/configmaps", "default/env", "", true},
                      Row{"AnotherConfigMap", "get", "core/configmaps", "default/other", "", false},
                      Row{"AClaimOfItsPod", "get", "core/persistentvolumeclaims", "default/mine", "", true},
                      Row{"AnotherClaim", "get", "core/persistentvolumeclaims", "default/other", "", false},
                      Row{"AVolumeOfItsClaim", "get", "core/persistentvolumes", "/pv-mine", "", true},
                      Row{"AnotherVolume", "get", "core/persistentvolumes", "/pv-other", "", false},
                      Row{"ATokenOfItsPodsAccount", "create", "core/serviceaccounts/token", "default/robot", "", true},
                      Row{"ATokenOfAnother", "create", "core/serviceaccounts/token", "kube-system/default", "", false},
                      Row{"ItsOwnNode", "get", "core/nodes", "/n1", "", true},
                      Row{"WatchesItsOwnNode", "watch", "core/nodes", "", "metadata.name=n1", true},
                      Row{"AnotherNode", "get", "core/nodes", "/n2", "", false},
                      Row{"DeletesItsNode", "delete", "core/nodes", "/n1", "", false},
                      Row{"ItsPods", "list", "core/pods", "", "spec.nodeName=n1", true},
                      Row{"AnotherNodesPods", "list", "core/pods", "", "spec.nodeName=n2", false},
                      Row{"AllPods", "watch", "core/pods", "", "", false},
                      Row{"APodOfItsOwn", "get", "core/pods", "default/p", "", true},
                      Row{"AnotherNodesPod", "get", "core/pods", "default/q", "", false},
                      Row{"APodsStatus", "patch", "core/pods/status", "default/p", "", true},
                      Row{"AnExec", "create", "core/pods/exec", "default/p", "", false},
                      Row{"ItsLease", "update", "coordination.k8s.io/leases", "kube-node-lease/n1", "", true},
                      Row{"AnotherLease", "update", "coordination.k8s.io/leases", "kube-node-lease/n2", "", false},
                      Row{"ALeaseElsewhere", "get", "coordination.k8s.io/leases", "kube-system/n1", "", false},
                      Row{"ItsCsiNode", "get", "storage.k8s.io/csinodes", "/n1", "", true},
                      Row{"AnotherCsiNode", "get", "storage.k8s.io/csinodes", "/n2", "", false},
                      Row{"Services", "list", "core/services", "", "", true},
                      Row{"Events", "create", "core/events", "default/", "", true},
                      Row{"Deployments", "list", "apps/deployments", "", "", false}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_P(NodeRules, ANodeMayDoWhatConcernsIt) {
  Nodes f;
  const Row& row = GetParam();
  EXPECT_EQ(f.ask(row.verb, row.resource, row.place, row.fields).allowed, row.allowed);
}

TEST(NodeAuthorizer, TheRefusalSaysWhy) {
  Nodes f;
  const auto got = f.as(kNode)->get({}, kSecrets, {"default", "other"}, "");
  ASSERT_FALSE(got);
  EXPECT_EQ(
      got.error().message(),
      R"(secrets "other" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group "" in the namespace "default": no relationship found between node 'n1' and this object)");
}

TEST(NodeAuthorizer, APodThatIsGoneTakesItsSecretsAway) {
  Nodes f;
  EXPECT_TRUE(f.ask("get", "core/secrets", "default/mine").allowed);
  client::DeleteOptions now;
  now.grace_period_seconds = 0;
  ASSERT_TRUE(f.client().remove({}, kPods, {"default", "p"}, now));
  f.executor().run_all();
  EXPECT_FALSE(f.ask("get", "core/secrets", "default/mine").allowed);
}

TEST(NodeAuthorizer, APodBoundAMomentAgoCounts) {
  Nodes f;
  EXPECT_FALSE(f.ask("get", "core/secrets", "kube-system/late").allowed);
  f.create(kPods, "kube-system",
           R"({"metadata":{"name":"r"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"busybox"}],
    "volumes":[{"name":"s","secret":{"secretName":"late"}}]}})");
  EXPECT_TRUE(f.ask("get", "core/secrets", "kube-system/late").allowed);
}

TEST(NodeAuthorizer, OnlyMembersOfTheGroupAreNodes) {
  EXPECT_EQ(node_name(AuthFixture::user("system:node:n1")), "");
  EXPECT_EQ(node_name(AuthFixture::user("alice", {"system:nodes"})), "");
  EXPECT_EQ(node_name(kNode), "n1");
}

TEST(NodeAuthorizer, ANodeGetsTokensForItsPodsOnly) {
  Nodes f;
  const auto request = [&](const std::string& spec) {
    client::WriteOptions options;
    options.subresource = "token";
    return AuthFixture::problem(f.as(kNode)->create({}, kServiceAccounts, {"default", "robot"},
                                                    json::parse(R"({"spec":)" + spec + "}"), options));
  };
  const std::string uid = f.client().get({}, kPods, {"default", "p"}, "")->uid();
  EXPECT_EQ(request(R"({"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p","uid":")" + uid + R"("}})"), "");
  EXPECT_THAT(request(R"({"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p"}})"), HasSubstr("without a uid"));
  EXPECT_THAT(request("{}"), HasSubstr("node requested token not bound to a pod"));
}

}  // namespace
}  // namespace kubernel::apiserver
