// SPDX-License-Identifier: Apache-2.0
#include <kubernel/client/http.h>

#include <deque>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/fake_clock.h>

namespace kubernel::client {
namespace {

using namespace std::chrono_literals;
using api::resources::kDeployments;
using api::resources::kNamespaces;
using api::resources::kPods;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Data = std::function<void(std::string_view, const Error*)>;

// What a stream's peer holds in its hand.
struct Far {
  Data data;
  bool paused = false;
  void say(std::string_view text) const { data(text, nullptr); }
};

class FakeStream final : public net::ClientStream {
 public:
  FakeStream(int status, std::string body, std::shared_ptr<Far> far)
      : status_(status), body_(std::move(body)), far_(std::move(far)) {}
  int status() const override { return status_; }
  const net::Headers& headers() const override { return headers_; }
  void on_data(Data data) override {
    far_->data = std::move(data);
    if (!body_.empty()) far_->say(body_);
    if (status_ != 200) far_->say({});
  }
  void pause(bool paused) override { far_->paused = paused; }

 private:
  const int status_;
  const std::string body_;
  const std::shared_ptr<Far> far_;
  net::Headers headers_;
};

// Answers in order, and keeps what it was asked.
class FakeHttp final : public net::HttpClient {
 public:
  Result<net::Response> request(const CallContext& ctx, const net::ClientRequest& request, std::size_t) override {
    asked.push_back(request);
    deadline = ctx.deadline;
    if (answers.empty()) return Error(Reason::ServiceUnavailable, "nobody there");
    net::Response response = answers.front();
    answers.pop_front();
    return response;
  }
  Result<std::unique_ptr<net::ClientStream>> stream(const CallContext&, const net::ClientRequest& request) override {
    asked.push_back(request);
    return std::make_unique<FakeStream>(stream_status, stream_body, far);
  }
  Result<std::shared_ptr<net::ByteStream>> upgrade(const CallContext&, const net::ClientRequest&,
                                                   net::Headers*) override {
    return Error(Reason::BadRequest, "not here");
  }
  Result<std::shared_ptr<net::WebSocket>> websocket(const CallContext&, const net::ClientRequest&,
                                                    const std::vector<std::string>&) override {
    return Error(Reason::BadRequest, "not here");
  }
  void answer(int status, const std::string& body) { answers.push_back({status, {}, body}); }

  std::vector<net::ClientRequest> asked;
  std::deque<net::Response> answers;
  CallContext::Clock::time_point deadline{};
  int stream_status = 200;
  std::string stream_body;
  std::shared_ptr<Far> far = std::make_shared<Far>();
};

class HttpClientTest : public ::testing::Test {
 protected:
  std::unique_ptr<ApiClient> connect(HttpApiOptions options = {}, const std::string& user = "anyone") {
    if (options.server.empty()) options.server = "https://api:6443/";
    connector_ = make_http_connector({log_, metrics_, clock_, executor_}, random_, http_, std::move(options));
    return connector_->connect({.name = user});
  }
  std::string asked() const { return http_.asked.back().method + " " + http_.asked.back().url; }

  testing::FakeClock clock_;
  testing::ManualExecutor executor_;
  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  testing::SeededRandom random_{1};
  FakeHttp http_;
  std::unique_ptr<Connector> connector_;
  const std::string pod_ =
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"shop","resourceVersion":"7"}})";
};

TEST_F(HttpClientTest, SpellsItsCallsAsTheApiDoes) {
  const auto client = connect();
  const api::ObjectKey key{"shop", "web"};
  for (int i = 0; i < 9; ++i) http_.answer(200, pod_);
  EXPECT_TRUE(client->get({}, kPods, {"shop", "p"}, ""));
  EXPECT_EQ(asked(), "GET https://api:6443/api/v1/namespaces/shop/pods/p");
  EXPECT_TRUE(client->get({}, kDeployments, key, "scale"));
  EXPECT_EQ(asked(), "GET https://api:6443/apis/apps/v1/namespaces/shop/deployments/web/scale");
  EXPECT_TRUE(client->get({}, kNamespaces, {"", "shop"}, ""));
  EXPECT_EQ(asked(), "GET https://api:6443/api/v1/namespaces/shop");
  EXPECT_TRUE(client->create({}, kPods, {"shop", ""}, {{"a", 1}}, {.field_manager = "me and you"}));
  EXPECT_EQ(asked(), "POST https://api:6443/api/v1/namespaces/shop/pods?fieldManager=me%20and%20you");
  EXPECT_EQ(http_.asked.back().body, R"({"a":1})");
  EXPECT_TRUE(client->create({}, kPods, {"shop", "p"}, {{"a", 1}}, {.subresource = "binding"}));
  EXPECT_EQ(asked(), "POST https://api:6443/api/v1/namespaces/shop/pods/p/binding");
  EXPECT_TRUE(client->update({}, kDeployments, key, {{"a", 1}}, {.subresource = "status", .dry_run = true}));
  EXPECT_EQ(asked(), "PUT https://api:6443/apis/apps/v1/namespaces/shop/deployments/web/status?dryRun=All");
  EXPECT_TRUE(client->patch({}, kPods, key, PatchType::StrategicMerge, {{"a", 1}}, {}));
  EXPECT_EQ(http_.asked.back().headers.get("content-type"), "application/strategic-merge-patch+json");
  EXPECT_TRUE(client->patch({}, kPods, key, PatchType::Apply, {{"a", 1}}, {.field_manager = "m", .force = true}));
  EXPECT_EQ(asked(), "PATCH https://api:6443/api/v1/namespaces/shop/pods/web?fieldManager=m&force=true");
  EXPECT_TRUE(client->remove(
      {}, kPods, key, {.grace_period_seconds = 0, .precondition_uid = "u", .propagation = Propagation::Foreground}));
  EXPECT_EQ(asked(), "DELETE https://api:6443/api/v1/namespaces/shop/pods/web");
  EXPECT_EQ(
      json::parse(http_.asked.back().body),
      json::parse(
          R"({"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0,"preconditions":{"uid":"u"},"propagationPolicy":"Foreground"})"));
}

TEST_F(HttpClientTest, ReadsListsAndGivesItemsTheirKind) {
  const auto client = connect();
  http_.answer(200, R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"42","continue":"more"},
                        "items":[{"metadata":{"name":"a","namespace":"shop"}},{"metadata":{"name":"b","namespace":"shop"}}]})");
  const auto list = client->list({}, kPods, {.label_selector = "app in (a,b)", .limit = 2, .resource_version = "0"});
  ASSERT_TRUE(list) << list.error().message();
  EXPECT_EQ(asked(), "GET https://api:6443/api/v1/pods?labelSelector=app%20in%20%28a%2Cb%29&limit=2&resourceVersion=0");
  EXPECT_EQ(list->resource_version, 42);
  EXPECT_EQ(list->continue_token, "more");
  ASSERT_EQ(list->items.size(), 2U);
  EXPECT_EQ(list->items[1].head().gvk.kind, "Pod");
  EXPECT_EQ(list->items[1].head().gvk.version, "v1");
  EXPECT_EQ(list->items[1].name(), "b");
}

TEST_F(HttpClientTest, TurnsAStatusIntoAnError) {
  const auto client = connect();
  http_.answer(
      422,
      R"({"kind":"Status","apiVersion":"v1","status":"Failure","message":"Pod \"p\" is invalid","reason":"Invalid","code":422,
      "details":{"name":"p","kind":"Pod","causes":[{"reason":"FieldValueRequired","message":"Required value","field":"spec"}]}})");
  const auto refused = client->get({}, kPods, {"shop", "p"}, "");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::Invalid);
  EXPECT_EQ(refused.error().message(), "Pod \"p\" is invalid");
  ASSERT_NE(refused.error().details(), nullptr);
  EXPECT_EQ(refused.error().details()->causes.at(0).field, "spec");
}

TEST_F(HttpClientTest, AnErrorThatIsNoStatusHasItsCode) {
  EXPECT_EQ(read_status_error(503, "<html>").reason(), Reason::ServiceUnavailable);
  EXPECT_EQ(read_status_error(410, R"({"kind":"Status","reason":"New","code":410})").reason(), Reason::Expired);
  EXPECT_EQ(read_status_error(500, "").reason(), Reason::Internal);
}

TEST_F(HttpClientTest, BoundsACallThatHasNoDeadline) {
  const auto client = connect();
  http_.answer(200, pod_);
  EXPECT_TRUE(client->get({}, kPods, {"shop", "p"}, ""));
  EXPECT_EQ(http_.deadline, clock_.now() + 60s);
}

TEST_F(HttpClientTest, AWatchDeliversWhatArrivesHoweverItIsCut) {
  const auto client = connect();
  const auto watch = client->watch({}, kPods, {.ns = "shop", .resource_version = 5});
  ASSERT_TRUE(watch);
  EXPECT_THAT(
      asked(),
      HasSubstr("/api/v1/namespaces/shop/pods?watch=true&resourceVersion=5&allowWatchBookmarks=true&timeoutSeconds="));
  int rung = 0;
  (*watch)->notify([&] { ++rung; });
  EXPECT_EQ(rung, 0);
  EXPECT_TRUE((*watch)->take(10)->empty());
  const std::string line = R"({"type":"ADDED","object":)" + pod_ + "}\n";
  http_.far->say(line.substr(0, 20));
  EXPECT_TRUE((*watch)->take(10)->empty());
  http_.far->say(line.substr(20) +
                 R"({"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"9"}}})" +
                 "\n");
  EXPECT_GE(rung, 1);
  const auto events = (*watch)->take(10);
  ASSERT_TRUE(events);
  ASSERT_EQ(events->size(), 2U);
  EXPECT_EQ(events->at(0).type, EventType::Added);
  EXPECT_EQ(events->at(0).object.name(), "p");
  EXPECT_EQ(events->at(1).type, EventType::Bookmark);
  EXPECT_EQ(events->at(1).object.head().resource_version, 9);
}

TEST_F(HttpClientTest, AWatchEndsAsItsServerSays) {
  const auto client = connect();
  const auto expired = client->watch({}, kPods, {});
  http_.far->say(
      R"({"type":"ERROR","object":{"kind":"Status","reason":"Expired","code":410,"message":"too old resource version"}})"
      "\n");
  EXPECT_EQ((*expired)->take(10).error().reason(), Reason::Expired);
  const auto ended = client->watch({}, kPods, {});
  http_.far->say({});
  EXPECT_EQ((*ended)->take(10).error().reason(), Reason::Timeout);
  const auto broken = client->watch({}, kPods, {});
  const Error lost(Reason::ServiceUnavailable, "connection reset");
  http_.far->data({}, &lost);
  EXPECT_EQ((*broken)->take(10).error().reason(), Reason::ServiceUnavailable);
}

TEST_F(HttpClientTest, WhatCameBeforeTheEndIsDelivered) {
  const auto client = connect();
  const auto watch = client->watch({}, kPods, {});
  http_.far->say(R"({"type":"ADDED","object":)" + pod_ + "}\n");
  http_.far->say({});
  EXPECT_EQ((*watch)->take(10)->size(), 1U);
  EXPECT_FALSE((*watch)->take(10));
}

TEST_F(HttpClientTest, ARefusedWatchIsAnError) {
  const auto client = connect();
  http_.stream_status = 410;
  http_.stream_body = R"({"kind":"Status","reason":"Expired","code":410,"message":"too old"})";
  const auto watch = client->watch({}, kPods, {});
  ASSERT_FALSE(watch);
  EXPECT_EQ(watch.error().reason(), Reason::Expired);
}

TEST_F(HttpClientTest, ASlowReaderMakesTheServerWait) {
  const auto client = connect();
  const auto watch = client->watch({}, kPods, {});
  const std::string line =
      R"({"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","annotations":{"a":")" +
      std::string(100'000, 'x') +
      R"("}}}})"
      "\n";
  for (int i = 0; i < 50; ++i) http_.far->say(line);
  EXPECT_TRUE(http_.far->paused);
  EXPECT_EQ((*watch)->take(10)->size(), 10U);
  EXPECT_TRUE(http_.far->paused);
  EXPECT_EQ((*watch)->take(30)->size(), 30U);
  EXPECT_FALSE(http_.far->paused);
}

TEST_F(HttpClientTest, SendsItsTokenAndNeverAnEmptyOne) {
  std::string token;
  const auto client = connect({.token = [&](const CallContext&) -> Result<std::string> { return token; }});
  http_.answer(200, pod_);
  http_.answer(200, pod_);
  EXPECT_TRUE(client->get({}, kPods, {"shop", "p"}, ""));
  EXPECT_EQ(http_.asked.back().headers.get("authorization"), "");
  token = "secret";
  EXPECT_TRUE(client->get({}, kPods, {"shop", "p"}, ""));
  EXPECT_EQ(http_.asked.back().headers.get("authorization"), "Bearer secret");
}

TEST_F(HttpClientTest, AControllerActsAsItsServiceAccount) {
  const auto client = connect({.service_account_tokens = true}, "system:serviceaccount:kube-system:job-controller");
  const auto token = [](const char* text) {
    return std::string(
               R"({"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","metadata":{"name":"x"},"status":{"token":")") +
           text + R"(","expirationTimestamp":"2026-01-01T01:00:00Z"}})";
  };
  http_.answer(201, token("first"));
  http_.answer(200, pod_);
  http_.answer(200, pod_);
  EXPECT_TRUE(client->get({}, kPods, {"shop", "p"}, ""));
  EXPECT_EQ(http_.asked.at(0).method + " " + http_.asked.at(0).url,
            "POST https://api:6443/api/v1/namespaces/kube-system/serviceaccounts/job-controller/token");
  EXPECT_EQ(http_.asked.at(1).headers.get("authorization"), "Bearer first");
  EXPECT_TRUE(client->get({}, kPods, {"shop", "p"}, ""));
  EXPECT_EQ(http_.asked.size(), 3U);
  clock_.advance(49min);
  http_.answer(201, token("second"));
  http_.answer(200, pod_);
  EXPECT_TRUE(client->get({}, kPods, {"shop", "p"}, ""));
  EXPECT_EQ(http_.asked.back().headers.get("authorization"), "Bearer second");
}

TEST_F(HttpClientTest, ReadsAggregatedDiscovery) {
  const auto client = connect();
  http_.answer(
      200, R"({"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":""},"versions":[{"version":"v1","resources":[
      {"resource":"pods","responseKind":{"kind":"Pod"},"scope":"Namespaced","verbs":["list","watch"]},
      {"resource":"nodes","responseKind":{"kind":"Node"},"scope":"Cluster","verbs":["get"]}]}]}]})");
  http_.answer(200, R"({"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"apps"},"versions":[
      {"version":"v1","resources":[{"resource":"deployments","responseKind":{"kind":"Deployment"},"scope":"Namespaced","verbs":["get"]}]},
      {"version":"v1beta1","resources":[{"resource":"deployments","responseKind":{"kind":"Deployment"},"scope":"Namespaced","verbs":["get"]}]}]}]})");
  const auto found = client->discover({});
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 3U);
  EXPECT_EQ(found->at(0).resource, kPods);
  EXPECT_TRUE(found->at(0).namespaced);
  EXPECT_THAT(found->at(0).verbs, ElementsAre("list", "watch"));
  EXPECT_FALSE(found->at(1).namespaced);
  EXPECT_EQ(found->at(2).resource, kDeployments);
}

}  // namespace
}  // namespace kubernel::client
