// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/builders/apps_v1.h>
#include <kubernel/api/builders/core_v1.h>

#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

namespace kubernel::api {
namespace {

TEST(Builder, WritesAPod) {
  nlohmann::json document;
  core::v1::PodBuilder pod(document);
  pod.metadata().set_name("web-0").put_labels("app", "web").add_finalizers("a/b");
  auto container = pod.spec().set_node_name("n1").set_host_network(true).add_containers();
  container.set_name("web").add_command("sh").add_command("-c");
  container.add_ports().set_container_port(80);
  container.resources().put_limits("cpu", "500m");
  container.liveness_probe().http_get().set_port("http");
  container.readiness_probe().tcp_socket().set_port(80);
  pod.spec().add_containers().set_name("second");
  EXPECT_EQ(document, nlohmann::json::parse(R"({"apiVersion":"v1","kind":"Pod",
      "metadata":{"name":"web-0","labels":{"app":"web"},"finalizers":["a/b"]},
      "spec":{"nodeName":"n1","hostNetwork":true,"containers":[{"name":"web","command":["sh","-c"],"ports":[{"containerPort":80}],
        "resources":{"limits":{"cpu":"500m"}},"livenessProbe":{"httpGet":{"port":"http"}},
        "readinessProbe":{"tcpSocket":{"port":80}}},{"name":"second"}]}})"));
}

TEST(Builder, KeepsWhatTheDocumentHas) {
  auto document =
      nlohmann::json::parse(R"({"metadata":{"name":"a","labels":{"x":"y"}},"spec":{"replicas":1},"own":true})");
  apps::v1::DeploymentBuilder deployment(document);
  deployment.metadata().put_labels("x", "z").put_labels("b", "c");
  deployment.spec().set_replicas(0);
  EXPECT_EQ(document, nlohmann::json::parse(R"({"apiVersion":"apps/v1","kind":"Deployment","own":true,
      "metadata":{"name":"a","labels":{"x":"z","b":"c"}},"spec":{"replicas":0}})"));
}

}  // namespace
}  // namespace kubernel::api
