// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "discovery/openapi_v2.h"
#include "fake_exchange.h"
#include "fixture.h"
#include "http/gzip.h"

namespace kubernel::apiserver {
namespace {

constexpr const char* kProtobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

class OpenApiV2Test : public ::testing::Test {
 protected:
  net::Response get(const FakeExchange& exchange) { return document_.serve(exchange.request()); }

  Fixture f_;
  OpenApiV2 document_{f_.api()};
};

TEST_F(OpenApiV2Test, IsJsonUnlessProtobufIsAskedFor) {
  const auto text = get(FakeExchange("GET", OpenApiV2::kPath));
  EXPECT_EQ(text.headers.get("content-type"), "application/json");
  EXPECT_TRUE(json::parse(text.body)["definitions"].contains("io.k8s.api.core.v1.Pod"));
  const auto old_name = get(FakeExchange("GET", OpenApiV2::kPath)
                                .header("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"));
  EXPECT_EQ(old_name.headers.get("content-type"), kProtobuf);
  EXPECT_EQ(old_name.body.substr(0, 5), std::string("\x0A\x03") + "2.0");
  const auto both =
      get(FakeExchange("GET", OpenApiV2::kPath).header("accept", std::string("text/html, ") + kProtobuf + ", */*"));
  EXPECT_EQ(both.body, old_name.body);
  EXPECT_EQ(get(FakeExchange("GET", OpenApiV2::kPath).header("accept", "text/html")).status, 406);
}

TEST_F(OpenApiV2Test, GoesCompressedToWhoTakesIt) {
  const auto plain = get(FakeExchange("GET", OpenApiV2::kPath));
  EXPECT_EQ(plain.headers.get("content-encoding"), "");
  const auto packed = get(FakeExchange("GET", OpenApiV2::kPath).header("accept-encoding", "br, gzip;q=0.8"));
  EXPECT_EQ(packed.headers.get("content-encoding"), "gzip");
  EXPECT_LT(packed.body.size(), 300'000U);
  const auto unpacked = gunzip(packed.body);
  ASSERT_TRUE(unpacked);
  EXPECT_EQ(*unpacked, plain.body);
  EXPECT_EQ(
      get(FakeExchange("GET", OpenApiV2::kPath).header("accept-encoding", "gzip;q=0")).headers.get("content-encoding"),
      "");
}

TEST_F(OpenApiV2Test, IsNotSentAgainToWhoHasIt) {
  const auto first = get(FakeExchange("GET", OpenApiV2::kPath));
  const auto again =
      get(FakeExchange("GET", OpenApiV2::kPath).header("if-none-match", std::string(first.headers.get("etag"))));
  EXPECT_EQ(again.status, 304);
  EXPECT_TRUE(again.body.empty());
  // The two forms are two documents.
  const auto other = get(FakeExchange("GET", OpenApiV2::kPath)
                             .header("accept", kProtobuf)
                             .header("if-none-match", std::string(first.headers.get("etag"))));
  EXPECT_EQ(other.status, 200);
}

TEST(Gzip, GivesBackWhatItTookAndRefusesTheRest) {
  for (const std::string& text : {std::string(), std::string("a"), std::string(3'000'000, 'x')})
    EXPECT_EQ(*gunzip(gzip(text)), text);
  EXPECT_FALSE(gunzip("plain"));
  EXPECT_FALSE(gunzip(gzip("abc").substr(0, 10)));
}

}  // namespace
}  // namespace kubernel::apiserver
