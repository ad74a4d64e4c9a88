// SPDX-License-Identifier: Apache-2.0
#include "core/config/config_schema.h"

#include <ostream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kubernel::config {
namespace {

using nlohmann::json;

// "path: message" of each problem, one a line.
std::string problems(const std::string& schema_text, const std::string& value_text) {
  const auto schema = ConfigSchema::parse(schema_text);
  EXPECT_TRUE(schema) << schema_text << ": " << (schema ? "" : schema.error().message());
  if (!schema) return "no schema";
  json value = json::parse(value_text);
  std::string out;
  for (const Problem& problem : schema->check(value)) {
    out.append(out.empty() ? "" : "\n").append(problem.path).append(": ").append(problem.message);
  }
  return out;
}

struct Rule {
  const char* name;
  const char* schema;
  const char* value;
  const char* problem;
};
std::ostream& operator<<(std::ostream& out, const Rule& rule) {
  return out << rule.name;
}

class Rules : public ::testing::TestWithParam<Rule> {};

TEST_P(Rules, Hold) {
  EXPECT_EQ(problems(GetParam().schema, GetParam().value), GetParam().problem);
}

INSTANTIATE_TEST_SUITE_P(
    ConfigSchema, Rules,
    ::testing::Values(
        Rule{"type", R"({"type":"string"})", "1", ": expected string, got integer"},
        Rule{"one_of_types", R"({"type":["string","integer"]})", "1.5", ": expected string, integer, got number"},
        Rule{"an_integer_is_a_number", R"({"type":"number"})", "1", ""},
        Rule{"a_number_is_no_integer", R"({"type":"integer"})", "1.5", ": expected integer, got number"},
        Rule{"null_is_a_type", R"({"type":"object"})", "null", ": expected object, got null"},
        Rule{"nested_path", R"({"properties":{"listen":{"items":{"type":"string"}}}})", R"({"listen":["a",3]})",
             "listen[1]: expected string, got integer"},
        Rule{"unknown_key", R"({"properties":{"listen":{}},"additionalProperties":false})", R"({"lisen":1})",
             "lisen: unknown key; did you mean \"listen\"?"},
        Rule{"odd_key", R"({"additionalProperties":{"type":"string"}})", R"({"a.b":1})",
             "[\"a.b\"]: expected string, got integer"},
        Rule{"other_keys_allowed", R"({"properties":{"a":{}}})", R"({"b":1})", ""},
        Rule{"required", R"({"required":["a","b"]})", R"({"b":1})", ": missing \"a\""},
        Rule{"enumeration", R"({"enum":["text","json"]})", "\"jsn\"",
             ": must be one of \"text\", \"json\", is \"jsn\"; did you mean \"json\"?"},
        Rule{"constant", R"({"const":1})", "2", ": must be 1, is 2"},
        Rule{"minimum", R"({"minimum":1})", "0", ": must be at least 1, is 0"},
        Rule{"minimum_itself", R"({"minimum":1})", "1", ""},
        Rule{"maximum", R"({"maximum":0.5})", "0.75", ": must be at most 0.5, is 0.75"},
        Rule{"min_length", R"({"minLength":1})", "\"\"", ": must not be empty"},
        Rule{"max_length_counts_characters", R"({"maxLength":2})", "\"\xC3\xA9\xC3\xA9\"", ""},
        Rule{"max_length", R"({"maxLength":2})", "\"abc\"", ": is longer than 2"},
        Rule{"min_items", R"({"minItems":1})", "[]", ": needs at least 1 items, has 0"},
        Rule{"max_items", R"({"maxItems":1})", "[1,2]", ": takes at most 1 items, has 2"},
        Rule{"pattern", R"({"pattern":"^[a-z]+$"})", "\"A\"", ": \"A\" does not match the pattern ^[a-z]+$"},
        Rule{"pattern_fits", R"({"pattern":"b"})", "\"abc\"", ""},
        Rule{"rules_for_strings_leave_numbers_alone", R"({"pattern":"b","minLength":3})", "1", ""},
        Rule{"all_problems_are_named", R"({"required":["z"],"properties":{"a":{"type":"string"}}})", R"({"a":1})",
             ": missing \"z\"\na: expected string, got integer"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(ConfigSchema, FillsInDefaultsAlsoNestedOnes) {
  const auto schema = ConfigSchema::parse(
      R"({"properties":{"log":{"default":{},"properties":{"level":{"default":"info"}}},"a":{"default":1},"b":{}}})");
  ASSERT_TRUE(schema);
  json value = json::parse(R"({"a":2})");
  EXPECT_TRUE(schema->check(value).empty());
  EXPECT_EQ(value, json::parse(R"({"a":2,"log":{"level":"info"}})"));
}

TEST(ConfigSchema, AVeryLongStringIsRefusedBeforeThePatternRuns) {
  const auto schema = ConfigSchema::parse(R"({"pattern":"^(a|b)*$"})");
  ASSERT_TRUE(schema);
  json value(std::string(1'000'000, 'a'));
  const auto found = schema->check(value);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found.front().message, "is longer than 8192 bytes");
}

struct BadSchema {
  const char* name;
  const char* schema;
  const char* message;
};
std::ostream& operator<<(std::ostream& out, const BadSchema& bad) {
  return out << bad.name;
}

class BadSchemas : public ::testing::TestWithParam<BadSchema> {};

TEST_P(BadSchemas, AreRefused) {
  const auto schema = ConfigSchema::parse(GetParam().schema);
  ASSERT_FALSE(schema);
  EXPECT_EQ(schema.error().message().substr(0, std::string(GetParam().message).size()), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    ConfigSchema, BadSchemas,
    ::testing::Values(BadSchema{"not_json", "{", "schema is not JSON"},
                      BadSchema{"not_an_object", "[]", "schema: a schema must be an object"},
                      BadSchema{"unknown_keyword", R"({"propertys":{}})",
                                "schema: keyword \"propertys\" is not supported; did you mean \"properties\"?"},
                      BadSchema{"nested", R"({"properties":{"a":{"format":"date"}}})",
                                "schema: properties.a: keyword \"format\" is not supported"},
                      BadSchema{"unknown_type", R"({"type":"int"})", "schema: \"type\" cannot be \"int\""},
                      BadSchema{"negative_length", R"({"minLength":-1})", "schema: \"minLength\" cannot be -1"},
                      BadSchema{"bad_pattern", R"({"pattern":"["})", "schema: pattern: "},
                      BadSchema{"default_breaks_the_rule", R"({"properties":{"a":{"type":"string","default":1}}})",
                                "schema: properties.a.default: expected string, got integer"}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace kubernel::config
