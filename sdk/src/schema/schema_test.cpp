// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/schema.h>

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

namespace kubernel::schema {
namespace {

const Type& pod_spec() {
  return *find_type("k8s.io.api.core.v1.PodSpec");
}

TEST(Schema, HasAllTypesInOrderAndFindsEach) {
  EXPECT_EQ(types().size(), 928U);
  EXPECT_TRUE(std::is_sorted(types().begin(), types().end(), [](auto* a, auto* b) { return a->id < b->id; }));
  for (const Type* type : types()) EXPECT_EQ(find_type(type->id), type);
  EXPECT_EQ(find_type("k8s.io.api.core.v1.Nothing"), nullptr);
}

TEST(Schema, FindsEveryMemberOfEveryTypeByName) {
  for (const Type* type : types()) {
    for (const Field* member : type->members) {
      EXPECT_EQ(type->find(member->json), member) << type->id << " " << member->json;
      EXPECT_EQ(member->type != nullptr, member->kind == Kind::Struct || member->kind >= Kind::SchemaOrArray);
    }
    EXPECT_EQ(type->find("noSuchField"), nullptr);
    EXPECT_EQ(type->find(""), nullptr);
  }
}

TEST(Schema, ProtobufOrderAscends) {
  for (const Type* type : types()) {
    int last = 0;
    for (const std::uint8_t index : type->proto_order) {
      EXPECT_GT(type->fields[index].proto_number, last) << type->id;
      last = type->fields[index].proto_number;
    }
  }
}

TEST(Schema, KnowsWhatAFieldIs) {
  const Field* containers = pod_spec().find("containers");
  ASSERT_NE(containers, nullptr);
  EXPECT_EQ(containers->shape, Shape::List);
  EXPECT_EQ(containers->type, find_type("k8s.io.api.core.v1.Container"));
  EXPECT_EQ(containers->list_type, ListType::Map);
  EXPECT_EQ(containers->list_map_keys()[0], "name");
  EXPECT_EQ(containers->patch_strategy, PatchStrategy::Merge);
  EXPECT_EQ(containers->patch_merge_key, "name");
  EXPECT_TRUE(containers->required);
  EXPECT_TRUE(containers->enforced);
  EXPECT_EQ(containers->proto_number, 2);
  EXPECT_TRUE(pod_spec().find("nodeSelector")->map_atomic);
  const auto values = pod_spec().find("restartPolicy")->enum_values();
  EXPECT_EQ(std::set<std::string_view>(values.begin(), values.end()),
            (std::set<std::string_view>{"Always", "Never", "OnFailure"}));
  EXPECT_EQ(pod_spec().find("restartPolicy")->rules->named, "k8s.io.api.core.v1.RestartPolicy");
  EXPECT_EQ(find_type("k8s.io.api.core.v1.RBDVolumeSource")->find("pool")->default_json(), "\"rbd\"");
}

TEST(Schema, EmbeddedStructsAreSplicedInTheirPlace) {
  const Type& volume = *find_type("k8s.io.api.core.v1.Volume");
  EXPECT_EQ(volume.fields.size(), 2U);
  EXPECT_EQ(volume.members.front()->json, "name");
  EXPECT_EQ(volume.members[1]->json, "hostPath");
  const Type& pod = *find_type("k8s.io.api.core.v1.Pod");
  EXPECT_EQ(pod.members[0]->json, "kind");
  EXPECT_EQ(pod.members[1]->json, "apiVersion");
  EXPECT_EQ(pod.find("metadata")->type->name, "ObjectMeta");
}

TEST(Schema, FindsKindsAndResources) {
  const ResourceInfo* deployments = find_resource("apps", "v1", "deployments");
  ASSERT_NE(deployments, nullptr);
  EXPECT_EQ(deployments->type, find_kind("apps", "v1", "Deployment"));
  EXPECT_EQ(deployments, find_resource_by_kind("apps", "v1", "Deployment"));
  EXPECT_EQ(deployments->etcd_prefix, "/registry/deployments");
  EXPECT_EQ(deployments->short_names[0], "deploy");
  EXPECT_EQ(deployments->storage_version, "apps/v1");
  EXPECT_EQ(deployments->subresources[0].name, "scale");
  EXPECT_EQ(deployments->subresources[0].kind, "autoscaling/v1 Scale");
  EXPECT_TRUE(deployments->namespaced);
  EXPECT_TRUE(deployments->stored);
  EXPECT_FALSE(find_resource("authentication.k8s.io", "v1", "tokenreviews")->stored);
  EXPECT_EQ(find_resource("apps", "v1", "pods"), nullptr);
  EXPECT_EQ(find_kind("", "v1", "Nothing"), nullptr);
  for (const ResourceInfo& resource : resources()) {
    EXPECT_EQ(find_resource(resource.group, resource.version, resource.plural), &resource);
    EXPECT_TRUE(resource.type->root_kind) << resource.plural;
  }
}

TEST(Schema, FindsKindsOfMetaWhereTheyAreRegistered) {
  EXPECT_EQ(find_kind("", "v1", "Status")->id, "k8s.io.apimachinery.pkg.apis.meta.v1.Status");
  EXPECT_EQ(find_kind("meta.k8s.io", "v1", "Table")->name, "Table");
  EXPECT_EQ(find_kind("policy", "v1", "DeleteOptions")->name, "DeleteOptions");
  EXPECT_EQ(find_kind("apps", "v1", "WatchEvent")->name, "WatchEvent");
  EXPECT_EQ(find_kind("", "v1", "List")->id, "k8s.io.api.core.v1.List");
}

TEST(Schema, ListsGroupsInDiscoveryOrder) {
  ASSERT_EQ(groups().size(), 23U);
  EXPECT_EQ(groups()[0].group, "");
  EXPECT_EQ(groups()[1].group, "apiregistration.k8s.io");
  EXPECT_EQ(groups()[2].group, "apps");
  const auto autoscaling =
      std::find_if(groups().begin(), groups().end(), [](auto& g) { return g.group == "autoscaling"; });
  EXPECT_EQ(autoscaling->versions[0].version, "v2");
  EXPECT_TRUE(autoscaling->versions[0].enabled_by_default);
}

}  // namespace
}  // namespace kubernel::schema
