// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/patch.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kubernel::schema {
namespace {

using nlohmann::json;

struct Row {
  const char* rule;
  const char* type;
  const char* document;
  const char* patch;
  const char* expected;
};

class StrategicMerge : public ::testing::TestWithParam<Row> {};

TEST_P(StrategicMerge, FollowsTheRule) {
  const Type* type = find_type(std::string("k8s.io.api.") + GetParam().type);
  ASSERT_NE(type, nullptr);
  const auto patched =
      apply_strategic_merge_patch(*type, json::parse(GetParam().document), json::parse(GetParam().patch));
  ASSERT_TRUE(patched) << patched.error().message();
  EXPECT_EQ(*patched, json::parse(GetParam().expected)) << GetParam().rule;
}

INSTANTIATE_TEST_SUITE_P(
    Rules, StrategicMerge,
    ::testing::Values(
        Row{"scalars are replaced, null removes", "core.v1.PodSpec", R"({"nodeName":"a","hostname":"h"})",
            R"({"nodeName":"b","hostname":null})", R"({"nodeName":"b"})"},
        Row{"containers merge by name", "core.v1.PodSpec",
            R"({"containers":[{"name":"a","image":"1"},{"name":"b","image":"1"}]})",
            R"({"containers":[{"name":"b","image":"2"},{"name":"c","image":"3"}]})",
            R"({"containers":[{"name":"a","image":"1"},{"name":"b","image":"2"},{"name":"c","image":"3"}]})"},
        Row{"$patch delete removes an element", "core.v1.PodSpec", R"({"containers":[{"name":"a"},{"name":"b"}]})",
            R"({"containers":[{"name":"a","$patch":"delete"}]})", R"({"containers":[{"name":"b"}]})"},
        Row{"$patch replace replaces the list", "core.v1.PodSpec", R"({"containers":[{"name":"a"},{"name":"b"}]})",
            R"({"containers":[{"$patch":"replace"},{"name":"z"}]})", R"({"containers":[{"name":"z"}]})"},
        Row{"tolerations have no merge strategy: replaced", "core.v1.PodSpec", R"({"tolerations":[{"key":"a"}]})",
            R"({"tolerations":[{"key":"b"}]})", R"({"tolerations":[{"key":"b"}]})"},
        Row{"container ports merge by containerPort", "core.v1.Container",
            R"({"ports":[{"containerPort":80,"name":"x"}]})",
            R"({"ports":[{"containerPort":80,"protocol":"TCP"},{"containerPort":81}]})",
            R"({"ports":[{"containerPort":80,"name":"x","protocol":"TCP"},{"containerPort":81}]})"},
        Row{"service ports merge by port", "core.v1.ServiceSpec", R"({"ports":[{"port":80,"name":"x"}]})",
            R"({"ports":[{"port":80,"name":"y"}]})", R"({"ports":[{"port":80,"name":"y"}]})"},
        Row{"pod conditions merge by type", "core.v1.PodStatus",
            R"({"conditions":[{"type":"Ready","status":"False"},{"type":"X","status":"True"}]})",
            R"({"conditions":[{"type":"Ready","status":"True"}]})",
            R"({"conditions":[{"type":"Ready","status":"True"},{"type":"X","status":"True"}]})"},
        Row{"$setElementOrder orders what it names", "core.v1.PodSpec",
            R"({"containers":[{"name":"a"},{"name":"b"},{"name":"c"}]})",
            R"({"$setElementOrder/containers":[{"name":"c"},{"name":"a"}]})",
            R"({"containers":[{"name":"b"},{"name":"c"},{"name":"a"}]})"},
        Row{"the server's own elements keep their place", "core.v1.PodSpec",
            R"({"containers":[{"name":"s"},{"name":"a"}]})",
            R"({"$setElementOrder/containers":[{"name":"a"},{"name":"n"}],"containers":[{"name":"n"}]})",
            R"({"containers":[{"name":"s"},{"name":"a"},{"name":"n"}]})"},
        Row{"$retainKeys drops the rest", "apps.v1.DeploymentSpec",
            R"({"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}})",
            R"({"strategy":{"$retainKeys":["type"],"type":"Recreate"}})", R"({"strategy":{"type":"Recreate"}})"},
        Row{"a $patch replace on a map", "core.v1.PodSpec", R"({"nodeSelector":{"a":"1"}})",
            R"({"nodeSelector":{"$patch":"replace","b":"2"}})", R"({"nodeSelector":{"b":"2"}})"},
        Row{"maps of strings merge", "core.v1.PodSpec", R"({"nodeSelector":{"a":"1","c":"3"}})",
            R"({"nodeSelector":{"b":"2","c":null}})", R"({"nodeSelector":{"a":"1","b":"2"}})"},
        Row{"nulls and directives of a new value are dropped", "core.v1.PodSpec", "{}",
            R"({"securityContext":{"runAsUser":1,"fsGroup":null}})", R"({"securityContext":{"runAsUser":1}})"}));

TEST(StrategicMergePatch, FinalizersAreASetAndCanBeDeletedByValue) {
  const Type* meta = find_type("k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta");
  ASSERT_NE(meta, nullptr);
  const auto patched = apply_strategic_merge_patch(
      *meta, json::parse(R"({"finalizers":["a","b"]})"),
      json::parse(R"({"$deleteFromPrimitiveList/finalizers":["a"],"finalizers":["b","c"]})"));
  ASSERT_TRUE(patched) << patched.error().message();
  EXPECT_EQ(*patched, json::parse(R"({"finalizers":["b","c"]})"));
}

TEST(StrategicMergePatch, OwnerReferencesMergeByUid) {
  const Type* meta = find_type("k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta");
  const auto patched =
      apply_strategic_merge_patch(*meta, json::parse(R"({"ownerReferences":[{"uid":"1","name":"x"}]})"),
                                  json::parse(R"({"ownerReferences":[{"uid":"1","$patch":"delete"},{"uid":"2"}]})"));
  ASSERT_TRUE(patched);
  EXPECT_EQ(*patched, json::parse(R"({"ownerReferences":[{"uid":"2"}]})"));
}

TEST(StrategicMergePatch, AnElementWithoutItsMergeKeyIsRefused) {
  const auto patched = apply_strategic_merge_patch(*find_type("k8s.io.api.core.v1.PodSpec"), json::parse("{}"),
                                                   json::parse(R"({"containers":[{"image":"x"}]})"));
  ASSERT_FALSE(patched);
  EXPECT_EQ(patched.error().reason(), Reason::BadRequest);
  EXPECT_NE(patched.error().message().find("does not contain declared merge key: name"), std::string::npos);
}

TEST(JsonPatch, FailsOnAMissingParent) {
  const auto patched =
      apply_json_patch(json::parse("{}"), json::parse(R"([{"op":"add","path":"/metadata/labels/a","value":"b"}])"));
  ASSERT_FALSE(patched);
  EXPECT_EQ(patched.error().reason(), Reason::Invalid);
}

TEST(JsonPatch, AppliesAllOperationsOrNone) {
  const json document = json::parse(R"({"a":1})");
  EXPECT_EQ(
      *apply_json_patch(document,
                        json::parse(R"([{"op":"test","path":"/a","value":1},{"op":"replace","path":"/a","value":2}])")),
      json::parse(R"({"a":2})"));
  EXPECT_FALSE(apply_json_patch(
      document, json::parse(R"([{"op":"replace","path":"/a","value":2},{"op":"test","path":"/a","value":1}])")));
}

TEST(JsonPatch, AFailureNamesTheOperationAndItsPath) {
  const json document = json::parse(R"({"a":1})");
  const auto failure = [&](const char* patch) {
    return apply_json_patch(document, json::parse(patch)).error().message();
  };
  const std::string start = "the server rejected our request due to an error in our request: ";
  EXPECT_EQ(failure(R"([{"op":"add","path":"/b","value":1},{"op":"test","path":"/a","value":2}])"),
            start + "testing value /a failed: test failed");
  EXPECT_EQ(failure(R"([{"op":"remove","path":"/c"}])"),
            start + "remove operation does not apply: doc is missing path: \"/c\": missing value");
  EXPECT_EQ(failure(R"([{"op":"move","from":"/c","path":"/b"}])"),
            start + "move operation does not apply: doc is missing path: \"/c\": missing value");
}

TEST(JsonPatch, AMalformedPatchIsABadRequest) {
  for (const char* patch : {R"({"op":"add"})", R"([{"op":"fly","path":"/a"}])", R"([{"path":"/a"}])"}) {
    const auto patched = apply_json_patch(json::parse("{}"), json::parse(patch));
    ASSERT_FALSE(patched) << patch;
    EXPECT_EQ(patched.error().reason(), Reason::BadRequest) << patch;
  }
}

TEST(MergePatch, NullRemovesAndTheDifferenceIsSmallest) {
  const json before = json::parse(R"({"a":{"b":1,"c":2},"d":[1]})");
  const json after = json::parse(R"({"a":{"b":1},"d":[2],"e":true})");
  const json patch = make_merge_patch(before, after);
  EXPECT_EQ(patch, json::parse(R"({"a":{"c":null},"d":[2],"e":true})"));
  EXPECT_EQ(*apply_merge_patch(before, patch), after);
}

}  // namespace
}  // namespace kubernel::schema
