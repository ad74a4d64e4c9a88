// SPDX-License-Identifier: Apache-2.0
#include "serviceaccount.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::serviceaccount {
namespace {

using namespace std::chrono_literals;
using api::resources::kNamespaces;
using api::resources::kServiceAccounts;
using nlohmann::json;

class ServiceAccountTest : public ::testing::Test {
 protected:
  void put_namespace(const std::string& name) {
    bench_.cluster.put(kNamespaces, {{"metadata", {{"name", name}}},
                                     {"spec", {{"finalizers", {"kubernetes"}}}},
                                     {"status", {{"phase", "Active"}}}});
  }
  bool has_default(const std::string& ns) { return bench_.cluster.find(kServiceAccounts, {ns, "default"}).has_value(); }

  testing::ControllerBench bench_{make_reconciler};
};

TEST_F(ServiceAccountTest, EveryNamespaceGetsItsDefaultAccount) {
  put_namespace("before");
  bench_.start();
  put_namespace("after");
  bench_.settle();
  EXPECT_TRUE(has_default("before"));
  EXPECT_TRUE(has_default("after"));
}

TEST_F(ServiceAccountTest, ADeletedDefaultAccountComesBack) {
  put_namespace("shop");
  bench_.start();
  bench_.cluster.erase(kServiceAccounts, {"shop", "default"});
  bench_.settle();
  EXPECT_TRUE(has_default("shop"));
}

TEST_F(ServiceAccountTest, OtherAccountsAreTheirOwnersAffair) {
  put_namespace("shop");
  bench_.start();
  bench_.cluster.put(kServiceAccounts, {{"metadata", {{"name", "robot"}, {"namespace", "shop"}}}});
  bench_.settle();
  bench_.cluster.erase(kServiceAccounts, {"shop", "robot"});
  bench_.settle();
  EXPECT_EQ(bench_.cluster.all(kServiceAccounts).size(), 1U);
}

TEST_F(ServiceAccountTest, ANamespaceThatIsGoingGetsNone) {
  put_namespace("shop");
  bench_.start();
  ASSERT_TRUE(bench_.cluster.remove({}, kNamespaces, {"", "shop"}, {}));
  bench_.cluster.erase(kServiceAccounts, {"shop", "default"});
  bench_.settle();
  EXPECT_FALSE(has_default("shop"));
  EXPECT_FALSE(bench_.clock.next_timer());
}

TEST_F(ServiceAccountTest, TriesAgainAfterAFailure) {
  bench_.cluster.fail_next("create", kServiceAccounts, Error(Reason::Forbidden, "no right yet"));
  put_namespace("shop");
  bench_.start();
  EXPECT_FALSE(has_default("shop"));
  bench_.advance(10ms);
  EXPECT_TRUE(has_default("shop"));
}

}  // namespace
}  // namespace kubernel::plugins::serviceaccount
