// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/value.h>

#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

namespace kubernel::api {
namespace {

std::shared_ptr<const Document> parse(std::string text) {
  auto document = Document::parse(std::move(text));
  EXPECT_TRUE(document) << document.error().message();
  return document ? *document : nullptr;
}

std::string error_of(std::string text) {
  const auto document = Document::parse(std::move(text));
  return document ? "" : document.error().message();
}

TEST(Document, ReadsEveryKindOfValue) {
  const auto d = parse(R"( {"a":null,"b":true,"c":-7,"d":1.5e3,"e":"x","f":[1,2],"g":{"h":{}}} )");
  const Value root = d->root();
  EXPECT_TRUE(root["a"].is_null());
  EXPECT_TRUE(root["b"].boolean());
  EXPECT_EQ(root["c"].integer(), -7);
  EXPECT_EQ(root["d"].kind(), Value::Kind::Double);
  EXPECT_EQ(root["d"].number(), 1500);
  EXPECT_EQ(root["e"].string(), "x");
  EXPECT_EQ(root["f"].size(), 2U);
  EXPECT_EQ(root["f"].at(1).integer(), 2);
  EXPECT_TRUE(root["g"]["h"].is_object());
  EXPECT_TRUE(root["g"]["h"].empty());
  EXPECT_EQ(root.size(), 7U);
}

TEST(Document, AMissingValueReadsAsNothingHoweverDeep) {
  const auto d = parse(R"({"a":[{"b":"c"}]})");
  EXPECT_FALSE(d->root()["x"]["y"].at(3)["z"]);
  EXPECT_EQ(d->root()["x"].string("fallback"), "fallback");
  EXPECT_EQ(d->root()["a"].string("fallback"), "fallback");
  EXPECT_EQ(d->root().pointer("/a/0/b").string(), "c");
  EXPECT_FALSE(d->root().pointer("/a/1/b"));
  EXPECT_FALSE(d->root().pointer("/a/x/b"));
  EXPECT_FALSE(d->root().pointer("/a/"));
  EXPECT_TRUE(Value().begin() == Value().end());
}

TEST(Document, KeepsIntegersExactAndReadsLargerOnesAsDouble) {
  const auto d = parse("[9223372036854775807,-9223372036854775808,9223372036854775808,1.0,0,-0]");
  EXPECT_EQ(d->root().at(0).integer(), INT64_MAX);
  EXPECT_EQ(d->root().at(1).integer(), INT64_MIN);
  EXPECT_EQ(d->root().at(2).kind(), Value::Kind::Double);
  EXPECT_EQ(d->root().at(3).kind(), Value::Kind::Double);
  EXPECT_EQ(d->root().at(4).kind(), Value::Kind::Integer);
}

TEST(Document, UnescapesStringsAndNames) {
  const auto d = parse(R"({"a\nb":"\u00e9\ud83d\ude00\ud800\/\"\\","plain":"a string longer than sixteen bytes, é"})");
  EXPECT_EQ(d->root()["a\nb"].string(), "é😀\xef\xbf\xbd/\"\\");
  EXPECT_EQ(d->root()["plain"].string(), "a string longer than sixteen bytes, é");
}

TEST(Document, TheLastOfTwoMembersWithOneNameWins) {
  const auto d = parse(R"({"a":1,"b":{"a":2,"a":3},"a":{"c":4},"c":5})");
  EXPECT_EQ(d->root().size(), 3U);
  EXPECT_EQ(d->root()["a"]["c"].integer(), 4);
  EXPECT_EQ(d->root()["b"]["a"].integer(), 3);
  EXPECT_EQ(d->root()["c"].integer(), 5);
}

TEST(Document, IteratesInTheTextsOrder) {
  const auto d = parse(R"({"z":1,"a":2,"m":3})");
  std::string seen;
  for (auto it = d->root().begin(); it != d->root().end(); ++it) {
    seen += std::string(it.key()) + std::to_string((*it).integer());
  }
  EXPECT_EQ(seen, "z1a2m3");
}

TEST(Document, HoldsManyNamesAndManyElements) {
  std::string text = "{";
  for (int i = 0; i < 5000; ++i) text += "\"key-" + std::to_string(i) + "\":[" + std::to_string(i) + "],";
  text += "\"end\":1}";
  const auto d = parse(text);
  EXPECT_EQ(d->root().size(), 5001U);
  EXPECT_EQ(d->root()["key-4711"].at(0).integer(), 4711);
  EXPECT_EQ(d->root().dump(), text);
  // Memory of the thread is reused: what a large text left behind must not show in the next one.
  EXPECT_EQ(parse(R"({"a":"b"})")->root().dump(), R"({"a":"b"})");
}

TEST(Document, TakesNoMoreThanTwiceTheTextForItsNodes) {
  std::string text = R"({"metadata":{"name":"web-0","labels":{"app":"web"}},"spec":{"containers":[)";
  for (int i = 0; i < 20; ++i) {
    text += std::string(i == 0 ? "" : ",") +
            R"({"name":"c","image":"registry/image:1","ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{}})";
  }
  text += "]}}";
  text.shrink_to_fit();
  const std::size_t size = text.size();
  EXPECT_LE(parse(text)->memory_bytes(), 3 * size);
}

struct BadText {
  const char* text;
  const char* error;
};
class BadTexts : public testing::TestWithParam<BadText> {};
TEST_P(BadTexts, AreRefusedWithGosWording) {
  EXPECT_EQ(error_of(GetParam().text), GetParam().error);
}
INSTANTIATE_TEST_SUITE_P(
    Json, BadTexts,
    testing::Values(BadText{"", "unexpected end of JSON input (at byte 0)"},
                    BadText{"{\"a\":1", "unexpected end of JSON input (at byte 6)"},
                    BadText{"{a:1}", "invalid character 'a' looking for beginning of object key string (at byte 1)"},
                    BadText{"{\"a\" 1}", "invalid character '1' after object key (at byte 5)"},
                    BadText{"{\"a\":1 2}", "invalid character '2' after object key:value pair (at byte 7)"},
                    BadText{"[1 2]", "invalid character '2' after array element (at byte 3)"},
                    BadText{"[1,]", "invalid character ']' looking for beginning of value (at byte 3)"},
                    BadText{"1 x", "invalid character 'x' after top-level value (at byte 2)"},
                    BadText{"tru3", "invalid character '3' in literal true (expecting 'e') (at byte 3)"},
                    BadText{"01", "invalid character '1' after top-level value (at byte 1)"},
                    BadText{"-", "unexpected end of JSON input (at byte 1)"},
                    BadText{"1.x", "invalid character 'x' after decimal point in numeric literal (at byte 2)"},
                    BadText{"\"\\x\"", "invalid character 'x' in string escape code (at byte 2)"},
                    BadText{"\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape (at byte 5)"},
                    BadText{"\"a\nb\"", "invalid character '\\n' in string literal (at byte 2)"},
                    BadText{"\"a\xff\"", "invalid UTF-8 in string literal (at byte 2)"},
                    BadText{"\"\xed\xa0\x80\"", "invalid UTF-8 in string literal (at byte 1)"},
                    BadText{"\"abc", "unexpected end of JSON input (at byte 4)"}));

TEST(Document, RefusesTooDeepNesting) {
  const std::string deep(512, '[');
  EXPECT_EQ(error_of(deep + "1" + std::string(512, ']')), "");
  EXPECT_EQ(error_of("[" + deep + std::string(513, ']')), "exceeded max depth (at byte 512)");
}

TEST(Document, RefusesATextWithAZeroByteInIt) {
  EXPECT_NE(error_of(std::string("{}\0{}", 5)), "");
  EXPECT_NE(error_of(std::string("[1,\0]", 5)), "");
}

TEST(Value, EqualityIgnoresTheOrderOfMembersOnly) {
  const auto a = parse(R"({"a":[1,2],"b":{"c":null}})");
  EXPECT_TRUE(a->root() == parse(R"({"b":{"c":null},"a":[1,2]})")->root());
  EXPECT_FALSE(a->root() == parse(R"({"b":{"c":null},"a":[2,1]})")->root());
  EXPECT_FALSE(a->root() == parse(R"({"b":{},"a":[1,2]})")->root());
  EXPECT_FALSE(a->root() == parse(R"({"b":{"d":null},"a":[1,2]})")->root());
  EXPECT_FALSE(a->root()["a"] == parse("[1]")->root());
}

TEST(Value, DumpsAsGoDoes) {
  const auto d =
      parse(R"({"a":"<&>\u2028\u0001\b\u007f","b":[1.50,1e21,1e-7,1e20,-0.000001,12.0],"c":null,"d":[],"e":{}})");
  EXPECT_EQ(d->root().dump(), R"({"a":"\u003c\u0026\u003e\u2028\u0001\b)"
                              "\x7f"
                              R"(","b":[1.5,1e+21,1e-7,100000000000000000000,-0.000001,12],"c":null,"d":[],"e":{}})");
}

TEST(Value, ToJsonIsACopyToEdit) {
  const auto d = parse(R"({"a":[1,2.5,"x",true,null,{"b":[]}]})");
  EXPECT_EQ(d->root().to_json(), nlohmann::json::parse(d->text()));
}

}  // namespace
}  // namespace kubernel::api
