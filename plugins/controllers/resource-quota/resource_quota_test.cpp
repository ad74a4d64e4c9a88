// SPDX-License-Identifier: Apache-2.0
#include "resource_quota.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::resource_quota {
namespace {

using nlohmann::json;

const api::Resource kQuotas{"", "v1", "resourcequotas"};

class ResourceQuotaTest : public ::testing::Test {
 protected:
  ResourceQuotaTest() { bench_.cluster.serve(kQuotas, "ResourceQuota", true); }

  void put_quota(const char* spec) {
    bench_.cluster.put(kQuotas, {{"metadata", {{"name", "q"}, {"namespace", "n"}}}, {"spec", json::parse(spec)}});
  }
  void put_pod(const std::string& name, const char* cpu, const std::string& ns = "n") {
    json container = {{"name", "c"}, {"image", "i"}, {"resources", {{"requests", {{"cpu", cpu}}}}}};
    bench_.cluster.put(api::resources::kPods, {{"metadata", {{"name", name}, {"namespace", ns}}},
                                               {"spec", {{"containers", json::array({container})}}}});
  }
  json status() { return (*bench_.cluster.find(kQuotas, {"n", "q"}))["status"].to_json(); }

  testing::ControllerBench bench_{make_reconciler};
};

TEST_F(ResourceQuotaTest, CountsWhatIsThereInItsNamespace) {
  put_quota(R"({"hard":{"pods":"5","requests.cpu":"2","count/deployments.apps":"1"}})");
  put_pod("a", "300m");
  put_pod("b", "1");
  put_pod("elsewhere", "1", "m");
  bench_.start();
  EXPECT_EQ(status(), json::parse(R"({"hard":{"pods":"5","requests.cpu":"2","count/deployments.apps":"1"},
                                      "used":{"pods":"2","requests.cpu":"1300m","count/deployments.apps":"0"}})"));
}

TEST_F(ResourceQuotaTest, GivesBackWhatADeletedOrEndedPodUsed) {
  put_quota(R"({"hard":{"pods":"5"}})");
  put_pod("a", "1");
  put_pod("b", "1");
  bench_.start();
  EXPECT_EQ(status()["used"]["pods"], "2");
  bench_.cluster.erase(api::resources::kPods, {"n", "a"});
  bench_.settle();
  EXPECT_EQ(status()["used"]["pods"], "1");
  bench_.cluster.edit(api::resources::kPods, {"n", "b"}, [](json& pod) { pod["status"]["phase"] = "Succeeded"; });
  bench_.settle();
  EXPECT_EQ(status()["used"]["pods"], "0");
}

TEST_F(ResourceQuotaTest, CountsOnlyWhatItsScopesInclude) {
  put_quota(R"({"hard":{"pods":"5"},"scopes":["BestEffort"]})");
  put_pod("a", "1");
  bench_.start();
  EXPECT_EQ(status()["used"]["pods"], "0");
}

TEST_F(ResourceQuotaTest, LooksAgainAtWhatItDoesNotWatch) {
  put_quota(R"({"hard":{"configmaps":"5"}})");
  bench_.start();
  bench_.cluster.put(api::resources::kConfigMaps, {{"metadata", {{"name", "c"}, {"namespace", "n"}}}});
  bench_.advance(std::chrono::minutes(6));
  EXPECT_EQ(status()["used"]["configmaps"], "1");
}

TEST_F(ResourceQuotaTest, FollowsItsSpec) {
  put_quota(R"({"hard":{"pods":"5"}})");
  bench_.start();
  bench_.cluster.edit(kQuotas, {"n", "q"}, [](json& quota) { quota["spec"]["hard"] = {{"services", "1"}}; });
  bench_.settle();
  EXPECT_EQ(status(), json::parse(R"({"hard":{"services":"1"},"used":{"services":"0"}})"));
}

}  // namespace
}  // namespace kubernel::plugins::resource_quota
