// SPDX-License-Identifier: Apache-2.0
#include "registry.h"

#include <unistd.h>

#include <algorithm>
#include <future>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <kubernel/testing/fake_clock.h>
#include <nlohmann/json.hpp>

#include "test_directory.h"
#include "test_tar.h"

namespace kubernel::runtime::oci {
namespace {

using nlohmann::json;

class FakeStream final : public net::ClientStream {
 public:
  explicit FakeStream(net::Response response) : response_(std::move(response)) {}
  int status() const override { return response_.status; }
  const net::Headers& headers() const override { return response_.headers; }
  void on_data(std::function<void(std::string_view, const Error*)> data) override {
    for (std::size_t at = 0; at < response_.body.size(); at += 1000)
      data(std::string_view(response_.body).substr(at, 1000), nullptr);
    data({}, nullptr);
  }
  void pause(bool) override {}

 private:
  net::Response response_;
};

// A registry in memory. Threads: any.
struct FakeRegistry {
  std::mutex mutex;
  std::map<std::string, std::string> documents;  // URL -> body.
  std::map<std::string, std::string> redirects;  // URL -> URL.
  std::string need_authorization;                // Of registry URLs; empty: none.
  std::string challenge;
  std::string token_answer = R"({"token":"t0"})";
  std::vector<std::string> log;  // "GET URL authorization".

  net::Response serve(const net::ClientRequest& request) {
    const std::lock_guard lock(mutex);
    const std::string authorization(request.headers.get("authorization"));
    log.push_back(request.method + " " + request.url + (authorization.empty() ? "" : " " + authorization));
    net::Response response;
    if (request.url.starts_with("https://auth.example/")) {
      response.body = token_answer;
    } else if (request.url.find("/v2/") != std::string::npos && authorization != need_authorization) {
      response.status = 401;
      response.headers.add("www-authenticate", challenge);
    } else if (const auto to = redirects.find(request.url); to != redirects.end()) {
      response.status = 307;
      response.headers.add("location", to->second);
    } else if (const auto found = documents.find(request.url); found != documents.end()) {
      response.body = found->second;
    } else {
      response.status = 404;
    }
    return response;
  }
};

class FakeClient final : public net::HttpClient {
 public:
  explicit FakeClient(FakeRegistry& registry) : registry_(registry) {}
  Result<net::Response> request(const CallContext&, const net::ClientRequest& request, std::size_t) override {
    return registry_.serve(request);
  }
  Result<std::unique_ptr<net::ClientStream>> stream(const CallContext&, const net::ClientRequest& request) override {
    return std::unique_ptr<net::ClientStream>(std::make_unique<FakeStream>(registry_.serve(request)));
  }
  Result<std::shared_ptr<net::ByteStream>> upgrade(const CallContext&, const net::ClientRequest&,
                                                   net::Headers*) override {
    return Error(Reason::Internal, "unused");
  }
  Result<std::shared_ptr<net::WebSocket>> websocket(const CallContext&, const net::ClientRequest&,
                                                    const std::vector<std::string>&) override {
    return Error(Reason::Internal, "unused");
  }

 private:
  FakeRegistry& registry_;
};

class RegistryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "unpacking layers needs root";
    auto store = Store::open({dir_ / "root", {}, Durable::No}, log_,
                             [this](const CallContext& ctx, Store& s, const Reference& r, const auto& c) {
                               return registry_.pull(ctx, s, r, c);
                             });
    ASSERT_TRUE(store);
    store_ = *std::move(store);
    const std::string content(50'000, 'x');
    layer_ = TarMaker(true).file("f", content).file("random", sha256_digest(content)).bytes();
    config_ = R"({"rootfs":{"diff_ids":[")" +
              sha256_digest(TarMaker().file("f", content).file("random", sha256_digest(content)).bytes()) + R"("]}})";
    manifest_ = R"({"config":)" + descriptor(config_) + R"(,"layers":[)" + descriptor(layer_) + "]}";
    const std::string base = "https://reg.example/v2/team/app/";
    fake_.documents[base + "manifests/v1"] = manifest_;
    fake_.documents[base + "manifests/" + sha256_digest(manifest_)] = manifest_;
    fake_.documents[base + "blobs/" + sha256_digest(config_)] = config_;
    fake_.documents[base + "blobs/" + sha256_digest(layer_)] = layer_;
  }
  static std::string descriptor(const std::string& bytes) {
    return R"({"digest":")" + sha256_digest(bytes) + R"(","size":)" + std::to_string(bytes.size()) + "}";
  }
  Result<Image> pull(const std::string& reference, const std::optional<Credentials>& credentials = std::nullopt) {
    return store_->pull({}, reference, credentials);
  }
  std::string blob_url(const std::string& bytes) const {
    return "https://reg.example/v2/team/app/blobs/" + sha256_digest(bytes);
  }

  TestDirectory dir_;
  testing::RecordingLogger log_;
  FakeRegistry fake_;
  Registry registry_{{}, [this](const RegistrySettings&) -> Result<std::unique_ptr<net::HttpClient>> {
                       return std::unique_ptr<net::HttpClient>(std::make_unique<FakeClient>(fake_));
                     }};
  std::unique_ptr<Store> store_;
  std::string layer_, config_, manifest_;
};

TEST_F(RegistryTest, PullsByTagAndByDigest) {
  const auto image = pull("reg.example/team/app:v1");
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->id, sha256_digest(config_));
  EXPECT_EQ(image->tags, std::vector<std::string>{"reg.example/team/app:v1"});
  EXPECT_EQ(image->digests, std::vector<std::string>{"reg.example/team/app@" + sha256_digest(manifest_)});
  const std::size_t requests = fake_.log.size();
  const auto again = pull(image->digests[0]);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(fake_.log.size(), requests + 1);  // The manifest; the blobs are here.
}

TEST_F(RegistryTest, TakesThisMachinesImageOfAnIndex) {
  const std::string index = R"({"manifests":[{"digest":"sha256:)" + std::string(64, '0') +
                            R"(","size":1,"platform":{"os":"linux","architecture":"other"}},{"digest":")" +
                            sha256_digest(manifest_) + R"(","size":1,"platform":{"os":"linux","architecture":")" +
                            machine_architecture() + R"("}}]})";
  fake_.documents["https://reg.example/v2/team/app/manifests/multi"] = index;
  const auto image = pull("reg.example/team/app:multi");
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->digests, std::vector<std::string>{"reg.example/team/app@" + sha256_digest(index)});
}

TEST_F(RegistryTest, AnswersABearerChallenge) {
  fake_.need_authorization = "Bearer t0";
  fake_.challenge =
      R"(Bearer realm="https://auth.example/token",service="reg example",scope="repository:team/app:pull")";
  const auto image = pull("reg.example/team/app:v1", Credentials{"user", "pass"});
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(
      fake_.log.at(1),
      "GET https://auth.example/token?scope=repository%3Ateam%2Fapp%3Apull&service=reg%20example Basic dXNlcjpwYXNz");
  EXPECT_EQ(fake_.log.at(2), "GET https://reg.example/v2/team/app/manifests/v1 Bearer t0");
}

TEST_F(RegistryTest, AnswersABasicChallengeOnlyWithCredentials) {
  fake_.need_authorization = "Basic dXNlcjpwYXNz";
  fake_.challenge = R"(Basic realm="r")";
  const auto refused = pull("reg.example/team/app:v1");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::Unauthorized);
  EXPECT_EQ(
      refused.error().message(),
      "failed to pull image \"reg.example/team/app:v1\": the registry wants credentials, and there are none for it");
  const auto wrong = pull("reg.example/team/app:v1", Credentials{"user", "wrong"});
  EXPECT_EQ(wrong.error().message(),
            "failed to pull image \"reg.example/team/app:v1\": manifest v1: the registry refuses these credentials "
            "(HTTP 401)");
  EXPECT_TRUE(pull("reg.example/team/app:v1", Credentials{"user", "pass"}));
}

TEST_F(RegistryTest, CredentialsDoNotFollowARedirect) {
  fake_.need_authorization = "Bearer t0";
  fake_.challenge = R"(Bearer realm="https://auth.example/token")";
  fake_.redirects[blob_url(layer_)] = "https://cdn.example/layer?sig=1";
  fake_.documents["https://cdn.example/layer?sig=1"] = layer_;
  ASSERT_TRUE(pull("reg.example/team/app:v1"));
  EXPECT_EQ(fake_.log.back(), "GET https://cdn.example/layer?sig=1");
}

TEST_F(RegistryTest, ATokenServiceWithoutTlsGetsNoPassword) {
  fake_.need_authorization = "Bearer t0";
  fake_.challenge = R"(Bearer realm="http://auth.example/token")";
  const auto image = pull("reg.example/team/app:v1", Credentials{"user", "pass"});
  ASSERT_FALSE(image);
  EXPECT_EQ(fake_.log.size(), 1U);
}

TEST_F(RegistryTest, ARedirectWithoutTlsIsRefused) {
  fake_.redirects[blob_url(layer_)] = "http://cdn.example/layer";
  EXPECT_EQ(pull("reg.example/team/app:v1").error().reason(), Reason::Invalid);
  fake_.redirects[blob_url(layer_)] = blob_url(layer_);
  EXPECT_NE(pull("reg.example/team/app:v1").error().message().find("too many redirects"), std::string::npos);
}

TEST_F(RegistryTest, PullsOfOneImageShareTheWork) {
  std::vector<std::future<Result<Image>>> pulls;
  for (int i = 0; i < 8; ++i)
    pulls.push_back(std::async(std::launch::async, [this] { return pull("reg.example/team/app:v1"); }));
  for (auto& one : pulls) {
    const auto image = one.get();
    ASSERT_TRUE(image) << image.error().message();
    EXPECT_EQ(image->id, sha256_digest(config_));
  }
  EXPECT_EQ(std::ranges::count(fake_.log, "GET " + blob_url(layer_)), 1);
}

TEST_F(RegistryTest, AMissingImageIsNotFound) {
  const auto image = pull("reg.example/team/app:v2");
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().reason(), Reason::NotFound);
  EXPECT_EQ(image.error().message(), "failed to pull image \"reg.example/team/app:v2\": manifest v2: not found");
}

TEST_F(RegistryTest, ABlobWithOtherContentIsRefusedAndLeavesNothing) {
  for (const std::string& bad : {std::string(layer_.size(), 'y'), layer_ + "more", layer_.substr(1)}) {
    fake_.documents[blob_url(layer_)] = bad;
    const auto image = pull("reg.example/team/app:v1");
    ASSERT_FALSE(image);
    EXPECT_EQ(image.error().reason(), Reason::Invalid) << image.error().message();
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir_ / "root/images/blobs/sha256"));
  EXPECT_TRUE(std::filesystem::is_empty(dir_ / "root/tmp"));
  fake_.documents["https://reg.example/v2/team/app/manifests/" + sha256_digest(manifest_)] = "{}";
  EXPECT_EQ(pull("reg.example/team/app@" + sha256_digest(manifest_)).error().reason(), Reason::Invalid);
}

TEST(Challenge, IsFoundAmongOthers) {
  const auto bearer =
      parse_challenge(R"(Basic realm="x, y", Bearer realm="https://a/t",service=s,scope="a:b:pull,push")");
  ASSERT_TRUE(bearer);
  EXPECT_EQ(bearer->scheme, "bearer");
  EXPECT_EQ(bearer->parameters.at("realm"), "https://a/t");
  EXPECT_EQ(bearer->parameters.at("service"), "s");
  EXPECT_EQ(bearer->parameters.at("scope"), "a:b:pull,push");
  EXPECT_EQ(parse_challenge(R"(Basic realm="say \"hi\"")")->parameters.at("realm"), "say \"hi\"");
  EXPECT_FALSE(parse_challenge(""));
  EXPECT_FALSE(parse_challenge("Negotiate"));
  EXPECT_FALSE(parse_challenge("Bearer"));
  EXPECT_FALSE(parse_challenge(",,=,\"=\""));
}

}  // namespace
}  // namespace kubernel::runtime::oci
