// SPDX-License-Identifier: Apache-2.0
#include "clusterrole_aggregation.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::clusterrole_aggregation {
namespace {

using nlohmann::json;

const api::Resource kClusterRoles{"rbac.authorization.k8s.io", "v1", "clusterroles"};

class Aggregation : public ::testing::Test {
 protected:
  void put(const std::string& name, const char* labels, const char* resource) {
    bench_.cluster.put(kClusterRoles, {{"metadata", {{"name", name}, {"labels", json::parse(labels)}}},
                                       {"rules", json::array({rule(resource)})}});
  }
  void put_admin() {
    bench_.cluster.put(kClusterRoles, json::parse(R"({"metadata":{"name":"admin"},
      "aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"to-admin":"true"}}]}})"));
  }
  static json rule(const char* resource) {
    return {{"apiGroups", json::array({""})}, {"resources", json::array({resource})}, {"verbs", json::array({"get"})}};
  }
  json rules() {
    const auto role = bench_.cluster.find(kClusterRoles, {"", "admin"});
    return role && (*role)["rules"] ? (*role)["rules"].to_json() : json::array();
  }

  testing::ControllerBench bench_{make_reconciler};
};

TEST_F(Aggregation, ARoleHasTheRulesOfThoseItsSelectorChooses) {
  put("b", R"({"to-admin":"true"})", "pods");
  put("a", R"({"to-admin":"true"})", "secrets");
  put("other", R"({"to-admin":"false"})", "nodes");
  put_admin();
  bench_.start();
  EXPECT_EQ(rules(), json::array({rule("secrets"), rule("pods")}));
}

TEST_F(Aggregation, ItFollowsChanges) {
  put_admin();
  put("a", R"({"to-admin":"true"})", "pods");
  bench_.start();
  put("b", R"({"to-admin":"true"})", "services");
  bench_.settle();
  EXPECT_EQ(rules(), json::array({rule("pods"), rule("services")}));
  bench_.cluster.erase(kClusterRoles, {"", "a"});
  bench_.settle();
  EXPECT_EQ(rules(), json::array({rule("services")}));
  bench_.cluster.edit(kClusterRoles, {"", "admin"}, [](json& role) { role["rules"] = json::array({rule("nodes")}); });
  bench_.settle();
  EXPECT_EQ(rules(), json::array({rule("services")}));
}

TEST_F(Aggregation, TheSameRuleIsThereOnceAndNothingIsWrittenTwice) {
  put("a", R"({"to-admin":"true"})", "pods");
  put("b", R"({"to-admin":"true"})", "pods");
  put_admin();
  bench_.start();
  EXPECT_EQ(rules(), json::array({rule("pods")}));
  const auto version = bench_.cluster.find(kClusterRoles, {"", "admin"})->head().resource_version;
  put("c", R"({"to-admin":"true"})", "pods");
  bench_.settle();
  EXPECT_EQ(bench_.cluster.find(kClusterRoles, {"", "admin"})->head().resource_version, version);
}

TEST_F(Aggregation, ARoleWithoutASelectorIsLeftAlone) {
  bench_.cluster.put(kClusterRoles, {{"metadata", {{"name", "admin"}}}, {"rules", json::array({rule("pods")})}});
  put("a", R"({"to-admin":"true"})", "services");
  bench_.start();
  EXPECT_EQ(rules(), json::array({rule("pods")}));
}

}  // namespace
}  // namespace kubernel::plugins::clusterrole_aggregation
