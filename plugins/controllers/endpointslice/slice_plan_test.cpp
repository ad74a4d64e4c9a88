// SPDX-License-Identifier: Apache-2.0
#include "slice_plan.h"

#include <gtest/gtest.h>

namespace kubernel::plugins::endpointslice {
namespace {

using api::Object;
using nlohmann::json;

const json kHttp = json::array({{{"name", "http"}, {"port", 80}, {"protocol", "TCP"}}});

json endpoint(int i, bool ready = true) {
  return {{"addresses", {"10.0.0." + std::to_string(i)}}, {"conditions", {{"ready", ready}}}};
}

Object slice(const std::string& name, int first, int count, const json& ports = kHttp) {
  json document = {
      {"metadata", {{"name", name}, {"namespace", "shop"}}}, {"ports", ports}, {"endpoints", json::array()}};
  for (int i = first; i < first + count; ++i) document["endpoints"].push_back(endpoint(i));
  return *Object::from_json(document);
}

Wanted want(int count, bool ready = true) {
  Wanted out;
  PortGroup& group = out[ports_key(kHttp)];
  group.ports = kHttp;
  for (int i = 0; i < count; ++i) group.endpoints.push_back(endpoint(i, ready));
  return out;
}

TEST(SlicePlan, WhatIsRightIsLeftAlone) {
  const auto plan = make_plan(want(3), {slice("a", 0, 3)});
  EXPECT_TRUE(plan.create.empty() && plan.update.empty() && plan.remove.empty());
}

TEST(SlicePlan, ManyEndpointsFillSlicesOfAHundred) {
  const auto plan = make_plan(want(250), {});
  ASSERT_EQ(plan.create.size(), 3U);
  EXPECT_EQ(plan.create[0].endpoints.size() + plan.create[1].endpoints.size() + plan.create[2].endpoints.size(), 250U);
  for (const auto& create : plan.create) EXPECT_LE(create.endpoints.size(), 100U);
}

TEST(SlicePlan, ANewEndpointGoesIntoTheFullestSliceWithRoom) {
  const auto plan = make_plan(want(151), {slice("a", 0, 50), slice("b", 50, 99)});
  // 149 are placed; the two others fit into "a" only.
  ASSERT_EQ(plan.update.size(), 1U);
  EXPECT_EQ(plan.update[0].slice.name(), "a");
  EXPECT_EQ(plan.update[0].endpoints.size(), 52U);
  EXPECT_TRUE(plan.create.empty());
}

TEST(SlicePlan, AChangedEndpointStaysInItsSlice) {
  const auto plan = make_plan(want(2, false), {slice("a", 0, 1), slice("b", 1, 1)});
  EXPECT_EQ(plan.update.size(), 2U);
  EXPECT_TRUE(plan.create.empty() && plan.remove.empty());
}

TEST(SlicePlan, ASliceThatLostAllItsEndpointsGoes) {
  const auto plan = make_plan(want(1), {slice("a", 0, 1), slice("b", 1, 5)});
  ASSERT_EQ(plan.remove.size(), 1U);
  EXPECT_EQ(plan.remove[0].name(), "b");
}

TEST(SlicePlan, AnEndpointInTwoSlicesStaysInOne) {
  const auto plan = make_plan(want(1), {slice("a", 0, 1), slice("b", 0, 1)});
  EXPECT_EQ(plan.remove.size(), 1U);
  EXPECT_EQ(plan.keep.size(), 1U);
}

TEST(SlicePlan, NoEndpointsIsOneEmptySlice) {
  const auto first = make_plan({}, {});
  ASSERT_EQ(first.create.size(), 1U);
  EXPECT_TRUE(first.create[0].endpoints.empty());
  const auto again = make_plan({}, {slice("a", 0, 0, json::array())});
  EXPECT_TRUE(again.create.empty() && again.update.empty() && again.remove.empty());
}

TEST(SlicePlan, ChangedPortsRewriteTheSlice) {
  const json other = json::array({{{"name", "http"}, {"port", 8080}, {"protocol", "TCP"}}});
  const auto plan = make_plan(want(2), {slice("a", 0, 2, other)});
  ASSERT_EQ(plan.update.size(), 1U);
  EXPECT_EQ(plan.update[0].ports, kHttp);
  EXPECT_TRUE(plan.create.empty() && plan.remove.empty());
}

TEST(SlicePlan, TheOrderOfPortsDoesNotMatter) {
  const json ab = json::parse(R"([{"name":"a","port":1},{"name":"b","port":2}])");
  const json ba = json::parse(R"([{"name":"b","port":2},{"name":"a","port":1}])");
  EXPECT_EQ(ports_key(ab), ports_key(ba));
  EXPECT_NE(ports_key(ab), ports_key(kHttp));
}

}  // namespace
}  // namespace kubernel::plugins::endpointslice
