// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/object.h>

#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

namespace kubernel::api {
namespace {

constexpr const char* kPod =
    R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-0","namespace":"shop","uid":"u1","resourceVersion":"42",)"
    R"("generation":3,"deletionTimestamp":"2026-01-02T03:04:05Z","labels":{"app":"web"},"ownerReferences":[)"
    R"({"uid":"o1"},{"uid":"o2","controller":true}]},"spec":{"nodeName":"n1"},"unknown":{"kept":true}})";

Object parse(std::string text) {
  auto object = Object::parse(std::move(text));
  EXPECT_TRUE(object) << object.error().message();
  return object ? *object : Object();
}

TEST(Object, KnowsItsHead) {
  const Object pod = parse(kPod);
  EXPECT_EQ(pod.head().gvk, (GroupVersionKind{"", "v1", "Pod"}));
  EXPECT_EQ(pod.key(), (ObjectKey{"shop", "web-0"}));
  EXPECT_EQ(pod.uid(), "u1");
  EXPECT_EQ(pod.head().resource_version, 42);
  EXPECT_EQ(pod.head().generation, 3);
  EXPECT_TRUE(pod.head().deleting);
  EXPECT_EQ(pod.head().controller_uid, "o2");
}

TEST(Object, KeepsItsTextAndUnknownFields) {
  const Object pod = parse(kPod);
  EXPECT_EQ(pod.json(), kPod);
  EXPECT_TRUE(pod["unknown"]["kept"].boolean());
  EXPECT_EQ(pod.pointer("/spec/nodeName").string(), "n1");
  EXPECT_EQ(pod.labels()["app"].string(), "web");
  EXPECT_FALSE(pod.annotations());
}

TEST(Object, WithGivesADifferentObjectAndLeavesThisOneAlone) {
  const Object pod = parse(kPod);
  const auto changed = pod.with([](nlohmann::json& document) { document["metadata"]["name"] = "web-1"; });
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->name(), "web-1");
  EXPECT_EQ(pod.name(), "web-0");
  EXPECT_FALSE(changed->same_as(pod));
  EXPECT_TRUE(Object(pod).same_as(pod));
}

TEST(Object, MetadataOfAWrongTypeIsInvalidAndNamesTheField) {
  for (const auto& [text, field] :
       {std::pair{R"({"metadata":{"name":7}})", "metadata.name"}, std::pair{R"({"metadata":[]})", "metadata"},
        std::pair{R"({"metadata":{"labels":"x"}})", "metadata.labels"},
        std::pair{R"({"metadata":{"generation":"1"}})", "metadata.generation"}, std::pair{R"({"kind":{}})", "kind"}}) {
    const auto object = Object::parse(text);
    ASSERT_FALSE(object) << text;
    EXPECT_EQ(object.error().reason(), Reason::Invalid);
    ASSERT_NE(object.error().details(), nullptr);
    EXPECT_EQ(object.error().details()->causes.at(0).field, field);
  }
}

TEST(Object, NullMembersOfMetadataReadAsAbsent) {
  const Object object = parse(R"({"metadata":{"name":null,"labels":null,"ownerReferences":null,"generation":null}})");
  EXPECT_EQ(object.name(), "");
  EXPECT_FALSE(object.head().deleting);
}

TEST(Object, MalformedTextAndOtherThanAnObjectAreBadRequests) {
  for (const char* text : {"", "{", "[]", "3", "null"}) {
    const auto object = Object::parse(text);
    ASSERT_FALSE(object) << text;
    EXPECT_EQ(object.error().reason(), Reason::BadRequest);
  }
}

TEST(Object, OneThatHoldsNothingReadsAsEmpty) {
  const Object none;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.name(), "");
  EXPECT_EQ(none.json(), "");
  EXPECT_FALSE(none.body());
}

TEST(ObjectKey, ReadsBackWhatItWrites) {
  for (const ObjectKey& key : {ObjectKey{"shop", "web"}, ObjectKey{"", "node-1"}}) {
    EXPECT_EQ(parse_object_key(to_string(key)), key);
  }
}

TEST(Resource, IsWrittenAsUpstreamsGroupResource) {
  EXPECT_EQ(to_string(resources::kPods), "pods");
  EXPECT_EQ(to_string(resources::kDeployments), "deployments.apps");
  EXPECT_EQ(make_gvk("apps/v1", "Deployment").api_version(), "apps/v1");
  EXPECT_EQ(make_gvk("v1", "Pod").group, "");
}

}  // namespace
}  // namespace kubernel::api
