// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.h"

namespace kubernel::apiserver {
namespace {

using ::testing::HasSubstr;

Result<api::Object> bind(Fixture& f, const std::string& pod, const std::string& node) {
  return f.client().create({}, api::resources::kPods, {"default", pod},
                           json{{"metadata", {{"name", pod}}}, {"target", {{"kind", "Node"}, {"name", node}}}},
                           {.subresource = "binding"});
}

TEST(Pods, ANewPodIsPendingAndHasAnAccountATokenAPriorityAndTolerations) {
  Fixture f;
  const auto pod = f.create(api::resources::kPods, "default", kPod);
  EXPECT_EQ(pod["status"]["phase"].string(), "Pending");
  EXPECT_EQ(pod["status"]["qosClass"].string(), "BestEffort");
  EXPECT_EQ(pod["spec"]["serviceAccountName"].string(), "default");
  EXPECT_THAT(std::string(pod.pointer("/spec/volumes/0/name").string()), HasSubstr("kube-api-access-"));
  EXPECT_EQ(pod.pointer("/spec/containers/0/volumeMounts/0/mountPath").string(),
            "/var/run/secrets/kubernetes.io/serviceaccount");
  EXPECT_EQ(pod["spec"]["priority"].kind(), api::Value::Kind::Integer);
  EXPECT_EQ(pod["spec"]["tolerations"].size(), 2U);
  EXPECT_EQ(pod["spec"]["restartPolicy"].string(), "Always");
}

TEST(Pods, TheQosClassFollowsRequestsAndLimits) {
  Fixture f;
  const auto guaranteed = f.create(api::resources::kPods, "default",
                                   R"({"metadata":{"name":"g"},"spec":{"containers":[{"name":"c","image":"i",
    "resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]}})");
  EXPECT_EQ(guaranteed["status"]["qosClass"].string(), "Guaranteed");
  const auto burstable = f.create(api::resources::kPods, "default",
                                  R"({"metadata":{"name":"b"},"spec":{"containers":[{"name":"c","image":"i",
    "resources":{"requests":{"cpu":"1"}}}]}})");
  EXPECT_EQ(burstable["status"]["qosClass"].string(), "Burstable");
}

TEST(Pods, APodOfAMissingAccountIsForbidden) {
  Fixture f;
  const auto pod =
      f.client().create({}, api::resources::kPods, {"default", ""}, json::parse(R"({"metadata":{"name":"p"},"spec":{
    "serviceAccountName":"nobody","containers":[{"name":"c","image":"i"}]}})"),
                        {});
  ASSERT_FALSE(pod);
  EXPECT_EQ(
      pod.error().message(),
      R"(pods "p" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found)");
}

TEST(Pods, BindingHappensOnce) {
  Fixture f;
  f.create(api::resources::kPods, "default", kPod);
  const auto bound = bind(f, "p", "n1");
  ASSERT_TRUE(bound) << bound.error().message();
  EXPECT_EQ((*bound)["kind"].string(), "Status");
  const auto pod = f.client().get({}, api::resources::kPods, {"default", "p"}, "");
  EXPECT_EQ((*pod)["spec"]["nodeName"].string(), "n1");
  EXPECT_EQ(pod->pointer("/status/conditions/0/type").string(), "PodScheduled");
  const auto again = bind(f, "p", "n2");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason(), Reason::Conflict);
  EXPECT_THAT(again.error().message(), HasSubstr(R"(pod p is already assigned to node "n1")"));
}

TEST(Pods, PodsOfOneNodeAreSelectedByField) {
  Fixture f;
  f.create(api::resources::kPods, "default", kPod);
  ASSERT_TRUE(bind(f, "p", "n1"));
  EXPECT_EQ(f.client().list({}, api::resources::kPods, {.field_selector = "spec.nodeName=n1"})->items.size(), 1U);
  EXPECT_TRUE(f.client().list({}, api::resources::kPods, {.field_selector = "spec.nodeName=n2"})->items.empty());
}

TEST(Pods, ABoundPodIsDeletedGracefullyAndGoesWhenTheNodeSaysSo) {
  Fixture f;
  f.create(api::resources::kPods, "default", kPod);
  ASSERT_TRUE(bind(f, "p", "n1"));
  const auto removed = f.client().remove({}, api::resources::kPods, {"default", "p"}, {});
  ASSERT_TRUE(removed);
  EXPECT_EQ((*removed)["metadata"]["deletionGracePeriodSeconds"].integer(), 30);
  EXPECT_EQ((*removed)["metadata"]["deletionTimestamp"].string(), "2026-01-01T00:00:30Z");
  const auto shorter = f.client().remove({}, api::resources::kPods, {"default", "p"}, {.grace_period_seconds = 5});
  ASSERT_TRUE(shorter);
  EXPECT_EQ((*shorter)["metadata"]["deletionTimestamp"].string(), "2026-01-01T00:00:05Z");
  const auto longer = f.client().remove({}, api::resources::kPods, {"default", "p"}, {.grace_period_seconds = 60});
  ASSERT_TRUE(longer);
  EXPECT_EQ((*longer)["metadata"]["deletionGracePeriodSeconds"].integer(), 5);
  ASSERT_TRUE(f.client().remove({}, api::resources::kPods, {"default", "p"}, {.grace_period_seconds = 0}));
  EXPECT_FALSE(f.client().get({}, api::resources::kPods, {"default", "p"}, ""));
}

TEST(Pods, AnUnboundPodGoesAtOnce) {
  Fixture f;
  f.create(api::resources::kPods, "default", kPod);
  ASSERT_TRUE(f.client().remove({}, api::resources::kPods, {"default", "p"}, {}));
  EXPECT_FALSE(f.client().get({}, api::resources::kPods, {"default", "p"}, ""));
}

TEST(Pods, OnlyTheImageAndAFewFieldsMayChange) {
  Fixture f;
  const auto pod = f.create(api::resources::kPods, "default", kPod);
  json changed = pod.to_json();
  changed["spec"]["containers"][0]["image"] = "other";
  ASSERT_TRUE(f.client().update({}, api::resources::kPods, pod.key(), changed, {}));
  changed = f.client().get({}, api::resources::kPods, pod.key(), "")->to_json();
  changed["spec"]["containers"][0]["command"] = json::array({"sh"});
  const auto refused = f.client().update({}, api::resources::kPods, pod.key(), changed, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::Invalid);
  EXPECT_THAT(refused.error().message(), HasSubstr("spec: Forbidden: pod updates may not change fields other than"));
}

TEST(Pods, EvictionRespectsTheDisruptionBudget) {
  Fixture f;
  f.create(api::resources::kPods, "default",
           R"({"metadata":{"name":"p","labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  ASSERT_TRUE(bind(f, "p", "n1"));
  ASSERT_TRUE(f.client().patch({}, api::resources::kPods, {"default", "p"}, client::PatchType::Merge,
                               json::parse(R"({"status":{"phase":"Running"}})"), {.subresource = "status"}));
  const api::Resource budgets{"policy", "v1", "poddisruptionbudgets"};
  f.create(budgets, "default",
           R"({"metadata":{"name":"b"},"spec":{"minAvailable":1,"selector":{"matchLabels":{"app":"x"}}}})");
  const auto status = [&](int allowed) {
    return f.client().patch({}, budgets, {"default", "b"}, client::PatchType::Merge,
                            json{{"status",
                                  {{"observedGeneration", 1},
                                   {"disruptionsAllowed", allowed},
                                   {"currentHealthy", 1},
                                   {"desiredHealthy", 1},
                                   {"expectedPods", 1}}}},
                            {.subresource = "status"});
  };
  const auto evict = [&] {
    return f.client().create({}, api::resources::kPods, {"default", "p"}, json{{"metadata", {{"name", "p"}}}},
                             {.subresource = "eviction"});
  };
  ASSERT_TRUE(status(0));
  const auto refused = evict();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::TooManyRequests);
  EXPECT_EQ(refused.error().message(), "Cannot evict pod as it would violate the pod's disruption budget.");
  ASSERT_TRUE(status(1));
  const auto allowed = evict();
  ASSERT_TRUE(allowed) << allowed.error().message();
  EXPECT_TRUE(f.client().get({}, api::resources::kPods, {"default", "p"}, "")->head().deleting);
}

TEST(Pods, EveryWrongFieldIsNamed) {
  Fixture f;
  const auto pod = f.client().create({}, api::resources::kPods, {"default", ""},
                                     json::parse(R"({"metadata":{"name":"p"},"spec":{"containers":[
    {"name":"Bad","image":"i","volumeMounts":[{"name":"gone","mountPath":"/x"}]},{"name":"ok"}]}})"),
                                     {});
  ASSERT_FALSE(pod);
  ASSERT_NE(pod.error().details(), nullptr);
  std::vector<std::string> fields;
  for (const Cause& cause : pod.error().details()->causes) fields.push_back(cause.field);
  EXPECT_THAT(fields, ::testing::IsSupersetOf({"spec.containers[0].name", "spec.containers[0].volumeMounts[0].name",
                                               "spec.containers[1].image"}));
}

}  // namespace
}  // namespace kubernel::apiserver
