// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/object.h>
#include <kubernel/schema/codec.h>

#include <gtest/gtest.h>

namespace kubernel::schema {
namespace {

using nlohmann::json;
using std::string_literals::operator""s;

std::shared_ptr<const api::Document> parse(std::string text) {
  auto document = api::Document::parse(std::move(text));
  EXPECT_TRUE(document);
  return document ? *document : nullptr;
}

std::string message_of(const Type& type, std::string text) {
  auto message = encode_message(type, parse(std::move(text))->root());
  EXPECT_TRUE(message) << message.error().message();
  return message ? *message : "";
}

json round_trip(const Type& type, const char* text) {
  auto decoded = decode_message(type, message_of(type, text));
  EXPECT_TRUE(decoded) << decoded.error().message();
  return decoded ? *decoded : json();
}

TEST(Protobuf, WritesTheEnvelope) {
  const auto bytes = encode_protobuf(parse(R"({"apiVersion":"v1","kind":"Namespace"})")->root());
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->substr(0, 21), "k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace"s);
  EXPECT_EQ(bytes->substr(bytes->size() - 4), "\x1a\0\"\0"s);
  const auto decoded = decode_protobuf(*bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->document["kind"], "Namespace");
}

TEST(Protobuf, WritesPlainZeroesAndNoAbsentPointers) {
  // metav1.OwnerReference: kind 1, name 3, uid 4, apiVersion 5 are plain; controller 6 and blockOwnerDeletion 7 are
  // pointers.
  const Type& owner = *find_type("k8s.io.apimachinery.pkg.apis.meta.v1.OwnerReference");
  EXPECT_EQ(message_of(owner, R"({"kind":"A","controller":false})"),
            "\x0a\x01"
            "A\x1a\0\"\0*\0"
            "0\0"s);
}

TEST(Protobuf, KeepsNegativeNumbersAndTimesBeforeTheEpoch) {
  EXPECT_EQ(
      round_trip(*find_type("k8s.io.api.core.v1.PodSpec"), R"({"priority":-5,"activeDeadlineSeconds":-9})")["priority"],
      -5);
  const json meta = round_trip(*find_type("k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
                               R"({"creationTimestamp":"1969-12-31T23:59:59Z","deletionTimestamp":null})");
  EXPECT_EQ(meta.dump(), R"({"creationTimestamp":"1969-12-31T23:59:59Z"})");
}

TEST(Protobuf, KeepsSchemasOfCustomResources) {
  const Type& schema = *find_type("k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
  const char* text =
      R"({"additionalProperties":{"type":"string"},"additionalItems":false,"default":{"a":[1,null]},)"
      R"("dependencies":{"a":["b"],"c":{"type":"string"}},"items":{"type":"object"},"not":{"items":[{"type":"x"}]},)"
      R"("maximum":1.5,"minLength":0,"nullable":true})";
  EXPECT_EQ(round_trip(schema, text), json::parse(text));
}

TEST(Protobuf, ListsAreSplicedFromMessages) {
  const auto pod = encode_protobuf(parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}})")->root());
  ASSERT_TRUE(pod);
  const std::string_view message = *protobuf_message(*pod);
  const std::string_view items[] = {message, message};
  const auto spliced = encode_protobuf_list("v1", "PodList", parse(R"({"resourceVersion":"7"})")->root(), items);
  const auto whole = encode_protobuf(parse(R"({"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"7"},
                                             "items":[{"metadata":{"name":"a"}},{"metadata":{"name":"a"}}]})")
                                         ->root());
  ASSERT_TRUE(whole);
  EXPECT_TRUE(spliced == *whole);
}

TEST(Protobuf, AWatchEventCarriesTheObjectWithItsEnvelope) {
  const std::string event = encode_watch_event("ADDED", "k8s\0x"s);
  EXPECT_EQ(event,
            "\x0a\x05"
            "ADDED\x12\x07\x0a\x05k8s\0x"s);
}

TEST(Protobuf, ReadsPackedNumbersAndSkipsUnknownFields) {
  const Type& context = *find_type("k8s.io.api.core.v1.PodSecurityContext");
  // supplementalGroups is 4; 99 is not a field.
  const auto decoded = decode_message(context, "\"\x03\x01\xac\x02\x9a\x06\x01x"s);
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(decoded->dump(), R"({"supplementalGroups":[1,300]})");
}

TEST(Protobuf, RefusesWhatIsMalformed) {
  for (const auto& [bytes, error] :
       {std::pair{""s, "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"},
        std::pair{"{}"s, "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"},
        std::pair{"k8s\0\x0a\x09\x0a\x02v1\x12\x03"
                  "Foo"s,
                  "no kind \"Foo\" is registered for version \"v1\""},
        std::pair{"k8s\0\x0a\xff"s, "proto: malformed message Unknown"},
        std::pair{"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x02\x0a\x05"s, "proto: malformed message Pod"},
        std::pair{"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x02\x08\x01"s,
                  "proto: wrong wireType = 0 for field metadata"},
        std::pair{"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x05\x0a\x03\x0a\x01\xff"s,
                  "proto: malformed message name"}}) {
    const auto decoded = decode_protobuf(bytes);
    ASSERT_FALSE(decoded);
    EXPECT_EQ(decoded.error().reason(), Reason::BadRequest);
    EXPECT_EQ(decoded.error().message(), error);
  }
}

TEST(Protobuf, RefusesSchemasThatNestTooDeep) {
  const Type& schema = *find_type("k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
  const std::uint32_t number = schema.find("not")->proto_number;
  std::string message;
  for (int i = 0; i < 2000; ++i) {
    std::string outer;
    for (const std::uint64_t part : {std::uint64_t{number} << 3 | 2, std::uint64_t{message.size()}}) {
      std::uint64_t rest = part;
      for (; rest >= 0x80; rest >>= 7) outer.push_back(static_cast<char>(rest | 0x80));
      outer.push_back(static_cast<char>(rest));
    }
    message = outer + message;
  }
  const auto decoded = decode_message(schema, message);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().message(), "exceeded max depth");
}

TEST(Protobuf, KindsWithoutAFormAreNotAcceptable) {
  EXPECT_EQ(encode_message(*find_kind("meta.k8s.io", "v1", "Table"), api::Value()).error().reason(),
            Reason::NotAcceptable);
  EXPECT_EQ(encode_protobuf(parse(R"({"apiVersion":"example.com/v1","kind":"Foo"})")->root()).error().reason(),
            Reason::NotAcceptable);
}

TEST(Protobuf, AnObjectMakesItsFormOnceAndSharesIt) {
  const auto object = api::Object::parse(R"({"apiVersion":"v1","kind":"Secret","data":{"a":"YQ=="}})");
  ASSERT_TRUE(object);
  const auto first = object->protobuf();
  const auto second = api::Object(*object).protobuf();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->get(), second->get());
  EXPECT_FALSE(api::Object::parse(R"({"apiVersion":"a.b/v1","kind":"Foo"})")->protobuf());
}

}  // namespace
}  // namespace kubernel::schema
