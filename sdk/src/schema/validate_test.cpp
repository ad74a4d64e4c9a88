// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/codec.h>

#include <tuple>

#include <gtest/gtest.h>

namespace kubernel::schema {
namespace {

std::string problems(std::string_view group, std::string_view kind, const char* text) {
  std::vector<Cause> causes;
  validate(*find_kind(group, "v1", kind), nlohmann::json::parse(text), causes);
  std::string all;
  for (const Cause& cause : causes) all += cause.field + ": " + cause.message + " (" + cause.reason + ")\n";
  return all;
}

TEST(Validate, NamesEveryWrongFieldInOrder) {
  EXPECT_EQ(
      problems("", "Pod", R"({"spec":{"volumes":[{"name":"v"},{}],"containers":[
        {"name":"a","ports":[{"containerPort":1,"protocol":"tcp"}],"env":[{"value":"x"}]},{"name":"a"}],
        "restartPolicy":"Sometimes"}})"),
      "spec.volumes[1].name: Required value (FieldValueRequired)\n"
      "spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\" "
      "(FieldValueNotSupported)\n"
      "spec.containers[0].env[0].name: Required value (FieldValueRequired)\n"
      "spec.containers[1].name: Duplicate value: \"a\" (FieldValueDuplicate)\n"
      "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\" "
      "(FieldValueNotSupported)\n");
}

TEST(Validate, WhatRequiredStructsRequireIsMissingWithThem) {
  EXPECT_EQ(problems("apps", "Deployment", R"({"metadata":{"name":"a"},"spec":{}})"),
            "spec.selector: Required value (FieldValueRequired)\n"
            "spec.template.spec.containers: Required value (FieldValueRequired)\n");
}

TEST(Validate, ChecksBounds) {
  EXPECT_EQ(problems("", "ReplicationController",
                     R"({"spec":{"replicas":-1,"template":{"spec":{"containers":[{"name":"a"}]}}}})"),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0 (FieldValueInvalid)\n");
}

TEST(Validate, ChecksFormatsAndUnions) {
  EXPECT_EQ(problems("resource.k8s.io", "ResourceSlice",
                     R"({"spec":{"driver":"d","pool":{"name":"p"},"nodeName":"n","allNodes":true}})"),
            "spec: Invalid value: \"{nodeName, allNodes}\": must specify exactly one of: `nodeName`, `allNodes` "
            "(FieldValueInvalid)\n");
  const std::string wrong = problems("node.k8s.io", "RuntimeClass", R"({"handler":"A_b"})");
  EXPECT_EQ(wrong.substr(0, 37), "handler: Invalid value: \"A_b\": a lowe") << wrong;
}

TEST(Validate, TwoMountsAtOnePathAreInvalid) {
  EXPECT_EQ(
      problems("", "Pod", R"({"spec":{"containers":[{"name":"a","volumeMounts":[{"name":"x","mountPath":"/a"},
                     {"name":"y","mountPath":"/a"}]}]}})"),
      "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique (FieldValueInvalid)\n");
}

TEST(Validate, TakesWhatUpstreamTakes) {
  for (const auto& [group, kind, text] :
       {std::tuple{"", "Pod", R"({"spec":{"containers":[{"name":"a","env":[{"name":"x"},{"name":"x"}],
                               "ports":[{"containerPort":80},{"containerPort":80}]}],"imagePullSecrets":[{},{}]}})"},
        std::tuple{"", "Node", R"({"status":{"nodeInfo":{},"conditions":[{}],"addresses":[{"type":"InternalIP"}]}})"},
        std::tuple{"", "Event", R"({"involvedObject":{}})"},
        std::tuple{"rbac.authorization.k8s.io", "ClusterRole", R"({"rules":null})"},
        std::tuple{"discovery.k8s.io", "EndpointSlice", R"({"addressType":"IPv4","endpoints":null})"},
        std::tuple{"", "Secret", R"({})"}, std::tuple{"", "Service", R"({})"},
        std::tuple{"", "ServiceAccount", R"({})"}, std::tuple{"coordination.k8s.io", "Lease", R"({})"},
        std::tuple{"", "Namespace", R"({})"}, std::tuple{"", "Node", R"({})"}, std::tuple{"", "Status", R"({})"},
        std::tuple{"policy", "PodDisruptionBudget", R"({})"}, std::tuple{"", "ResourceQuota", R"({})"},
        std::tuple{"networking.k8s.io", "NetworkPolicy", R"({})"},
        std::tuple{"storage.k8s.io", "CSINode", R"({"spec":{"drivers":null}})"},
        std::tuple{"apps", "Deployment", R"({"spec":{"selector":{},"template":{"spec":{"containers":[{"name":"a"}]}}},
                                        "status":{"conditions":[{"type":""}]}})"}}) {
    EXPECT_EQ(problems(group, kind, text), "") << kind << " " << text;
  }
}

}  // namespace
}  // namespace kubernel::schema
