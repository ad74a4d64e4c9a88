// SPDX-License-Identifier: Apache-2.0
#include "endpoints.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::endpoints {
namespace {

using namespace std::chrono_literals;
using api::Object;
using api::ObjectKey;
using api::resources::kEndpoints;
using api::resources::kPods;
using api::resources::kServices;
using nlohmann::json;

class EndpointsTest : public ::testing::Test {
 protected:
  const ObjectKey kWeb{"shop", "web"};

  void serve(const json& extra = json::object()) {
    json service = {{"metadata", {{"name", "web"}, {"namespace", "shop"}, {"labels", {{"team", "red"}}}}},
                    {"spec",
                     {{"selector", {{"app", "web"}}},
                      {"clusterIP", "10.96.0.10"},
                      {"ports", {{{"port", 80}, {"protocol", "TCP"}, {"targetPort", 8080}}}}}}};
    service["spec"].update(extra);
    bench_.cluster.put(kServices, service);
  }
  void run_pod(const std::string& name, const std::string& ip, bool ready = true) {
    bench_.cluster.put(kPods, {{"metadata", {{"name", name}, {"namespace", "shop"}, {"labels", {{"app", "web"}}}}},
                               {"spec", {{"nodeName", "n1"}}},
                               {"status",
                                {{"phase", "Running"},
                                 {"podIP", ip},
                                 {"podIPs", {{{"ip", ip}}}},
                                 {"conditions", {{{"type", "Ready"}, {"status", ready ? "True" : "False"}}}}}}});
  }
  std::optional<Object> web() { return bench_.cluster.find(kEndpoints, kWeb); }
  json subsets() { return (*web())["subsets"].to_json(); }

  testing::ControllerBench bench_{make_reconciler};
};

TEST_F(EndpointsTest, HasReadyAndUnreadyAddressesOfOnePortSetTogether) {
  serve();
  run_pod("a", "10.0.0.2");
  run_pod("b", "10.0.0.1");
  run_pod("c", "10.0.0.3", false);
  bench_.start();
  const json all = subsets();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0]["ports"], json::parse(R"([{"port":8080,"protocol":"TCP"}])"));
  ASSERT_EQ(all[0]["addresses"].size(), 2U);
  EXPECT_EQ(all[0]["addresses"][0]["ip"], "10.0.0.1");
  EXPECT_EQ(all[0]["addresses"][0]["nodeName"], "n1");
  EXPECT_EQ(all[0]["addresses"][0]["targetRef"]["name"], "b");
  EXPECT_EQ(all[0]["notReadyAddresses"][0]["ip"], "10.0.0.3");
  EXPECT_EQ(web()->labels()["team"].string(), "red");
}

TEST_F(EndpointsTest, ExistsAlsoWithoutPods) {
  serve();
  bench_.start();
  ASSERT_TRUE(web());
  EXPECT_FALSE((*web())["subsets"]);
}

TEST_F(EndpointsTest, LeavesTerminatingPodsOut) {
  serve();
  run_pod("a", "10.0.0.2");
  bench_.start();
  ASSERT_TRUE(bench_.cluster.remove({}, kPods, {"shop", "a"}, {}));
  bench_.settle();
  EXPECT_FALSE((*web())["subsets"]);
}

TEST_F(EndpointsTest, PublishesEverythingWhenAskedTo) {
  serve({{"publishNotReadyAddresses", true}});
  run_pod("a", "10.0.0.2", false);
  bench_.start();
  EXPECT_EQ(subsets()[0]["addresses"].size(), 1U);
  EXPECT_FALSE(subsets()[0].contains("notReadyAddresses"));
}

TEST_F(EndpointsTest, GoesWithItsService) {
  serve();
  bench_.start();
  bench_.cluster.erase(kServices, kWeb);
  bench_.settle();
  EXPECT_FALSE(web());
}

TEST_F(EndpointsTest, RemovesAtTheStartWhatItsServiceLeft) {
  bench_.cluster.put(kEndpoints, {{"metadata", {{"name", "web"}, {"namespace", "shop"}}}});
  bench_.cluster.put(kEndpoints, {{"metadata",
                                   {{"name", "leader"},
                                    {"namespace", "shop"},
                                    {"annotations", {{"control-plane.alpha.kubernetes.io/leader", "x"}}}}}});
  bench_.start();
  EXPECT_FALSE(web());
  EXPECT_TRUE(bench_.cluster.find(kEndpoints, {"shop", "leader"}));
  // Made later and without a service, they are somebody's own.
  bench_.cluster.put(kEndpoints, {{"metadata", {{"name", "mine"}, {"namespace", "shop"}}}});
  bench_.settle();
  EXPECT_TRUE(bench_.cluster.find(kEndpoints, {"shop", "mine"}));
}

TEST_F(EndpointsTest, LeavesAServiceWithoutASelectorAlone) {
  serve({{"selector", json::object()}});
  bench_.cluster.put(kEndpoints, {{"metadata", {{"name", "web"}, {"namespace", "shop"}}},
                                  {"subsets", {{{"addresses", {{{"ip", "1.2.3.4"}}}}}}}});
  bench_.start();
  EXPECT_EQ(subsets()[0]["addresses"][0]["ip"], "1.2.3.4");
}

TEST_F(EndpointsTest, CutsAtAThousandReadyOnesFirst) {
  serve();
  run_pod("unready", "10.0.0.0", false);
  for (int i = 0; i < 1000; ++i)
    run_pod("p" + std::to_string(i), "10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1));
  bench_.start();
  EXPECT_EQ(subsets()[0]["addresses"].size(), 1000U);
  EXPECT_FALSE(subsets()[0].contains("notReadyAddresses"));
  EXPECT_EQ(web()->annotations()["endpoints.kubernetes.io/over-capacity"].string(), "truncated");
  bench_.cluster.erase(kPods, {"shop", "p0"});
  bench_.settle();
  EXPECT_FALSE(web()->annotations()["endpoints.kubernetes.io/over-capacity"]);
}

TEST_F(EndpointsTest, AStaleCacheLosesNoChange) {
  serve();
  bench_.cluster.on_call([&](std::string_view verb, const api::Resource&, const ObjectKey&) -> Result<void> {
    if (verb == "create") bench_.cluster.freeze_cache();
    return {};
  });
  bench_.start();
  bench_.runner->add(kWeb);
  bench_.settle();
  bench_.cluster.on_call({});
  bench_.cluster.thaw_cache();
  run_pod("a", "10.0.0.2");
  bench_.advance(2s);
  EXPECT_EQ(subsets()[0]["addresses"].size(), 1U);
}

TEST_F(EndpointsTest, WritesNothingThatSaysNothingNew) {
  serve();
  run_pod("a", "10.0.0.2");
  bench_.start();
  const auto before = web()->head().resource_version;
  bench_.runner->add(kWeb);
  bench_.settle();
  EXPECT_EQ(web()->head().resource_version, before);
}

}  // namespace
}  // namespace kubernel::plugins::endpoints
