// SPDX-License-Identifier: Apache-2.0
//
// The HTTP side of the API server, without sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_exchange.h"
#include "fixture.h"
#include "http/client_certificate.h"
#include "http/front.h"

namespace kubernel::apiserver {
namespace {

using ::testing::HasSubstr;

class HttpFixture : public Fixture {
 public:
  HttpFixture() : front_({api(), metrics_, {make_certificate_authenticator()}, true, [this] { return checks; }}) {}
  ~HttpFixture() { front_.close_streams(); }

  Front& front() { return front_; }

  net::Response call(FakeExchange exchange) {
    exchange.as("admin", {"system:masters"});
    front_.serve(exchange);
    return exchange.answer.value_or(net::Response{0, {}, ""});
  }
  net::Response call(std::string method, const std::string& target, std::string body = "") {
    return call(FakeExchange(std::move(method), target, std::move(body)));
  }
  json call_json(std::string method, const std::string& target, std::string body = "") {
    return json::parse(call(std::move(method), target, std::move(body)).body, nullptr, false);
  }

  std::vector<plugin::Process::Check> checks;

 private:
  kubernel::testing::RecordingMetrics metrics_;
  Front front_;
};

constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";

TEST(Front, CreatesReadsListsAndDeletes) {
  HttpFixture f;
  const auto made =
      f.call("POST", kMaps, R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"k":"v"}})");
  EXPECT_EQ(made.status, 201);
  EXPECT_EQ(made.headers.get("content-type"), "application/json");
  EXPECT_EQ(json::parse(made.body)["data"]["k"], "v");
  EXPECT_EQ(f.call_json("GET", std::string(kMaps) + "/a")["metadata"]["name"], "a");
  const json list = f.call_json("GET", kMaps);
  EXPECT_EQ(list["kind"], "ConfigMapList");
  ASSERT_EQ(list["items"].size(), 1U);
  EXPECT_FALSE(list["items"][0].contains("kind"));
  EXPECT_EQ(list["metadata"]["resourceVersion"], std::to_string(f.backend().stats({})->revision));
  const json gone = f.call_json("DELETE", std::string(kMaps) + "/a");
  EXPECT_EQ(gone["kind"], "Status");
  EXPECT_EQ(gone["status"], "Success");
  EXPECT_EQ(gone["details"]["kind"], "configmaps");
  EXPECT_EQ(f.call("GET", std::string(kMaps) + "/a").status, 404);
}

TEST(Front, AnErrorIsAStatusOfUpstreamsShape) {
  HttpFixture f;
  const auto response = f.call("GET", std::string(kMaps) + "/none");
  EXPECT_EQ(json::parse(response.body),
            json::parse(R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",
    "message":"configmaps \"none\" not found","reason":"NotFound","details":{"name":"none","kind":"configmaps"},"code":404})"));
}

TEST(Front, AnUnknownPathIsNotFound) {
  HttpFixture f;
  EXPECT_EQ(f.call_json("GET", "/apis/nothing/v1/things")["message"],
            "the server could not find the requested resource");
  EXPECT_EQ(f.call("GET", "/nowhere").status, 404);
}

TEST(Front, MalformedJsonIsABadRequestAndNothingIsStored) {
  HttpFixture f;
  EXPECT_EQ(f.call("POST", kMaps, R"({"metadata":)").status, 400);
  EXPECT_EQ(f.call("POST", kMaps, "[]").status, 400);
  EXPECT_TRUE(f.list(api::resources::kConfigMaps, "default").empty());
}

TEST(Front, TheKindInTheBodyMustFitThePath) {
  HttpFixture f;
  const auto response = f.call("POST", kMaps, R"({"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"}})");
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.body, HasSubstr("cannot be handled as a ConfigMap"));
}

TEST(Front, UnknownFieldsWarnByDefaultAndAreRefusedWhenStrict) {
  HttpFixture f;
  const std::string body = R"({"metadata":{"name":"a"},"data":{},"colour":"red"})";
  const auto warned = f.call("POST", kMaps, body);
  EXPECT_EQ(warned.status, 201);
  EXPECT_EQ(warned.headers.get("warning"), R"(299 - "unknown field \"colour\"")");
  const auto refused = f.call("POST", std::string(kMaps) + "?fieldValidation=Strict", body);
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(
      json::parse(refused.body)["message"],
      R"(ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "colour")");
  // A patch's errors name no kind, as upstream.
  f.call("POST", kMaps, R"({"metadata":{"name":"b"}})");
  const auto patched =
      f.call(FakeExchange("PATCH", std::string(kMaps) + "/b?fieldValidation=Strict", R"({"colour":"red"})")
                 .header("content-type", "application/merge-patch+json"));
  EXPECT_EQ(json::parse(patched.body)["message"], R"(strict decoding error: unknown field "colour")");
}

TEST(Front, TextThatIsNoJsonSaysWhatWasExpected) {
  HttpFixture f;
  const auto refused = f.call("POST", kMaps, "{");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(json::parse(refused.body)["message"].get<std::string>(),
              ::testing::StartsWith("the object provided is unrecognized (must be of type ConfigMap): couldn't get "
                                    "version/kind; json parse error: "));
}

TEST(Front, ABodyOfMoreThanThreeMegabytesIsTooLarge) {
  HttpFixture f;
  const auto response = f.call("POST", kMaps, std::string(3 * 1024 * 1024 + 1, ' '));
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(json::parse(response.body)["reason"], "RequestEntityTooLarge");
}

TEST(Front, AContentTypeMayCarryACharsetAndAnUnknownOneIsRefused) {
  HttpFixture f;
  EXPECT_EQ(f.call(FakeExchange("POST", kMaps, R"({"metadata":{"name":"a"}})")
                       .header("content-type", "application/json; charset=utf-8"))
                .status,
            201);
  const auto refused = f.call(FakeExchange("POST", kMaps, "a").header("content-type", "text/csv"));
  EXPECT_EQ(refused.status, 415);
  const auto applied = f.call(
      FakeExchange("PATCH", std::string(kMaps) + "/a", "{}").header("content-type", "application/apply-patch+yaml"));
  EXPECT_EQ(applied.status, 415);
}

TEST(Front, AnUnacceptableAnswerIs406) {
  HttpFixture f;
  EXPECT_EQ(f.call(FakeExchange("GET", kMaps).header("accept", "text/html")).status, 406);
  EXPECT_EQ(f.call(FakeExchange("GET", kMaps).header("accept", "text/html, */*")).status, 200);
}

TEST(Front, TablesHaveTheKindsColumns) {
  HttpFixture f;
  f.create(api::resources::kPods, "default", kPod);
  FakeExchange request("GET", "/api/v1/namespaces/default/pods");
  request.header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
  const json table = json::parse(f.call(request).body);
  EXPECT_EQ(table["kind"], "Table");
  EXPECT_EQ(table["columnDefinitions"][0]["name"], "Name");
  EXPECT_EQ(table["columnDefinitions"][2]["name"], "Status");
  ASSERT_EQ(table["rows"].size(), 1U);
  EXPECT_EQ(table["rows"][0]["cells"][0], "p");
  EXPECT_EQ(table["rows"][0]["cells"][2], "Pending");
  EXPECT_EQ(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
  EXPECT_EQ(table["rows"][0]["object"]["metadata"]["name"], "p");
}

TEST(Front, MetadataOnlyListsLeaveTheRestOut) {
  HttpFixture f;
  f.create(api::resources::kConfigMaps, "default", R"({"metadata":{"name":"a"},"data":{"k":"v"}})");
  FakeExchange request("GET", kMaps);
  request.header("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
  const json list = json::parse(f.call(request).body);
  EXPECT_EQ(list["kind"], "PartialObjectMetadataList");
  EXPECT_EQ(list["items"][0]["metadata"]["name"], "a");
  EXPECT_FALSE(list["items"][0].contains("data"));
}

TEST(Front, ProtobufGoesBothWays) {
  HttpFixture f;
  f.create(api::resources::kConfigMaps, "default", R"({"metadata":{"name":"a"},"data":{"k":"v"}})");
  const auto got = f.call(FakeExchange("GET", std::string(kMaps) + "/a")
                              .header("accept", "application/vnd.kubernetes.protobuf,application/json"));
  ASSERT_EQ(got.status, 200);
  EXPECT_EQ(got.headers.get("content-type"), "application/vnd.kubernetes.protobuf");
  ASSERT_TRUE(got.body.starts_with(std::string("k8s\0", 4)));
  const auto read = schema::decode_protobuf(got.body);
  ASSERT_TRUE(read);
  json document = read->document;
  document["data"]["k"] = "w";
  const auto bytes = schema::encode_protobuf((*api::Document::parse(document.dump()))->root());
  ASSERT_TRUE(bytes);
  const auto put = f.call(FakeExchange("PUT", std::string(kMaps) + "/a", *bytes)
                              .header("content-type", "application/vnd.kubernetes.protobuf"));
  EXPECT_EQ(put.status, 200) << put.body;
  EXPECT_EQ(f.call_json("GET", std::string(kMaps) + "/a")["data"]["k"], "w");
  const auto listed = f.call(FakeExchange("GET", kMaps).header("accept", "application/vnd.kubernetes.protobuf"));
  EXPECT_TRUE(listed.body.starts_with(std::string("k8s\0", 4)));
}

TEST(Front, DeleteOptionsComeInTheBodyOrTheQuery) {
  HttpFixture f;
  f.create(api::resources::kDeployments, "default", kDeployment);
  const std::string path = "/apis/apps/v1/namespaces/default/deployments/web";
  const auto wrong =
      f.call("DELETE", path, R"({"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"x"}})");
  EXPECT_EQ(wrong.status, 409);
  const auto kept = f.call("DELETE", path + "?propagationPolicy=Foreground");
  EXPECT_EQ(kept.status, 202);
  EXPECT_EQ(json::parse(kept.body)["metadata"]["finalizers"][0], "foregroundDeletion");
}

TEST(Front, DiscoveryNamesWhatIsServed) {
  HttpFixture f;
  EXPECT_EQ(f.call_json("GET", "/api")["versions"], json::array({"v1"}));
  const json groups = f.call_json("GET", "/apis");
  EXPECT_EQ(groups["kind"], "APIGroupList");
  EXPECT_TRUE(
      std::any_of(groups["groups"].begin(), groups["groups"].end(), [](const json& g) { return g["name"] == "apps"; }));
  const json apps = f.call_json("GET", "/apis/apps/v1");
  EXPECT_EQ(apps["groupVersion"], "apps/v1");
  const auto scale = std::find_if(apps["resources"].begin(), apps["resources"].end(),
                                  [](const json& r) { return r["name"] == "deployments/scale"; });
  ASSERT_NE(scale, apps["resources"].end());
  EXPECT_EQ((*scale)["group"], "autoscaling");
  EXPECT_EQ(f.call_json("GET", "/apis/apps")["preferredVersion"]["groupVersion"], "apps/v1");
  EXPECT_EQ(f.call("GET", "/apis/none").status, 404);
  EXPECT_EQ(f.call_json("GET", "/version")["minor"], "36");
}

TEST(Front, AggregatedDiscoveryIsOneDocumentWithATag) {
  HttpFixture f;
  FakeExchange request("GET", "/apis");
  request.header("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json");
  const auto response = f.call(request);
  EXPECT_EQ(response.headers.get("content-type"),
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
  EXPECT_EQ(json::parse(response.body)["kind"], "APIGroupDiscoveryList");
  request.header("if-none-match", response.headers.get("etag"));
  EXPECT_EQ(f.call(request).status, 304);
}

TEST(Front, ReadinessNamesWhatIsMissing) {
  HttpFixture f;
  EXPECT_EQ(f.call("GET", "/readyz").body, "ok");
  f.checks = {{"apiserver", ""}, {"kubelet", "no runtime"}};
  const auto response = f.call("GET", "/readyz");
  EXPECT_EQ(response.status, 500);
  EXPECT_THAT(response.body, HasSubstr("[-]kubelet failed: no runtime"));
  EXPECT_EQ(f.call("GET", "/livez").status, 200);
}

TEST(Front, AnOptionalComponentThatFailedIsShownAndKeepsNothingFromBeingReady) {
  HttpFixture f;
  f.checks = {{"apiserver", ""}, {"console", "told to fail", false}};
  const auto response = f.call("GET", "/readyz?verbose");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.body, HasSubstr("[-]console failed: told to fail"));
}

TEST(Front, AWatchStreamsEventsAsTheyCome) {
  HttpFixture f;
  f.create(api::resources::kConfigMaps, "default", R"({"metadata":{"name":"a"}})");
  FakeExchange exchange("GET", std::string(kMaps) + "?watch=1&timeoutSeconds=60");
  exchange.as("admin", {});
  f.front().serve(exchange);
  ASSERT_NE(exchange.stream, nullptr);
  f.executor().run_all();
  EXPECT_THAT(exchange.stream->text, ::testing::StartsWith(R"({"type":"ADDED","object":{)"));
  exchange.stream->text.clear();
  f.create(api::resources::kConfigMaps, "default", R"({"metadata":{"name":"b"}})");
  f.executor().run_all();
  EXPECT_EQ(json::parse(exchange.stream->text)["object"]["metadata"]["name"], "b");
  EXPECT_FALSE(exchange.stream->finished);
  f.clock().advance(std::chrono::seconds(61));
  f.executor().run_all();
  EXPECT_TRUE(exchange.stream->finished);
}

TEST(Front, AWatcherThatDoesNotReadIsHeldBackAndResumes) {
  HttpFixture f;
  FakeExchange exchange("GET", std::string(kMaps) + "?watch=true");
  exchange.as("admin", {});
  f.front().serve(exchange);
  f.executor().run_all();
  exchange.stream->stuck = true;
  const std::string large(100'000, 'x');
  for (int i = 0; i < 10; ++i) {
    f.create(api::resources::kConfigMaps, "default",
             R"({"metadata":{"name":"m)" + std::to_string(i) + R"("},"data":{"k":")" + large + R"("}})");
    f.executor().run_all();
  }
  EXPECT_LT(exchange.stream->text.size(), 500'000U);
  exchange.stream->drain();
  f.executor().run_all();
  EXPECT_GT(exchange.stream->text.size(), 1'000'000U);
  EXPECT_THAT(exchange.stream->text, HasSubstr("\"name\":\"m9\""));
}

TEST(Front, AWatchEndsWhenTheClientGoes) {
  HttpFixture f;
  FakeExchange exchange("GET", std::string(kMaps) + "?watch=true");
  exchange.as("admin", {});
  f.front().serve(exchange);
  f.executor().run_all();
  exchange.stream->go_away();
  f.executor().run_all();
  EXPECT_TRUE(exchange.stream->finished);
}

TEST(Front, WrongCredentialsAreUnauthorizedAndNoneAreAnonymous) {
  HttpFixture f;
  FakeExchange wrong("GET", kMaps);
  wrong.header("authorization", "Bearer nonsense");
  f.front().serve(wrong);
  EXPECT_EQ(wrong.answer->status, 401);
  f.api().set_authorizer(nullptr);
  FakeExchange none("GET", kMaps);
  f.front().serve(none);
  EXPECT_EQ(none.answer->status, 403);
  EXPECT_THAT(none.answer->body, HasSubstr(R"(User \"system:anonymous\" cannot list resource \"configmaps\")"));
}

TEST(Front, AnAdministratorActsAsSomebodyElseAndOthersMayNot) {
  class OnlyMasters final : public auth::Authorizer {
   public:
    Result<auth::Decision> authorize(const CallContext&, const auth::Attributes& a) override {
      return auth::Decision{!a.user.groups.empty() && a.user.groups.front() == "system:masters", false, ""};
    }
  };
  HttpFixture f;
  f.api().set_authorizer(std::make_shared<OnlyMasters>());
  FakeExchange admin("GET", kMaps);
  admin.as("admin", {"system:masters"}).header("impersonate-user", "alice").header("impersonate-group", "dev");
  f.front().serve(admin);
  EXPECT_THAT(admin.answer->body, HasSubstr(R"(User \"alice\" cannot list)"));
  FakeExchange bob("GET", kMaps);
  bob.as("bob", {"dev"}).header("impersonate-user", "admin").header("impersonate-group", "system:masters");
  f.front().serve(bob);
  EXPECT_EQ(bob.answer->status, 403);
  EXPECT_THAT(bob.answer->body, HasSubstr("cannot impersonate resource"));
}

TEST(RequestInfo, PathsAreTakenApart) {
  const auto pod = parse_resource_path("/api/v1/namespaces/default/pods/web/log");
  ASSERT_TRUE(pod);
  EXPECT_EQ(pod->ns, "default");
  EXPECT_EQ(pod->plural, "pods");
  EXPECT_EQ(pod->name, "web");
  EXPECT_EQ(pod->subresource, "log");
  const auto ns = parse_resource_path("/api/v1/namespaces/default");
  EXPECT_EQ(ns->plural, "namespaces");
  EXPECT_EQ(ns->name, "default");
  EXPECT_EQ(ns->ns, "");
  const auto status = parse_resource_path("/api/v1/namespaces/default/status");
  EXPECT_EQ(status->plural, "namespaces");
  EXPECT_EQ(status->subresource, "status");
  const auto grouped = parse_resource_path("/apis/apps/v1/deployments");
  EXPECT_EQ(grouped->group, "apps");
  EXPECT_EQ(grouped->plural, "deployments");
  EXPECT_TRUE(parse_resource_path("/api/v1/watch/pods")->watch);
  EXPECT_FALSE(parse_resource_path("/apis/apps/v1"));
  EXPECT_FALSE(parse_resource_path("/healthz"));
}

}  // namespace
}  // namespace kubernel::apiserver
