// SPDX-License-Identifier: Apache-2.0
#include "endpointslice.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::endpointslice {
namespace {

using api::Object;
using api::ObjectKey;
using api::Value;
using api::resources::kEndpointSlices;
using api::resources::kNodes;
using api::resources::kPods;
using api::resources::kServices;
using nlohmann::json;

class EndpointSliceTest : public ::testing::Test {
 protected:
  const ObjectKey kWeb{"shop", "web"};

  EndpointSliceTest() {
    bench_.cluster.put(kNodes, {{"metadata", {{"name", "n1"}, {"labels", {{"topology.kubernetes.io/zone", "z1"}}}}}});
  }
  void serve(const json& extra = json::object()) {
    json service = {{"metadata", {{"name", "web"}, {"namespace", "shop"}, {"labels", {{"team", "red"}}}}},
                    {"spec",
                     {{"selector", {{"app", "web"}}},
                      {"clusterIP", "10.96.0.10"},
                      {"ipFamilies", {"IPv4"}},
                      {"ports", {{{"name", "http"}, {"port", 80}, {"protocol", "TCP"}, {"targetPort", "web"}}}}}}};
    service["spec"].update(extra);
    bench_.cluster.put(kServices, service);
  }
  void run_pod(const std::string& name, const std::string& ip, bool ready = true, int port = 8080) {
    bench_.cluster.put(kPods,
                       {{"metadata", {{"name", name}, {"namespace", "shop"}, {"labels", {{"app", "web"}}}}},
                        {"spec",
                         {{"nodeName", "n1"},
                          {"containers", {{{"name", "c"}, {"ports", {{{"name", "web"}, {"containerPort", port}}}}}}}}},
                        {"status",
                         {{"phase", "Running"},
                          {"podIP", ip},
                          {"podIPs", {{{"ip", ip}}}},
                          {"conditions", {{{"type", "Ready"}, {"status", ready ? "True" : "False"}}}}}}});
  }
  std::vector<Object> slices() const { return bench_.cluster.all(kEndpointSlices); }
  json endpoint(const std::string& pod) const {
    for (const Object& slice : slices()) {
      for (const Value endpoint : slice["endpoints"]) {
        if (endpoint["targetRef"]["name"].string() == pod) return endpoint.to_json();
      }
    }
    return nullptr;
  }

  testing::ControllerBench bench_{make_reconciler};
};

TEST_F(EndpointSliceTest, AReadyPodIsAnEndpoint) {
  serve();
  run_pod("a", "10.244.0.5");
  bench_.start();
  ASSERT_EQ(slices().size(), 1U);
  const Object slice = slices().at(0);
  EXPECT_EQ(slice.labels()["kubernetes.io/service-name"].string(), "web");
  EXPECT_EQ(slice.labels()["endpointslice.kubernetes.io/managed-by"].string(), "endpointslice-controller.k8s.io");
  EXPECT_EQ(slice.labels()["team"].string(), "red");
  EXPECT_EQ(slice["addressType"].string(), "IPv4");
  EXPECT_EQ(slice["ports"].to_json(), json::parse(R"([{"name":"http","port":8080,"protocol":"TCP"}])"));
  const std::string uid = bench_.cluster.find(kPods, {"shop", "a"})->uid();
  EXPECT_EQ(endpoint("a"),
            json::parse(R"({"addresses":["10.244.0.5"],"conditions":{"ready":true,"serving":true,"terminating":false},
    "nodeName":"n1","zone":"z1","targetRef":{"kind":"Pod","namespace":"shop","name":"a","uid":")" +
                        uid + R"("}})"));
  EXPECT_EQ(slice.head().controller_uid, bench_.cluster.find(kServices, kWeb)->uid());
}

TEST_F(EndpointSliceTest, FollowsReadiness) {
  serve();
  run_pod("a", "10.244.0.5", false);
  bench_.start();
  EXPECT_EQ(endpoint("a")["conditions"]["ready"], false);
  run_pod("a", "10.244.0.5", true);
  bench_.settle();
  EXPECT_EQ(endpoint("a")["conditions"]["ready"], true);
}

TEST_F(EndpointSliceTest, ATerminatingPodServesButIsNotReady) {
  serve();
  run_pod("a", "10.244.0.5");
  bench_.start();
  ASSERT_TRUE(bench_.cluster.remove({}, kPods, {"shop", "a"}, {}));
  bench_.settle();
  EXPECT_EQ(endpoint("a")["conditions"], json::parse(R"({"ready":false,"serving":true,"terminating":true})"));
  bench_.cluster.erase(kPods, {"shop", "a"});
  bench_.settle();
  EXPECT_TRUE(endpoint("a").is_null());
}

TEST_F(EndpointSliceTest, PublishNotReadyAddressesMeansReady) {
  serve({{"publishNotReadyAddresses", true}});
  run_pod("a", "10.244.0.5", false);
  bench_.start();
  EXPECT_EQ(endpoint("a")["conditions"], json::parse(R"({"ready":true,"serving":false,"terminating":false})"));
}

TEST_F(EndpointSliceTest, PodsWithDifferentPortNumbersAreInDifferentSlices) {
  serve();
  run_pod("a", "10.244.0.5", true, 8080);
  run_pod("b", "10.244.0.6", true, 9090);
  bench_.start();
  EXPECT_EQ(slices().size(), 2U);
}

TEST_F(EndpointSliceTest, APodWithoutThePortOrAddressIsNoEndpoint) {
  serve();
  run_pod("a", "10.244.0.5");
  bench_.cluster.edit(kPods, {"shop", "a"},
                      [](json& pod) { pod["spec"]["containers"][0]["ports"][0]["name"] = "other"; });
  run_pod("b", "10.244.0.6");
  bench_.cluster.edit(kPods, {"shop", "b"}, [](json& pod) { pod["status"] = {{"phase", "Pending"}}; });
  bench_.start();
  ASSERT_EQ(slices().size(), 1U);
  EXPECT_TRUE(slices().at(0)["endpoints"].empty());
}

TEST_F(EndpointSliceTest, AServiceWithoutPodsHasOneEmptySlice) {
  serve();
  bench_.start();
  ASSERT_EQ(slices().size(), 1U);
  EXPECT_TRUE(slices().at(0)["endpoints"].empty());
  run_pod("a", "10.244.0.5");
  bench_.settle();
  EXPECT_EQ(slices().size(), 1U);
  EXPECT_FALSE(endpoint("a").is_null());
}

TEST_F(EndpointSliceTest, AServiceWithoutASelectorIsItsUsersAffair) {
  serve({{"selector", json::object()}});
  bench_.start();
  EXPECT_EQ(slices().size(), 0U);
}

TEST_F(EndpointSliceTest, AHeadlessServiceNamesItsPods) {
  serve({{"clusterIP", "None"}, {"ports", json::array()}});
  run_pod("a", "10.244.0.5");
  bench_.cluster.edit(kPods, {"shop", "a"}, [](json& pod) {
    pod["spec"]["hostname"] = "first";
    pod["spec"]["subdomain"] = "web";
  });
  bench_.start();
  EXPECT_EQ(endpoint("a")["hostname"], "first");
  EXPECT_TRUE(slices().at(0).labels()["service.kubernetes.io/headless"].is_string());
  EXPECT_TRUE(slices().at(0)["ports"].empty());
}

TEST_F(EndpointSliceTest, BothFamiliesHaveSlices) {
  serve({{"ipFamilies", {"IPv4", "IPv6"}}});
  run_pod("a", "10.244.0.5");
  bench_.cluster.edit(kPods, {"shop", "a"}, [](json& pod) { pod["status"]["podIPs"].push_back({{"ip", "fd00::5"}}); });
  bench_.start();
  ASSERT_EQ(slices().size(), 2U);
  serve({{"ipFamilies", {"IPv4"}}});
  bench_.settle();
  ASSERT_EQ(slices().size(), 1U);
  EXPECT_EQ(slices().at(0)["addressType"].string(), "IPv4");
}

TEST_F(EndpointSliceTest, AStaleCacheMakesNoSecondSlice) {
  serve();
  run_pod("a", "10.244.0.5");
  bench_.cluster.on_call([&](std::string_view verb, const api::Resource&, const ObjectKey&) -> Result<void> {
    if (verb == "create") bench_.cluster.freeze_cache();
    return {};
  });
  bench_.start();
  for (int i = 0; i < 3; ++i) {
    bench_.runner->add(kWeb);
    bench_.settle();
  }
  EXPECT_EQ(slices().size(), 1U);
}

TEST_F(EndpointSliceTest, SlicesOfOthersAreLeftAlone) {
  serve();
  bench_.cluster.put(
      kEndpointSlices,
      {{"metadata", {{"name", "mine"}, {"namespace", "shop"}, {"labels", {{"kubernetes.io/service-name", "web"}}}}},
       {"addressType", "IPv4"}});
  bench_.start();
  EXPECT_EQ(slices().size(), 2U);
}

TEST_F(EndpointSliceTest, ASliceSomebodyDeletedOrChangedComesBack) {
  serve();
  run_pod("a", "10.244.0.5");
  bench_.start();
  bench_.cluster.edit(kEndpointSlices, slices().at(0).key(), [](json& slice) { slice["endpoints"] = json::array(); });
  bench_.settle();
  EXPECT_FALSE(endpoint("a").is_null());
  bench_.cluster.erase(kEndpointSlices, slices().at(0).key());
  bench_.settle();
  EXPECT_FALSE(endpoint("a").is_null());
}

TEST_F(EndpointSliceTest, APodWhoseNodeIsGoneIsLeftOutUntilTheNodeIsThere) {
  bench_.cluster.erase(kNodes, {"", "n1"});
  serve();
  run_pod("a", "10.244.0.5");
  bench_.start();
  EXPECT_TRUE(endpoint("a").is_null());
  bench_.cluster.put(kNodes, {{"metadata", {{"name", "n1"}}}});
  bench_.settle();
  EXPECT_FALSE(endpoint("a").is_null());
}

TEST_F(EndpointSliceTest, WritesNothingThatSaysNothingNew) {
  serve();
  run_pod("a", "10.244.0.5");
  bench_.start();
  const auto before = slices().at(0).head().resource_version;
  bench_.runner->add(kWeb);
  bench_.settle();
  EXPECT_EQ(slices().at(0).head().resource_version, before);
}

}  // namespace
}  // namespace kubernel::plugins::endpointslice
