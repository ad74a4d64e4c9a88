// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/object.h>
#include <kubernel/api/views/apiextensions_v1.h>
#include <kubernel/api/views/apps_v1.h>
#include <kubernel/api/views/authorization_v1.h>
#include <kubernel/api/views/core_v1.h>
#include <kubernel/api/views/rbac_v1.h>

#include <gtest/gtest.h>

namespace kubernel::api {
namespace {

Object parse(const char* text) {
  auto object = Object::parse(text);
  EXPECT_TRUE(object) << object.error().message();
  return object ? *object : Object();
}

TEST(View, ReadsAPod) {
  const Object object =
      parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-0","labels":{"app":"web"}},"spec":{
      "nodeName":"n1","hostNetwork":true,"terminationGracePeriodSeconds":0,"nodeSelector":{"disk":"ssd"},
      "containers":[{"name":"a","image":"i","command":["sh","-c"],"resources":{"limits":{"cpu":"1"}},
                     "livenessProbe":{"httpGet":{"port":"http"}}},{"name":"b"}]},
      "status":{"podIPs":[{"ip":"10.0.0.1"}]}})");
  const core::v1::Pod pod(object);
  EXPECT_EQ(pod.metadata().name(), "web-0");
  EXPECT_EQ(pod.metadata().labels().find("app"), "web");
  EXPECT_FALSE(pod.metadata().labels().contains("tier"));
  EXPECT_EQ(pod.spec().node_name(), "n1");
  EXPECT_TRUE(pod.spec().host_network());
  EXPECT_EQ(pod.spec().termination_grace_period_seconds(), 0);
  EXPECT_FALSE(pod.spec().active_deadline_seconds());
  std::string seen;
  for (const auto container : pod.spec().containers()) {
    seen += std::string(container.name()) + "/" + std::string(container.image()) + ";";
  }
  EXPECT_EQ(seen, "a/i;b/;");
  const auto first = pod.spec().containers()[0];
  EXPECT_EQ(first.command()[1], "-c");
  EXPECT_EQ(first.resources().limits().find("cpu")->string(), "1");
  EXPECT_TRUE(first.liveness_probe());
  EXPECT_EQ(first.liveness_probe().http_get().port().string(), "http");
  EXPECT_FALSE(first.readiness_probe());
  EXPECT_EQ(pod.status().pod_ips()[0].ip(), "10.0.0.1");
  for (const auto entry : pod.spec().node_selector()) EXPECT_EQ(entry.value, "ssd") << entry.key;
}

TEST(View, OfWhatIsNotThereReadsAsEmptyAndUsesTheSchemasDefaults) {
  const core::v1::Pod pod{Value()};
  EXPECT_FALSE(pod);
  EXPECT_EQ(pod.spec().containers().size(), 0U);
  EXPECT_EQ(core::v1::RBDVolumeSource(Value()).pool(), "rbd");
}

TEST(View, CrossesPackagesAndKeywords) {
  const Object deployment =
      parse(R"({"spec":{"replicas":3,"selector":{"matchExpressions":[{"key":"a","operator":"In"}]},
      "template":{"spec":{"hostPID":true}}}})");
  const apps::v1::Deployment view(deployment);
  EXPECT_EQ(view.spec().replicas(), 3);
  EXPECT_EQ(view.spec().selector().match_expressions()[0].operator_(), "In");
  EXPECT_TRUE(view.spec().template_().spec().host_pid());
  const Object review = parse(R"({"spec":{"extra":{"scopes":["x","y"]}}})");
  for (const auto entry : authorization::v1::SubjectAccessReview(review).spec().extra()) EXPECT_EQ(entry.value[1], "y");
  const Object role = parse(R"({"rules":[{"verbs":["get"],"nonResourceURLs":["/healthz"]}]})");
  EXPECT_EQ(rbac::v1::ClusterRole(role).rules()[0].non_resource_urls()[0], "/healthz");
}

}  // namespace
}  // namespace kubernel::api
