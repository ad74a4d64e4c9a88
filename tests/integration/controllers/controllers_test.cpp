// SPDX-License-Identifier: Apache-2.0
//
// The controllers against the API server's own rules: defaults, validation, status subresources, finalizers, graceful
// deletion.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <kubernel/controller/conditions.h>

#include "control_plane.h"

namespace kubernel::integration {
namespace {

using namespace std::chrono_literals;
using api::Object;
using api::Value;
using client::Propagation;
namespace r = api::resources;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kDeployment = R"({
  "metadata": {"name": "web", "labels": {"app": "web"}},
  "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
           "template": {"metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{"name": "c", "image": "v1", "ports": [{"name": "http", "containerPort": 8080}]}]}}}})";

class Controllers : public ::testing::Test {
 protected:
  Controllers() { plane_.add_node("n1"); }

  Object web() { return *plane_.find(r::kDeployments, {"default", "web"}); }
  std::string condition(const Object& object, const char* type, const char* field = "status") {
    return std::string(controller::find_condition(object.pointer("/status/conditions"), type)[field].string());
  }
  std::int64_t size_of(const std::string& image) {
    for (const Object& set : plane_.list(r::kReplicaSets)) {
      if (set.pointer("/spec/template/spec/containers/0/image").string() == image)
        return set.pointer("/spec/replicas").integer();
    }
    return -1;
  }
  void set_image(const std::string& image) {
    auto document = web().to_json();
    document["spec"]["template"]["spec"]["containers"][0]["image"] = image;
    ASSERT_TRUE(plane_.api().update({}, r::kDeployments, web().key(), document, {}));
    plane_.settle();
  }
  std::int64_t revision() { return plane_.fixture().backend().stats({})->revision; }

  // Whatever a test does, no controller may lack a right: upstream's roles are what it gets in a real cluster.
  ~Controllers() override {
    for (const std::string& line : plane_.fixture().log().lines())
      EXPECT_THAT(line, ::testing::Not(::testing::HasSubstr("forbidden")));
  }

  ControlPlane plane_;
};

TEST_F(Controllers, AreAllReady) {
  EXPECT_EQ(plane_.manager().problem(), "");
}

TEST_F(Controllers, HaveTheRightsOfTheirRolesOnly) {
  const auto as = plane_.fixture().connector().connect({.name = "system:serviceaccount:kube-system:endpoint-controller",
                                                        .groups = {"system:serviceaccounts", "system:authenticated"}});
  EXPECT_TRUE(as->list({}, r::kServices, {}));
  const auto refused = as->list({}, r::kSecrets, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::Forbidden);
}

TEST_F(Controllers, BringADeploymentUp) {
  plane_.create(r::kDeployments, "default", kDeployment);
  plane_.play_until_quiet("n1");
  EXPECT_THAT(plane_.list(r::kPods), SizeIs(3));
  EXPECT_EQ(web().pointer("/status/availableReplicas").integer(), 3);
  EXPECT_EQ(condition(web(), "Available"), "True");
  EXPECT_EQ(condition(web(), "Progressing", "reason"), "NewReplicaSetAvailable");
  EXPECT_EQ(web().pointer("/status/observedGeneration").integer(), web().head().generation);
}

TEST_F(Controllers, ComeToRest) {
  plane_.create(r::kDeployments, "default", kDeployment);
  plane_.create(
      r::kServices, "default",
      R"({"metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"ports":[{"port":80,"targetPort":"http"}]}})");
  plane_.play_until_quiet("n1");
  const auto before = revision();
  for (int i = 0; i < 60; ++i) {
    plane_.advance(10s);
    plane_.renew("n1");
  }
  EXPECT_EQ(revision(), before + 60);  // The heartbeats, and nothing else.
}

TEST_F(Controllers, RollOutRollBackAndScale) {
  plane_.create(r::kDeployments, "default", kDeployment);
  plane_.play_until_quiet("n1");
  set_image("v2");
  plane_.play_until_quiet("n1");
  EXPECT_EQ(size_of("v1"), 0);
  EXPECT_EQ(size_of("v2"), 3);
  EXPECT_EQ(web().annotations()["deployment.kubernetes.io/revision"].string(), "2");
  set_image("v1");
  plane_.play_until_quiet("n1");
  EXPECT_EQ(size_of("v1"), 3);
  EXPECT_EQ(web().annotations()["deployment.kubernetes.io/revision"].string(), "3");
  EXPECT_THAT(plane_.list(r::kReplicaSets), SizeIs(2));
  plane_.patch(r::kDeployments, {"default", "web"}, R"({"spec":{"replicas":5}})");
  plane_.play_until_quiet("n1");
  EXPECT_THAT(plane_.list(r::kPods), SizeIs(5));
  EXPECT_EQ(condition(web(), "Progressing", "reason"), "NewReplicaSetAvailable");
}

TEST_F(Controllers, RemoveADeploymentWithAllThatIsItsOwn) {
  plane_.create(r::kDeployments, "default", kDeployment);
  plane_.play_until_quiet("n1");
  plane_.remove(r::kDeployments, {"default", "web"});
  plane_.play_until_quiet("n1");
  EXPECT_THAT(plane_.list(r::kReplicaSets), IsEmpty());
  EXPECT_THAT(plane_.list(r::kPods), IsEmpty());
}

TEST_F(Controllers, RemoveInTheForegroundFromTheLeavesUp) {
  plane_.create(r::kDeployments, "default", kDeployment);
  plane_.play_until_quiet("n1");
  plane_.remove(r::kDeployments, {"default", "web"}, Propagation::Foreground);
  EXPECT_TRUE(plane_.find(r::kDeployments, {"default", "web"}));  // Its pods still stop.
  plane_.play_until_quiet("n1");
  EXPECT_FALSE(plane_.find(r::kDeployments, {"default", "web"}));
  EXPECT_THAT(plane_.list(r::kPods), IsEmpty());
}

TEST_F(Controllers, LeaveOrphansAlone) {
  plane_.create(r::kDeployments, "default", kDeployment);
  plane_.play_until_quiet("n1");
  plane_.remove(r::kDeployments, {"default", "web"}, Propagation::Orphan);
  plane_.play_until_quiet("n1");
  EXPECT_FALSE(plane_.find(r::kDeployments, {"default", "web"}));
  ASSERT_THAT(plane_.list(r::kReplicaSets), SizeIs(1));
  EXPECT_FALSE(plane_.list(r::kReplicaSets).at(0).pointer("/metadata/ownerReferences"));
  EXPECT_THAT(plane_.list(r::kPods), SizeIs(3));
}

TEST_F(Controllers, PublishTheEndpointsOfAService) {
  plane_.create(
      r::kServices, "default",
      R"({"metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"ports":[{"port":80,"targetPort":"http"}]}})");
  plane_.create(r::kDeployments, "default", kDeployment);
  plane_.play_until_quiet("n1");
  const auto slices = plane_.list(r::kEndpointSlices, "default", "kubernetes.io/service-name=web");
  ASSERT_THAT(slices, SizeIs(1));
  EXPECT_EQ(slices.at(0)["endpoints"].size(), 3U);
  EXPECT_EQ(slices.at(0).pointer("/ports/0/port").integer(), 8080);
  EXPECT_TRUE(slices.at(0).pointer("/endpoints/0/conditions/ready").boolean());
  const auto endpoints = plane_.find(r::kEndpoints, {"default", "web"});
  ASSERT_TRUE(endpoints);
  EXPECT_EQ(endpoints->pointer("/subsets/0/addresses").size(), 3U);
  plane_.remove(r::kServices, {"default", "web"});
  EXPECT_FALSE(plane_.find(r::kEndpoints, {"default", "web"}));
  EXPECT_THAT(plane_.list(r::kEndpointSlices, "default", "kubernetes.io/service-name=web"), IsEmpty());
}

TEST_F(Controllers, FurnishANamespaceAndClearIt) {
  plane_.create(r::kNamespaces, "", R"({"metadata":{"name":"shop"}})");
  EXPECT_TRUE(plane_.find(r::kServiceAccounts, {"shop", "default"}));
  EXPECT_TRUE(plane_.find(r::kConfigMaps, {"shop", "kube-root-ca.crt"}));
  plane_.create(r::kDeployments, "shop", kDeployment);
  plane_.create(r::kSecrets, "shop", R"({"metadata":{"name":"s"}})");
  plane_.play_until_quiet("n1");
  plane_.remove(r::kNamespaces, {"", "shop"});
  EXPECT_EQ(plane_.find(r::kNamespaces, {"", "shop"})->pointer("/status/phase").string(), "Terminating");
  EXPECT_TRUE(plane_.find(r::kSecrets, {"shop", "s"}));  // Pods go first.
  for (int i = 0; i < 5; ++i) {
    plane_.play_until_quiet("n1");
    plane_.renew("n1");
    plane_.advance(20s);
  }
  EXPECT_FALSE(plane_.find(r::kNamespaces, {"", "shop"}));
  EXPECT_THAT(plane_.list(r::kPods, "shop"), IsEmpty());
  EXPECT_THAT(plane_.list(r::kSecrets, "shop"), IsEmpty());
}

TEST_F(Controllers, RunAJobToItsEnd) {
  plane_.create(r::kJobs, "default", R"({"metadata":{"name":"sum"},"spec":{"completions":2,"template":{"spec":{
      "restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}})");
  for (int i = 0; i < 2; ++i) {
    plane_.play_until_quiet("n1");
    for (const Object& pod : plane_.list(r::kPods)) {
      if (pod.pointer("/status/phase").string() == "Running") plane_.end_pod(pod, "Succeeded");
    }
  }
  const Object job = *plane_.find(r::kJobs, {"default", "sum"});
  EXPECT_EQ(condition(job, "Complete"), "True");
  EXPECT_EQ(job.pointer("/status/succeeded").integer(), 2);
  ASSERT_THAT(plane_.list(r::kPods), SizeIs(2));
  for (const Object& pod : plane_.list(r::kPods)) EXPECT_TRUE(pod.pointer("/metadata/finalizers").empty());
  plane_.remove(r::kJobs, {"default", "sum"});
  plane_.play_until_quiet("n1");
  EXPECT_THAT(plane_.list(r::kPods), IsEmpty());
}

TEST_F(Controllers, RunAnIndexedJob) {
  plane_.create(
      r::kJobs, "default",
      R"({"metadata":{"name":"sum"},"spec":{"completions":3,"parallelism":3,"completionMode":"Indexed","template":{"spec":{
      "restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}})");
  plane_.play_until_quiet("n1");
  for (const Object& pod : plane_.list(r::kPods)) plane_.end_pod(pod, "Succeeded");
  plane_.settle();
  const Object job = *plane_.find(r::kJobs, {"default", "sum"});
  EXPECT_EQ(job.pointer("/status/completedIndexes").string(), "0-2");
  EXPECT_EQ(condition(job, "Complete"), "True");
}

TEST_F(Controllers, MovePodsFromANodeThatFellSilent) {
  plane_.add_node("n2");
  plane_.create(r::kDeployments, "default", kDeployment);
  plane_.play_until_quiet("n1");
  for (int i = 0; i < 45; ++i) {
    plane_.renew("n2");
    plane_.advance(10s);
  }
  const Object silent = *plane_.find(r::kNodes, {"", "n1"});
  EXPECT_EQ(condition(silent, "Ready"), "Unknown");
  plane_.play_until_quiet("n2");
  int there = 0;
  for (const Object& pod : plane_.list(r::kPods)) {
    if (pod.pointer("/spec/nodeName").string() == "n2" && !pod.head().deleting) ++there;
  }
  EXPECT_EQ(there, 3);  // After the default toleration of 300 seconds.
  plane_.remove(r::kNodes, {"", "n1"});
  for (int i = 0; i < 6; ++i) {
    plane_.renew("n2");
    plane_.advance(10s);
  }
  EXPECT_THAT(plane_.list(r::kPods), SizeIs(3));
}

}  // namespace
}  // namespace kubernel::integration
