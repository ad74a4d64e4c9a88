// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/codec.h>

#include <gtest/gtest.h>

namespace kubernel::schema {
namespace {

using nlohmann::json;

const Type& type_of(std::string_view group, std::string_view kind) {
  return *find_kind(group, "v1", kind);
}

json decode(std::string_view group, std::string_view kind, std::string_view text) {
  auto decoded = decode_json(type_of(group, kind), text, Strictness::Strict);
  EXPECT_TRUE(decoded) << decoded.error().message();
  return decoded ? decoded->document : json();
}

struct Refused {
  const char* kind;
  const char* text;
  const char* error;
};
class RefusedTexts : public testing::TestWithParam<Refused> {};
TEST_P(RefusedTexts, HaveUpstreamsError) {
  const auto& row = GetParam();
  const std::string_view group = std::string_view(row.kind) == "Deployment" ? "apps" : "";
  const auto decoded = decode_json(type_of(group, row.kind), row.text, Strictness::Strict);
  ASSERT_FALSE(decoded) << row.text;
  EXPECT_EQ(decoded.error().reason(), Reason::BadRequest);
  EXPECT_EQ(decoded.error().message(), row.error);
}
INSTANTIATE_TEST_SUITE_P(
    Decode, RefusedTexts,
    testing::Values(
        Refused{"Deployment", R"({"spec":{"replicas":"3"}})",
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"},
        Refused{"Deployment", R"({"spec":{"replicas":1.5}})",
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"},
        Refused{
            "Deployment", R"({"spec":{"replicas":2147483648}})",
            "json: cannot unmarshal number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32"},
        Refused{"Deployment", R"({"spec":{"template":{"spec":{"containers":[{"env":[{"name":"a","value":1}]}]}}}})",
                "json: cannot unmarshal number into Go struct field "
                "EnvVar.spec.template.spec.containers.env.value of type string"},
        Refused{"Pod", R"({"spec":{"containers":{}}})",
                "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"},
        Refused{"Pod", R"({"spec":[]})",
                "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"},
        Refused{"Pod", R"({"metadata":{"labels":{"a":true}}})",
                "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string"},
        Refused{
            "Pod", R"({"spec":{"restartPolicy":1}})",
            "json: cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy"},
        Refused{"Pod", R"([])", "json: cannot unmarshal array into Go value of type v1.Pod"},
        Refused{"Pod", R"({"spec":{"hostNetwork":1}} x)", "invalid character 'x' after top-level value"},
        Refused{"Pod", R"({"spec":{)", "unexpected end of JSON input"},
        Refused{"Secret", R"({"data":{"a":"a b"}})", "illegal base64 data at input byte 1"},
        Refused{"Secret", R"({"data":{"a":"YQ="}})", "illegal base64 data at input byte 3"},
        Refused{"Pod", R"({"spec":{"foo":1,"containers":[{"bar":{}}],"nodeName":"a","nodeName":"b"},"x":1})",
                "strict decoding error: unknown field \"spec.foo\", unknown field \"spec.containers[0].bar\", "
                "duplicate field \"spec.nodeName\", unknown field \"x\""},
        Refused{"Pod", R"({"metadata":{"labels":{"a":"1","a":"2"}}})",
                "strict decoding error: duplicate field \"metadata.labels.a\""}));

TEST(Decode, DropsUnknownFieldsAndReportsThemUnlessTheyAreIgnored) {
  const char* text = R"({"kind":"Pod","nope":1,"spec":{"nodeName":"n","Nodename":"m"}})";
  const auto warned = decode_json(type_of("", "Pod"), text, Strictness::Warn);
  ASSERT_TRUE(warned);
  EXPECT_EQ(warned->document.dump(), R"({"kind":"Pod","spec":{"nodeName":"n"}})");
  EXPECT_EQ(warned->warnings, (std::vector<std::string>{"unknown field \"nope\"", "unknown field \"spec.Nodename\""}));
  const auto ignored = decode_json(type_of("", "Pod"), text, Strictness::Ignore);
  ASSERT_TRUE(ignored);
  EXPECT_TRUE(ignored->warnings.empty());
  EXPECT_EQ(ignored->document, warned->document);
}

TEST(Decode, NullMeansAbsentAndZeroInLists) {
  EXPECT_EQ(
      decode("", "Pod", R"({"spec":{"nodeName":null,"containers":null,"volumes":[null]},"metadata":null})").dump(),
      R"({"spec":{"volumes":[{}]}})");
  EXPECT_EQ(decode("", "ConfigMap", R"({"data":{"a":null}})").dump(), R"({"data":{"a":""}})");
}

TEST(Decode, BringsQuantitiesTimesAndBytesIntoTheirCanonicalForm) {
  EXPECT_EQ(
      decode("", "Pod", R"({"metadata":{"creationTimestamp":"2026-01-02T03:04:05.678+01:00"},
      "spec":{"overhead":{"cpu":0.5,"memory":"1024Mi"}}})")
          .dump(),
      R"({"metadata":{"creationTimestamp":"2026-01-02T02:04:05Z"},"spec":{"overhead":{"cpu":"500m","memory":"1Gi"}}})");
  EXPECT_EQ(decode("", "Secret", "{\"data\":{\"a\":\"YWJj\\nZGVm\"}}").dump(), R"({"data":{"a":"YWJjZGVm"}})");
}

TEST(Decode, TakesBothFormsOfIntOrString) {
  EXPECT_EQ(decode("", "Service", R"({"spec":{"ports":[{"targetPort":80},{"targetPort":"http"}]}})").dump(),
            R"({"spec":{"ports":[{"targetPort":80},{"targetPort":"http"}]}})");
}

TEST(Decode, KeepsWhatIsAnyJson) {
  EXPECT_EQ(decode("apps", "ControllerRevision", R"({"data":{"spec":{"x":[1,2.5,null]}},"revision":3})").dump(),
            R"({"data":{"spec":{"x":[1,2.5,null]}},"revision":3})");
}

TEST(Decode, ReadsTheAlternativeFormsOfSchemas) {
  const Type& schema = *find_type("k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
  const char* text =
      R"({"additionalProperties":false,"dependencies":{"a":["b"],"c":{"type":"string"}},)"
      R"("items":{"type":"object"},"not":{"items":[{"type":"string"}]},"x-kubernetes-int-or-string":true})";
  const auto decoded = decode_json(schema, text, Strictness::Strict);
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(decoded->document, json::parse(text));
  EXPECT_EQ(json::parse(encode_json(schema, decoded->document)), json::parse(text));
}

TEST(Decode, RefusesTooDeepNestingAlsoBelowUnknownFields) {
  std::string deep = R"({"unknown":)" + std::string(600, '[') + std::string(600, ']') + "}";
  EXPECT_EQ(decode_json(type_of("", "Pod"), deep, Strictness::Ignore).error().message(), "exceeded max depth");
}

TEST(Encode, WritesMembersInGosOrderAndFollowsItsOmissionRules) {
  EXPECT_EQ(
      encode_json(type_of("apps", "Deployment"), json::object()),
      R"({"metadata":{},"spec":{"selector":null,"template":{"metadata":{},"spec":{"containers":null}},"strategy":{}},"status":{}})");
  EXPECT_EQ(
      encode_json(type_of("", "Service"), json::parse(R"({"spec":{"ports":[{"port":80}],"selector":{}},"kind":"Service",
      "apiVersion":"v1","metadata":{"name":"a<b","labels":{"b":"2","a":"1"},"annotations":{}}})")),
      R"({"kind":"Service","apiVersion":"v1","metadata":{"name":"a\u003cb","labels":{"a":"1","b":"2"}},)"
      R"("spec":{"ports":[{"port":80,"targetPort":0}]},"status":{"loadBalancer":{}}})");
  EXPECT_EQ(encode_json(type_of("rbac.authorization.k8s.io", "ClusterRole"), json::parse(R"({"rules":[]})")),
            R"({"metadata":{},"rules":[]})");
}

TEST(Encode, KeepsPointersToZeroAndDropsPlainZeroes) {
  EXPECT_EQ(encode_json(
                *find_type("k8s.io.api.core.v1.PodSpec"),
                json::parse(R"({"containers":[],"terminationGracePeriodSeconds":0,"hostNetwork":false,"priority":0})")),
            R"({"containers":[],"terminationGracePeriodSeconds":0,"priority":0})");
}

}  // namespace
}  // namespace kubernel::schema
