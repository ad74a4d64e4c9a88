// SPDX-License-Identifier: Apache-2.0
#include "auth/service_account_tokens.h"

#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "auth_fixture.h"

namespace kubernel::apiserver {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class TokenFixture : public AuthFixture {
 public:
  TokenFixture() { create(api::resources::kServiceAccounts, "default", R"({"metadata":{"name":"robot"}})"); }

  Result<api::Object> request(const std::string& spec, const std::string& account = "robot") {
    client::WriteOptions options;
    options.subresource = "token";
    return client().create({}, api::resources::kServiceAccounts, {"default", account},
                           json::parse(R"({"spec":)" + spec + "}"), options);
  }
  std::string token(const std::string& spec = "{}") {
    auto made = request(spec);
    if (!made) throw std::runtime_error(made.error().message());
    return std::string((*made)["status"]["token"].string());
  }
  api::Object pod(const std::string& node = "") {
    return create(api::resources::kPods, "default",
                  R"({"metadata":{"name":"p"},"spec":{"serviceAccountName":"robot","nodeName":")" + node +
                      R"(","containers":[{"name":"c","image":"busybox"}]}})");
  }
  // As the server does: from the header to the user.
  Result<std::optional<auth::User>> present(const std::string& header) {
    net::Request request;
    request.headers.set("authorization", header);
    return auth().authenticators().at(1)->authenticate({}, request);
  }
  std::string refusal(const std::string& token) { return problem(present("Bearer " + token)); }
};

class Tokens : public ::testing::Test, public TokenFixture {};

TEST_F(Tokens, ATokenProvesItsServiceAccount) {
  const auto found = present("Bearer " + token());
  ASSERT_TRUE(found) << found.error().message();
  ASSERT_TRUE(*found);
  const auth::User& user = **found;
  EXPECT_EQ(user.name, "system:serviceaccount:default:robot");
  EXPECT_EQ(user.uid, client().get({}, api::resources::kServiceAccounts, {"default", "robot"}, "")->uid());
  EXPECT_THAT(user.groups,
              ElementsAre("system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"));
  EXPECT_THAT(user.extra.at("authentication.kubernetes.io/credential-id").at(0), ::testing::StartsWith("JTI="));
}

TEST_F(Tokens, TheRequestIsAnsweredWithDefaultsFilledIn) {
  const auto made = request("{}");
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ((*made)["kind"].string(), "TokenRequest");
  EXPECT_EQ((*made)["spec"]["expirationSeconds"].integer(), 3600);
  EXPECT_EQ((*made)["spec"]["audiences"].at(0).string(), kIssuer);
  EXPECT_EQ((*made)["status"]["expirationTimestamp"].string(), "2026-01-01T01:00:00Z");
}

TEST_F(Tokens, TheClaimsAreUpstreams) {
  create(api::resources::kNodes, "", R"({"metadata":{"name":"n1"}})");
  const auto p = pod("n1");
  const std::string text =
      token(R"({"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p"},"audiences":["a","b"]})");
  const auto claims = crypto::verify_jwt(text, {keys.public_pem});
  ASSERT_TRUE(claims);
  EXPECT_EQ((*claims)["iss"], kIssuer);
  EXPECT_EQ((*claims)["sub"], "system:serviceaccount:default:robot");
  EXPECT_EQ((*claims)["aud"], json::parse(R"(["a","b"])"));
  EXPECT_EQ((*claims)["exp"].get<int>() - (*claims)["iat"].get<int>(), 3600);
  EXPECT_EQ((*claims)["nbf"], (*claims)["iat"]);
  const json& own = (*claims)["kubernetes.io"];
  EXPECT_EQ(own["namespace"], "default");
  EXPECT_EQ(own["serviceaccount"]["name"], "robot");
  EXPECT_EQ(own["pod"]["name"], "p");
  EXPECT_EQ(own["pod"]["uid"], p.uid());
  EXPECT_EQ(own["node"]["name"], "n1");
  EXPECT_TRUE(own["node"].contains("uid"));
}

TEST_F(Tokens, ABoundTokenTellsOfItsPodAndNode) {
  create(api::resources::kNodes, "", R"({"metadata":{"name":"n1"}})");
  const auto p = pod("n1");
  const auto found = present("Bearer " + token(R"({"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p"}})"));
  ASSERT_TRUE(found && *found);
  const auto& extra = (*found)->extra;
  EXPECT_THAT(extra.at("authentication.kubernetes.io/pod-name"), ElementsAre("p"));
  EXPECT_THAT(extra.at("authentication.kubernetes.io/pod-uid"), ElementsAre(p.uid()));
  EXPECT_THAT(extra.at("authentication.kubernetes.io/node-name"), ElementsAre("n1"));
  EXPECT_TRUE(extra.contains("authentication.kubernetes.io/node-uid"));
}

TEST_F(Tokens, AnExpiredTokenIsRefused) {
  const std::string text = token(R"({"expirationSeconds":600})");
  clock().advance(599s);
  EXPECT_EQ(refusal(text), "");
  clock().advance(1s);
  EXPECT_EQ(refusal(text), "service account token has expired");
}

TEST_F(Tokens, AForeignKeysTokenIsRefused) {
  const Keys other;
  const auto claims = crypto::verify_jwt(token(), {keys.public_pem});
  const auto forged = crypto::sign_jwt(*claims, other.private_pem);
  EXPECT_EQ(refusal(*forged), "invalid bearer token");
}

TEST_F(Tokens, AnotherIssuersTokenIsRefused) {
  json claims = *crypto::verify_jwt(token(), {keys.public_pem});
  claims["iss"] = "https://elsewhere";
  EXPECT_EQ(refusal(*crypto::sign_jwt(claims, keys.private_pem)), "the token is from another issuer");
}

TEST_F(Tokens, ATokenForAnotherAudienceIsRefused) {
  EXPECT_THAT(refusal(token(R"({"audiences":["vault"]})")), HasSubstr("audiences"));
}

TEST_F(Tokens, GarbageIsRefusedAndNeverRepeated) {
  for (const char* garbage : {"x", "a.b.c", "secret-garbage", "..", "eyJhbGciOiJub25lIn0.e30."}) {
    const auto found = present(std::string("Bearer ") + garbage);
    ASSERT_FALSE(found) << garbage;
    EXPECT_EQ(found.error().reason(), Reason::Unauthorized);
    EXPECT_EQ(found.error().message(), "invalid bearer token");
  }
}

TEST_F(Tokens, OtherCredentialsAreNotOurs) {
  EXPECT_FALSE(*present("Basic YTpi"));
  EXPECT_FALSE(*present(""));
  EXPECT_TRUE(*present("bearer " + token()));
}

TEST_F(Tokens, ATokenEndsWithItsServiceAccount) {
  const std::string text = token();
  EXPECT_EQ(refusal(text), "");
  ASSERT_TRUE(client().remove({}, api::resources::kServiceAccounts, {"default", "robot"}, {}));
  executor().run_all();
  EXPECT_EQ(refusal(text), R"(the token's serviceaccounts "default/robot" does not exist)");
  create(api::resources::kServiceAccounts, "default", R"({"metadata":{"name":"robot"}})");
  EXPECT_EQ(refusal(text), R"(the token's serviceaccounts "default/robot" was deleted and made anew)");
}

TEST_F(Tokens, ATokenEndsWithItsPod) {
  pod();
  const std::string text = token(R"({"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p"}})");
  EXPECT_EQ(refusal(text), "");
  client::DeleteOptions now;
  now.grace_period_seconds = 0;
  ASSERT_TRUE(client().remove({}, api::resources::kPods, {"default", "p"}, now));
  executor().run_all();
  EXPECT_EQ(refusal(text), R"(the token's pods "default/p" does not exist)");
}

TEST_F(Tokens, APodThatEndsKeepsItsTokenForItsGraceAndAMinute) {
  create(api::resources::kNodes, "", R"({"metadata":{"name":"n1"}})");
  pod("n1");
  const std::string text = token(R"({"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p"}})");
  ASSERT_TRUE(client().remove({}, api::resources::kPods, {"default", "p"}, {}));
  executor().run_all();
  clock().advance(89s);
  EXPECT_EQ(refusal(text), "");
  clock().advance(3s);
  EXPECT_EQ(refusal(text), R"(the token's pods "default/p" has been deleted)");
}

struct RequestRow {
  const char* name;
  const char* spec;
  const char* message;
};
class TokenRequestRules : public ::testing::TestWithParam<RequestRow> {};
INSTANTIATE_TEST_SUITE_P(
    All, TokenRequestRules,
    ::testing::Values(
        RequestRow{
            "TooShort", R"({"expirationSeconds":599})",
            R"(TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes)"},
        RequestRow{
            "TooLong", R"({"expirationSeconds":4294967297})",
            R"(TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds)"},
        RequestRow{"NoSuchPod", R"({"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"none"}})",
                   R"(pods "none" not found)"},
        RequestRow{
            "AnotherAccountsPod", R"({"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"other"}})",
            R"(cannot bind token for serviceaccount "robot" to pod running with different serviceaccount name.)"},
        RequestRow{"AnotherUid", R"({"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p","uid":"x"}})",
                   "Operation cannot be fulfilled on Pod \"p\": the UID in the bound object reference (x) does not "
                   "match the UID in record. "
                   "The object might have been deleted and then recreated"},
        RequestRow{"AnotherKind", R"({"boundObjectRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"p"}})",
                   "cannot bind token to object of type apps/v1, Kind=Deployment"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_P(TokenRequestRules, RefuseInUpstreamsWords) {
  TokenFixture f;
  f.pod();
  f.create(api::resources::kPods, "default",
           R"({"metadata":{"name":"other"},"spec":{"containers":[{"name":"c","image":"busybox"}]}})");
  const auto made = f.request(GetParam().spec);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().message(), GetParam().message);
}

}  // namespace
}  // namespace kubernel::apiserver
