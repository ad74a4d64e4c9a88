// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/openapi.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kubernel::schema {
namespace {

using nlohmann::json;

json document(std::string_view group, std::string_view version) {
  std::vector<const ResourceInfo*> served;
  for (const ResourceInfo& info : resources()) {
    if (info.group == group && info.version == version) served.push_back(&info);
  }
  return json::parse(openapi_v3(group, version, served));
}

// kubectl looks for a PATCH operation of the kind that takes fieldValidation before it creates anything.
TEST(OpenApi, PatchOperationsTakeFieldValidation) {
  const json apps = document("apps", "v1");
  const json& patch = apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
  EXPECT_EQ(patch["x-kubernetes-group-version-kind"], (json{{"group", "apps"}, {"version", "v1"}, {"kind", "Deployment"}}));
  bool found = false;
  for (const json& parameter : patch["parameters"]) found = found || parameter["name"] == "fieldValidation";
  EXPECT_TRUE(found);
}

TEST(OpenApi, EveryReferenceLeadsSomewhere) {
  for (const GroupInfo& group : groups()) {
    for (const GroupVersionInfo& version : group.versions) {
      const json whole = document(group.group, version.version);
      const std::string text = whole.dump();
      constexpr std::string_view kPrefix = "#/components/schemas/";
      for (auto at = text.find(kPrefix); at != std::string::npos; at = text.find(kPrefix, at + 1)) {
        const auto begin = at + kPrefix.size();
        const std::string name = text.substr(begin, text.find('"', begin) - begin);
        EXPECT_TRUE(whole["components"]["schemas"].contains(name)) << name;
      }
    }
  }
}

TEST(OpenApi, ListsSayHowTheyMerge) {
  const json core = document("", "v1");
  const json& containers = core["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
  EXPECT_EQ(containers["x-kubernetes-patch-strategy"], "merge");
  EXPECT_EQ(containers["x-kubernetes-patch-merge-key"], "name");
  EXPECT_EQ(containers["x-kubernetes-list-map-keys"], json::array({"name"}));
  EXPECT_EQ(containers["items"]["$ref"], "#/components/schemas/io.k8s.api.core.v1.Container");
}

TEST(OpenApi, RequiredFieldsAndOwnFormsAreKept) {
  const json core = document("", "v1");
  const json& schemas = core["components"]["schemas"];
  EXPECT_EQ(schemas["io.k8s.api.core.v1.Container"]["required"], json::array({"name"}));
  const json& limits = schemas["io.k8s.api.core.v1.ResourceRequirements"]["properties"]["limits"];
  EXPECT_TRUE(limits["additionalProperties"].contains("oneOf"));
  EXPECT_EQ(schemas["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
}

TEST(OpenApi, ASubresourceOfAnotherGroupSaysSo) {
  const json apps = document("apps", "v1");
  const json& scale = apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["put"];
  EXPECT_EQ(scale["x-kubernetes-group-version-kind"], (json{{"group", "autoscaling"}, {"version", "v1"}, {"kind", "Scale"}}));
}

TEST(OpenApi, NamesFollowTheGoPackages) {
  EXPECT_EQ(openapi_name(*find_type("k8s.io.api.core.v1.Pod")), "io.k8s.api.core.v1.Pod");
  const Type* crd = find_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
  EXPECT_EQ(openapi_name(*crd), "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition");
}

}  // namespace
}  // namespace kubernel::schema
