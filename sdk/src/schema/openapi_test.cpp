// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/openapi.h>

#include <gmock/gmock.h>
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
  EXPECT_EQ(patch["x-kubernetes-group-version-kind"],
            (json{{"group", "apps"}, {"version", "v1"}, {"kind", "Deployment"}}));
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
  EXPECT_EQ(scale["x-kubernetes-group-version-kind"],
            (json{{"group", "autoscaling"}, {"version", "v1"}, {"kind", "Scale"}}));
}

std::vector<const ResourceInfo*> all_ga() {
  std::vector<const ResourceInfo*> out;
  for (const ResourceInfo& info : resources()) {
    if (info.ga) out.push_back(&info);
  }
  return out;
}

TEST(OpenApi, OperationsHaveUpstreamsIds) {
  const json core = document("", "v1");
  const auto id = [&](const char* path, const char* method) { return core["paths"][path][method]["operationId"]; };
  EXPECT_EQ(id("/api/v1/pods", "get"), "listCoreV1PodForAllNamespaces");
  EXPECT_EQ(id("/api/v1/namespaces/{namespace}/pods", "delete"), "deleteCoreV1CollectionNamespacedPod");
  EXPECT_EQ(id("/api/v1/namespaces/{namespace}/pods/{name}/status", "put"), "replaceCoreV1NamespacedPodStatus");
  EXPECT_EQ(id("/api/v1/nodes/{name}", "get"), "readCoreV1Node");
  const json rbac = document("rbac.authorization.k8s.io", "v1");
  const json& roles = rbac["paths"]["/apis/rbac.authorization.k8s.io/v1/clusterroles"]["post"];
  EXPECT_EQ(roles["operationId"], "createRbacAuthorizationV1ClusterRole");
  EXPECT_EQ(roles["tags"], json::array({"rbacAuthorization_v1"}));
}

TEST(OpenApiV2, EveryReferenceLeadsSomewhere) {
  const std::string text = openapi_v2(all_ga(), OpenApiForm::Json);
  const json whole = json::parse(text);
  EXPECT_EQ(text.find("#/components"), std::string::npos);
  EXPECT_EQ(text.find(R"("oneOf":[)"), std::string::npos);
  constexpr std::string_view kPrefix = "#/definitions/";
  std::size_t count = 0;
  for (auto at = text.find(kPrefix); at != std::string::npos; at = text.find(kPrefix, at + 1), ++count) {
    const auto begin = at + kPrefix.size();
    const std::string name = text.substr(begin, text.find('"', begin) - begin);
    EXPECT_TRUE(whole["definitions"].contains(name)) << name;
  }
  EXPECT_GT(count, 1000U);
}

TEST(OpenApiV2, SchemasKeepWhatClientsReadThemFor) {
  const json whole = json::parse(openapi_v2(all_ga(), OpenApiForm::Json));
  EXPECT_EQ(whole["swagger"], "2.0");
  const json& definitions = whole["definitions"];
  const json& pod = definitions["io.k8s.api.core.v1.Pod"];
  EXPECT_EQ(pod["x-kubernetes-group-version-kind"], json::parse(R"([{"group":"","version":"v1","kind":"Pod"}])"));
  EXPECT_EQ(pod["properties"]["spec"]["$ref"], "#/definitions/io.k8s.api.core.v1.PodSpec");
  const json& containers = definitions["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
  EXPECT_EQ(containers["x-kubernetes-patch-strategy"], "merge");
  EXPECT_EQ(containers["x-kubernetes-patch-merge-key"], "name");
  // The way a $ref merges stands beside it.
  const json& strategy = definitions["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
  EXPECT_EQ(strategy["x-kubernetes-patch-strategy"], "retainKeys");
  EXPECT_EQ(strategy["$ref"], "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy");
  const json& port = definitions["io.k8s.api.core.v1.ServicePort"]["properties"]["targetPort"];
  EXPECT_EQ(port["type"], "string");
  EXPECT_EQ(port["format"], "int-or-string");
  const json& limits = definitions["io.k8s.api.core.v1.ResourceRequirements"]["properties"]["limits"];
  EXPECT_EQ(limits["additionalProperties"]["type"], "string");
}

TEST(OpenApiV2, OperationsHaveFlatParametersAndABody) {
  const json whole = json::parse(openapi_v2(all_ga(), OpenApiForm::Json));
  const json& post = whole["paths"]["/api/v1/namespaces/{namespace}/pods"]["post"];
  EXPECT_EQ(post["parameters"][0]["name"], "body");
  EXPECT_EQ(post["parameters"][0]["schema"]["$ref"], "#/definitions/io.k8s.api.core.v1.Pod");
  EXPECT_EQ(post["parameters"][1],
            (json{{"name", "dryRun"}, {"in", "query"}, {"type", "string"}, {"uniqueItems", true}}));
  EXPECT_EQ(post["responses"]["200"]["schema"]["$ref"], "#/definitions/io.k8s.api.core.v1.Pod");
  const json& patch = whole["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
  EXPECT_THAT(patch["consumes"], ::testing::Contains("application/strategic-merge-patch+json"));
}

// One message of the wire format, enough of it to look inside.
class Message {
 public:
  explicit Message(std::string_view bytes) : rest_(bytes) {}

  std::vector<std::string_view> all(std::uint32_t number) const {
    std::vector<std::string_view> out;
    std::string_view rest = rest_;
    while (!rest.empty()) {
      const std::uint64_t tag = varint(rest);
      const std::uint64_t value = varint(rest);
      if ((tag & 7) == 0) continue;
      EXPECT_EQ(tag & 7, 2U);
      if ((tag & 7) != 2 || value > rest.size()) break;
      if (tag >> 3 == number) out.push_back(rest.substr(0, value));
      rest.remove_prefix(value);
    }
    return out;
  }
  std::string_view one(std::uint32_t number) const {
    const auto found = all(number);
    return found.empty() ? std::string_view() : found.front();
  }
  Message in(std::uint32_t number) const { return Message(one(number)); }
  /// Of messages with a name (1) and a value (2): the value of that name.
  Message named(std::uint32_t number, std::string_view name) const {
    for (const std::string_view entry : all(number)) {
      if (Message(entry).one(1) == name) return Message(Message(entry).one(2));
    }
    ADD_FAILURE() << "nothing is named " << name;
    return Message({});
  }

 private:
  static std::uint64_t varint(std::string_view& rest) {
    std::uint64_t out = 0;
    for (int shift = 0; !rest.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest.front());
      rest.remove_prefix(1);
      out |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) break;
    }
    return out;
  }

  std::string_view rest_;
};

TEST(OpenApiV2, TheProtobufFormSaysTheSame) {
  const json whole = json::parse(openapi_v2(all_ga(), OpenApiForm::Json));
  const std::string bytes = openapi_v2(all_ga(), OpenApiForm::Protobuf);
  const Message document(bytes);
  EXPECT_EQ(document.one(1), "2.0");
  EXPECT_EQ(document.in(2).one(1), "Kubernetes");
  EXPECT_EQ(document.in(8).all(2).size(), whole["paths"].size());
  EXPECT_EQ(document.in(9).all(1).size(), whole["definitions"].size());

  const Message pod_spec = document.in(9).named(1, "io.k8s.api.core.v1.PodSpec");
  EXPECT_EQ(pod_spec.one(19), "containers");
  const Message containers = pod_spec.in(25).named(1, "containers");
  EXPECT_EQ(containers.in(22).one(1), "array");
  EXPECT_EQ(containers.in(23).in(1).one(1), "#/definitions/io.k8s.api.core.v1.Container");
  EXPECT_EQ(containers.named(31, "x-kubernetes-patch-merge-key").one(2), "\"name\"\n");
  const Message limits = document.in(9).named(1, "io.k8s.api.core.v1.ResourceRequirements").in(25).named(1, "limits");
  EXPECT_EQ(limits.in(21).in(1).in(22).one(1), "string");

  const Message patch = document.in(8).named(2, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}").in(8);
  EXPECT_EQ(patch.one(5), "patchAppsV1NamespacedDeployment");
  EXPECT_EQ(json::parse(patch.named(13, "x-kubernetes-group-version-kind").one(2))["kind"], "Deployment");
  bool dry = false;
  for (const std::string_view parameter : patch.all(8)) {
    dry = dry || Message(parameter).in(1).in(2).in(3).one(4) == "dryRun";
  }
  EXPECT_TRUE(dry);
}

TEST(OpenApi, NamesFollowTheGoPackages) {
  EXPECT_EQ(openapi_name(*find_type("k8s.io.api.core.v1.Pod")), "io.k8s.api.core.v1.Pod");
  const Type* crd = find_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
  EXPECT_EQ(openapi_name(*crd), "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition");
}

}  // namespace
}  // namespace kubernel::schema
