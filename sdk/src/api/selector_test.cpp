// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/int_or_string.h>
#include <kubernel/api/names.h>
#include <kubernel/api/selector.h>

#include <gtest/gtest.h>

namespace kubernel::api {
namespace {

std::shared_ptr<const Document> json(std::string text) {
  auto parsed = Document::parse(std::move(text));
  EXPECT_TRUE(parsed) << parsed.error().message();
  return *parsed;
}

struct Match {
  const char* selector;
  const char* labels;
  bool matches;
};

class QueryForm : public ::testing::TestWithParam<Match> {};

// apimachinery pkg/labels, Selector.
TEST_P(QueryForm, SelectsByItsRequirements) {
  const auto selector = LabelSelector::parse(GetParam().selector);
  ASSERT_TRUE(selector) << selector.error().message();
  EXPECT_EQ(selector->matches(json(GetParam().labels)->root()), GetParam().matches) << GetParam().selector;
}

INSTANTIATE_TEST_SUITE_P(
    Rows, QueryForm,
    ::testing::Values(Match{"", "{}", true}, Match{"a=b", R"({"a":"b"})", true}, Match{"a==b", R"({"a":"c"})", false},
                      Match{"a!=b", "{}", true}, Match{"a!=b", R"({"a":"b"})", false}, Match{"a", R"({"a":""})", true},
                      Match{"!a", R"({"a":"x"})", false}, Match{"!a", "{}", true},
                      Match{"a in (x, y)", R"({"a":"y"})", true}, Match{"a in (x,y)", R"({"a":"z"})", false},
                      Match{"a notin (x)", "{}", true}, Match{"a notin (x)", R"({"a":"x"})", false},
                      Match{"a>1", R"({"a":"2"})", true}, Match{"a<1", R"({"a":"2"})", false},
                      Match{"a>1", R"({"a":"many"})", false}, Match{"a=,b", R"({"a":"","b":"1"})", true},
                      Match{"x.io/a=b,c in (d,e),!f", R"({"x.io/a":"b","c":"e"})", true},
                      Match{"in in (in,notin)", R"({"in":"notin"})", true}, Match{"a in ()", R"({"a":""})", true},
                      Match{" a = b ", R"({"a":"b"})", true}));

TEST(LabelSelector, RefusesWhatUpstreamRefuses) {
  for (const char* text :
       {"a=b=c", "a in x", "a in (x", ",", "a,", "(a)", "=b", "!", "a/b/c=d", "a=b c", "a>x", "a=-x"}) {
    EXPECT_FALSE(LabelSelector::parse(text)) << text;
  }
}

TEST(LabelSelector, AMissingApiSelectorMatchesNothingAndAnEmptyOneEverything) {
  EXPECT_FALSE(LabelSelector::from_api(Value())->matches(json("{}")->root()));
  EXPECT_TRUE(LabelSelector::from_api(json("{}")->root())->matches(json("{}")->root()));
}

TEST(LabelSelector, ReadsTheApiForm) {
  const auto api = json(R"({"matchLabels":{"app":"web"},"matchExpressions":[
      {"key":"tier","operator":"In","values":["b","a"]},{"key":"old","operator":"DoesNotExist"}]})");
  const auto selector = LabelSelector::from_api(api->root());
  ASSERT_TRUE(selector) << selector.error().message();
  EXPECT_EQ(selector->to_string(), "app=web,!old,tier in (a,b)");
  EXPECT_TRUE(selector->matches(json(R"({"app":"web","tier":"a"})")->root()));
  EXPECT_FALSE(selector->matches(json(R"({"app":"web","tier":"a","old":""})")->root()));
}

TEST(LabelSelector, RefusesAnApiOperatorThatLacksItsValues) {
  EXPECT_FALSE(LabelSelector::from_api(json(R"({"matchExpressions":[{"key":"a","operator":"In"}]})")->root()));
  EXPECT_FALSE(LabelSelector::from_api(json(R"({"matchExpressions":[{"key":"a","operator":"Near"}]})")->root()));
}

TEST(FieldSelector, ComparesFieldsByEquality) {
  const auto selector = FieldSelector::parse("spec.nodeName=n1,status.phase!=Running,metadata.name==x");
  ASSERT_TRUE(selector);
  EXPECT_EQ(selector->exact("spec.nodeName"), "n1");
  EXPECT_EQ(selector->exact("status.phase"), std::nullopt);
  const auto value = [](std::string_view field) -> std::string {
    if (field == "spec.nodeName") return "n1";
    return field == "metadata.name" ? "x" : "Pending";
  };
  EXPECT_TRUE(selector->matches(value));
}

TEST(FieldSelector, UnderstandsEscapesAndRefusesAWordAlone) {
  EXPECT_EQ(FieldSelector::parse("a=b\\,c\\=d")->exact("a"), "b,c=d");
  EXPECT_FALSE(FieldSelector::parse("metadata.name"));
}

TEST(Names, FollowTheRulesForLabelsAndSubdomains) {
  EXPECT_EQ(dns_label_problem("web-0"), "");
  EXPECT_NE(dns_label_problem("web.0"), "");
  EXPECT_NE(dns_label_problem("-web"), "");
  EXPECT_NE(dns_label_problem(std::string(64, 'a')), "");
  EXPECT_EQ(dns_subdomain_problem("web.example.com"), "");
  EXPECT_NE(dns_subdomain_problem("web..com"), "");
  EXPECT_NE(dns_subdomain_problem("Web"), "");
  EXPECT_NE(dns_1035_label_problem("0web"), "");
  EXPECT_EQ(qualified_name_problem("kubernetes.io/os"), "");
  EXPECT_NE(qualified_name_problem("/os"), "");
  EXPECT_EQ(path_segment_problem("system:node"), "");
  EXPECT_EQ(path_segment_problem(".."), "may not be '..'");
  EXPECT_EQ(label_value_problem(""), "");
}

TEST(IntOrString, ScalesAPercentage) {
  const IntOrString quarter{true, 0, "25%"};
  EXPECT_EQ(*scaled_value(quarter, 10, true), 3);
  EXPECT_EQ(*scaled_value(quarter, 10, false), 2);
  EXPECT_EQ(*scaled_value(IntOrString{false, 7, ""}, 10, true), 7);
  EXPECT_GT(*scaled_value(IntOrString{true, 0, "9223372036854775807%"}, 1'000'000, true), 1'000'000)
      << "at its limit, not wrapped";
  EXPECT_FALSE(scaled_value(IntOrString{true, 0, "http"}, 10, true));
}

}  // namespace
}  // namespace kubernel::api
