// SPDX-License-Identifier: Apache-2.0
#include "auth/reviews.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "auth_fixture.h"

namespace kubernel::apiserver {
namespace {

using ::testing::HasSubstr;

class Reviews : public ::testing::Test, public AuthFixture {
 public:
  Reviews() { bind("default", "alice-views", "view", "alice"); }

  Result<api::Object> review(const auth::User& who, const std::string& plural, const std::string& spec,
                             const std::string& ns = "") {
    const bool authentication = plural == "tokenreviews" || plural == "selfsubjectreviews";
    return as(who)->create({}, {authentication ? "authentication.k8s.io" : "authorization.k8s.io", "v1", plural},
                           {ns, ""}, json::parse(R"({"spec":)" + spec + "}"), {});
  }
  const auth::User admin = user("admin", {"system:masters"});
  const auth::User alice = user("alice");
};

TEST_F(Reviews, AnAdministratorAsksForAnother) {
  const auto yes =
      review(admin, "subjectaccessreviews",
             R"({"user":"alice","resourceAttributes":{"verb":"list","resource":"pods","namespace":"default"}})");
  ASSERT_TRUE(yes) << yes.error().message();
  EXPECT_EQ((*yes)["kind"].string(), "SubjectAccessReview");
  EXPECT_TRUE((*yes)["status"]["allowed"].boolean());
  EXPECT_EQ((*yes)["status"]["reason"].string(),
            R"(RBAC: allowed by RoleBinding "alice-views/default" of ClusterRole "view" to User "alice")");
  const auto no =
      review(admin, "subjectaccessreviews",
             R"({"user":"alice","resourceAttributes":{"verb":"create","resource":"pods","namespace":"default"}})");
  ASSERT_TRUE(no);
  EXPECT_FALSE((*no)["status"]["allowed"].boolean(true));
}

TEST_F(Reviews, GroupsAndPathsCount) {
  const auto masters = review(admin, "subjectaccessreviews",
                              R"({"groups":["system:masters"],"nonResourceAttributes":{"verb":"put","path":"/x"}})");
  EXPECT_TRUE((*masters)["status"]["allowed"].boolean());
  const auto monitor =
      review(admin, "subjectaccessreviews",
             R"({"user":"x","groups":["system:monitoring"],"nonResourceAttributes":{"verb":"get","path":"/metrics"}})");
  EXPECT_TRUE((*monitor)["status"]["allowed"].boolean());
}

TEST_F(Reviews, OnlyWhoMayAskIsAnswered) {
  const auto refused =
      review(alice, "subjectaccessreviews", R"({"user":"bob","resourceAttributes":{"verb":"get","resource":"pods"}})");
  ASSERT_FALSE(refused);
  EXPECT_EQ(
      refused.error().message(),
      R"(subjectaccessreviews.authorization.k8s.io is forbidden: User "alice" cannot create resource "subjectaccessreviews" in API group "authorization.k8s.io" at the cluster scope)");
}

TEST_F(Reviews, EverybodyMayAskForThemselves) {
  const auto yes =
      review(alice, "selfsubjectaccessreviews",
             R"({"resourceAttributes":{"verb":"get","resource":"pods","namespace":"default","name":"p"}})");
  ASSERT_TRUE(yes) << yes.error().message();
  EXPECT_TRUE((*yes)["status"]["allowed"].boolean());
  const auto no = review(alice, "selfsubjectaccessreviews",
                         R"({"resourceAttributes":{"verb":"get","resource":"pods","namespace":"kube-system"}})");
  EXPECT_FALSE((*no)["status"]["allowed"].boolean(true));
}

TEST_F(Reviews, AReviewAsksExactlyOneThing) {
  const auto none = review(alice, "selfsubjectaccessreviews", "{}");
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message(),
              HasSubstr("exactly one of nonResourceAttributes or resourceAttributes must be specified"));
  const auto nobody =
      review(admin, "subjectaccessreviews", R"({"resourceAttributes":{"verb":"get","resource":"pods"}})");
  ASSERT_FALSE(nobody);
  EXPECT_THAT(nobody.error().message(), HasSubstr("at least one of user or group must be specified"));
}

TEST_F(Reviews, ALocalReviewStaysInItsNamespace) {
  const std::string spec =
      R"({"user":"alice","resourceAttributes":{"verb":"list","resource":"pods","namespace":"default"}})";
  const auto yes = review(admin, "localsubjectaccessreviews", spec, "default");
  ASSERT_TRUE(yes) << yes.error().message();
  EXPECT_TRUE((*yes)["status"]["allowed"].boolean());
  EXPECT_EQ(problem(review(admin, "localsubjectaccessreviews", spec, "kube-system")),
            "spec.resourceAttributes.namespace must match namespace: kube-system");
}

TEST_F(Reviews, TheRulesOfAUserAreListed) {
  const auto rules = review(alice, "selfsubjectrulesreviews", R"({"namespace":"default"})");
  ASSERT_TRUE(rules) << rules.error().message();
  const json status = (*rules)["status"].to_json();
  EXPECT_EQ(status["incomplete"], false);
  EXPECT_THAT(status["resourceRules"].dump(), HasSubstr("pods/log"));
  EXPECT_THAT(status["nonResourceRules"].dump(), HasSubstr("/healthz"));
  const auto elsewhere = review(alice, "selfsubjectrulesreviews", R"({"namespace":"kube-system"})");
  EXPECT_THAT((*elsewhere)["status"].dump(), ::testing::Not(HasSubstr("pods/log")));
  EXPECT_EQ(problem(review(alice, "selfsubjectrulesreviews", "{}")), "no namespace on request");
}

TEST_F(Reviews, WhoAmI) {
  auth::User who = user("carol", {"dev"});
  who.uid = "7";
  who.extra["k"] = {"v"};
  const auto self = review(who, "selfsubjectreviews", "{}");
  ASSERT_TRUE(self) << self.error().message();
  EXPECT_EQ(
      (*self)["status"]["userInfo"].to_json(),
      json::parse(R"({"username":"carol","uid":"7","groups":["dev","system:authenticated"],"extra":{"k":["v"]}})"));
}

TEST_F(Reviews, ATokenIsReviewed) {
  client::WriteOptions options;
  options.subresource = "token";
  const auto made = client().create({}, api::resources::kServiceAccounts, {"default", "default"},
                                    json::parse(R"({"spec":{"audiences":["vault"]}})"), options);
  ASSERT_TRUE(made) << made.error().message();
  const std::string token((*made)["status"]["token"].string());
  const auto good = review(admin, "tokenreviews", R"({"token":")" + token + R"(","audiences":["vault","x"]})");
  ASSERT_TRUE(good) << good.error().message();
  EXPECT_TRUE((*good)["status"]["authenticated"].boolean());
  EXPECT_EQ((*good)["status"]["user"]["username"].string(), "system:serviceaccount:default:default");
  EXPECT_EQ((*good)["status"]["audiences"].to_json(), json::parse(R"(["vault"])"));
  const auto bad = review(admin, "tokenreviews", R"({"token":"garbage"})");
  ASSERT_TRUE(bad);
  EXPECT_FALSE((*bad)["status"]["authenticated"].boolean());
  EXPECT_EQ((*bad)["status"]["error"].string(), "invalid bearer token");
  EXPECT_EQ(problem(review(admin, "tokenreviews", "{}")), "token is required for TokenReview in authentication");
}

}  // namespace
}  // namespace kubernel::apiserver
