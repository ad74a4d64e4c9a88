// SPDX-License-Identifier: Apache-2.0
//
// Authentication and authorization as an HTTP client meets them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "../fake_exchange.h"
#include "auth_fixture.h"
#include "http/front.h"

namespace kubernel::apiserver {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class HttpAuth : public ::testing::Test, public AuthFixture {
 public:
  HttpAuth() : front_({api(), metrics_, auth().authenticators(), true, {}}) {
    if (auto served = auth().serve_documents(front_); !served) throw std::runtime_error(served.error().message());
  }

  net::Response call(FakeExchange exchange) {
    front_.serve(exchange);
    return exchange.answer.value_or(net::Response{0, {}, ""});
  }
  std::string token() {
    client::WriteOptions options;
    options.subresource = "token";
    auto made = client().create({}, api::resources::kServiceAccounts, {"default", "default"}, json::object(), options);
    if (!made) throw std::runtime_error(made.error().message());
    return std::string((*made)["status"]["token"].string());
  }

 private:
  kubernel::testing::RecordingMetrics metrics_;
  Front front_;
};

TEST_F(HttpAuth, ATokenIsWhoItSaysAndMayWhatItsRolesAllow) {
  FakeExchange request("GET", "/api/v1/namespaces/default/pods");
  request.header("authorization", "Bearer " + token());
  const auto refused = call(std::move(request));
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(
      json::parse(refused.body)["message"],
      R"(pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" in API group "" in the namespace "default")");
  bind("default", "b", "view", "system:serviceaccount:default:default");
  FakeExchange again("GET", "/api/v1/namespaces/default/pods");
  again.header("authorization", "Bearer " + token());
  EXPECT_EQ(call(std::move(again)).status, 200);
}

TEST_F(HttpAuth, WrongCredentialsAreUnauthorizedAndNotRepeated) {
  FakeExchange request("GET", "/api/v1/namespaces/default/pods");
  request.header("authorization", "Bearer some-secret-text");
  const auto refused = call(std::move(request));
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(json::parse(refused.body)["reason"], "Unauthorized");
  EXPECT_THAT(refused.body, Not(HasSubstr("some-secret-text")));
}

TEST_F(HttpAuth, WithoutCredentialsOnlyPublicPathsAreOpen) {
  EXPECT_EQ(call(FakeExchange("GET", "/livez")).status, 200);
  EXPECT_EQ(call(FakeExchange("GET", "/version")).status, 200);
  const auto refused = call(FakeExchange("GET", "/metrics"));
  EXPECT_EQ(refused.status, 403);
  EXPECT_THAT(refused.body, HasSubstr(R"(forbidden: User \"system:anonymous\" cannot get path \"/metrics\")"));
  EXPECT_EQ(call(FakeExchange("GET", "/openid/v1/jwks")).status, 403);
}

TEST_F(HttpAuth, TheKeysAreServedToServiceAccounts) {
  FakeExchange request("GET", "/openid/v1/jwks");
  request.header("authorization", "Bearer " + token());
  const auto served = call(std::move(request));
  EXPECT_EQ(served.status, 200);
  EXPECT_EQ(served.headers.get("content-type"), "application/jwk-set+json");
  EXPECT_EQ(json::parse(served.body)["keys"][0]["alg"], "ES256");
  FakeExchange other("GET", "/.well-known/openid-configuration");
  other.header("authorization", "Bearer " + token());
  EXPECT_EQ(json::parse(call(std::move(other)).body)["issuer"], kIssuer);
}

TEST_F(HttpAuth, AReviewHasNoTableForm) {
  const auto ask = [&](const char* accept) {
    FakeExchange request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                         R"({"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1",
                            "spec":{"resourceAttributes":{"verb":"get","resource":"pods","namespace":"default"}}})");
    request.header("authorization", "Bearer " + token()).header("accept", accept);
    return call(std::move(request)).status;
  };
  EXPECT_EQ(ask("application/json;as=Table;v=v1;g=meta.k8s.io"), 406);
  EXPECT_EQ(ask("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), 201);
}

}  // namespace
}  // namespace kubernel::apiserver
