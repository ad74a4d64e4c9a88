// SPDX-License-Identifier: Apache-2.0
#include "rollout_math.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kubernel::plugins::deployment {
namespace {

using api::Object;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::Pair;

Object deployment(int replicas, const json& surge, const json& unavailable) {
  return *Object::from_json(
      {{"metadata", {{"name", "web"}, {"namespace", "shop"}}},
       {"spec",
        {{"replicas", replicas},
         {"strategy",
          {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", surge}, {"maxUnavailable", unavailable}}}}}}}});
}

Object set(const std::string& name, int replicas, int max_replicas = 0) {
  json document = {{"metadata", {{"name", name}, {"namespace", "shop"}, {"creationTimestamp", "2026-01-01T00:00:00Z"}}},
                   {"spec", {{"replicas", replicas}}}};
  if (max_replicas > 0) document["metadata"]["annotations"][std::string(kMaxReplicas)] = std::to_string(max_replicas);
  return *Object::from_json(document);
}

struct FencepostCase {
  int replicas;
  json surge, unavailable;
  std::int64_t expected_surge, expected_unavailable;
};
class FencepostsOf : public ::testing::TestWithParam<FencepostCase> {};

TEST_P(FencepostsOf, RoundSurgeUpAndUnavailableDown) {
  const auto& c = GetParam();
  const auto posts = fenceposts(deployment(c.replicas, c.surge, c.unavailable));
  EXPECT_EQ(posts.surge, c.expected_surge);
  EXPECT_EQ(posts.unavailable, c.expected_unavailable);
}
INSTANTIATE_TEST_SUITE_P(Cases, FencepostsOf,
                         ::testing::Values(FencepostCase{10, "25%", "25%", 3, 2}, FencepostCase{3, "25%", "25%", 1, 0},
                                           FencepostCase{1, "25%", "25%", 1, 0}, FencepostCase{1, 0, "25%", 0, 1},
                                           FencepostCase{10, 0, 0, 0, 1}, FencepostCase{2, 1, 5, 1, 2},
                                           FencepostCase{0, "25%", "25%", 0, 0}, FencepostCase{4, "100%", "0%", 4, 0}));

TEST(Fenceposts, AreAQuarterWhenNothingIsSaid) {
  const auto plain = *Object::from_json({{"metadata", {{"name", "web"}}}, {"spec", {{"replicas", 5}}}});
  EXPECT_EQ(fenceposts(plain).surge, 2);
  EXPECT_EQ(fenceposts(plain).unavailable, 1);
}

TEST(NewSetReplicas, StayWithinTheSurge) {
  const auto d = deployment(10, 2, 0);
  EXPECT_EQ(new_set_replicas(d, {set("old", 10), set("new", 0)}, set("new", 0)), 2);
  EXPECT_EQ(new_set_replicas(d, {set("old", 12), set("new", 0)}, set("new", 0)), 0);
  EXPECT_EQ(new_set_replicas(d, {set("old", 1), set("new", 9)}, set("new", 9)), 10);
  EXPECT_EQ(new_set_replicas(d, {}, set("new", 0)), 10);
}

TEST(ProportionalSizes, SpreadAScaleUpOverTheSets) {
  // 10 pods and a surge of 3 become 15 and 4: 13 pods grow to 19.
  const auto sizes = proportional_sizes(deployment(15, "25%", "25%"), {set("a", 8, 13), set("b", 5, 13)});
  EXPECT_THAT(sizes, ElementsAre(Pair("a", 12), Pair("b", 7)));
}

TEST(ProportionalSizes, SpreadAScaleDownOverTheSets) {
  const auto sizes = proportional_sizes(deployment(5, 0, 1), {set("a", 6, 10), set("b", 4, 10)});
  EXPECT_THAT(sizes, ElementsAre(Pair("a", 3), Pair("b", 2)));
}

TEST(ProportionalSizes, GoToZeroTogether) {
  const auto sizes = proportional_sizes(deployment(0, "25%", "25%"), {set("a", 6, 10), set("b", 4, 10)});
  EXPECT_THAT(sizes, ElementsAre(Pair("a", 0), Pair("b", 0)));
}

TEST(SameTemplate, DoesNotCountTheHash) {
  const auto d = *Object::from_json(
      json::parse(R"({"metadata":{"name":"d"},"spec":{"template":{"metadata":{"labels":{"a":"b"}},"spec":{"x":1}}}})"));
  const auto same = *Object::from_json(json::parse(
      R"({"metadata":{"name":"r"},"spec":{"template":{"metadata":{"creationTimestamp":null,"labels":{"a":"b","pod-template-hash":"h"}},"spec":{"x":1}}}})"));
  const auto other = *Object::from_json(
      json::parse(R"({"metadata":{"name":"r"},"spec":{"template":{"metadata":{"labels":{"a":"c"}},"spec":{"x":1}}}})"));
  EXPECT_TRUE(same_template(d, same));
  EXPECT_FALSE(same_template(d, other));
}

}  // namespace
}  // namespace kubernel::plugins::deployment
