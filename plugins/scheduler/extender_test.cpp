// SPDX-License-Identifier: Apache-2.0
#include "extender.h"

#include <nlohmann/json.hpp>

#include <kubernel/crypto/pki.h>
#include <kubernel/net/server.h>
#include <kubernel/testing/scheduler.h>

#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"

namespace kubernel::plugins {
namespace {

using nlohmann::json;

class ExtenderTest : public testing::SchedulerPluginTest {
 protected:
  ExtenderTest() {
    settings_.url_prefix = "http://extender";
    settings_.filter_verb = "filter";
    settings_.prioritize_verb = "prioritize";
    settings_.preempt_verb = "preempt";
    settings_.bind_verb = "bind";
    settings_.weight = 3;
  }
  Extender extender(const std::string& answer) {
    return {settings_, clock_,
            [this, answer](const CallContext&, const std::string& url, std::string body) -> Result<std::string> {
              asked_ = json::parse(body);
              asked_url_ = url;
              return answer;
            }};
  }
  Extender::Nodes both() { return {&a_, &b_}; }

  ExtenderSettings settings_;
  scheduler::NodeInfo a_ = node("a"), b_ = node("b");
  json asked_;
  std::string asked_url_;
};

TEST_F(ExtenderTest, FiltersByNodesAndGivesReasons) {
  const auto filtered = extender(R"({"Nodes":{"items":[{"metadata":{"name":"b"}}]},"FailedNodes":{"a":"too far"},
                                     "FailedAndUnresolvableNodes":{"c":"gone"},"Error":""})")
                            .filter({}, *pod("{}"), both());
  ASSERT_TRUE(filtered) << filtered.error().message();
  EXPECT_EQ(filtered->fitting, Extender::Nodes{&b_});
  EXPECT_EQ(filtered->refused.at("a"), "too far");
  EXPECT_EQ(filtered->unresolvable.at("c"), "gone");
  EXPECT_EQ(asked_url_, "http://extender/filter");
  EXPECT_EQ(asked_["Pod"]["metadata"]["name"], "p");
  EXPECT_EQ(asked_["Nodes"]["items"].size(), 2U);
  EXPECT_TRUE(asked_["NodeNames"].is_null());
}

TEST_F(ExtenderTest, ACapableOneIsToldNamesOnly) {
  settings_.node_cache_capable = true;
  const auto filtered =
      extender(R"({"nodenames":["a"]})").filter({}, *pod("{}"), both());  // Go does not mind the case.
  ASSERT_TRUE(filtered) << filtered.error().message();
  EXPECT_EQ(filtered->fitting, Extender::Nodes{&a_});
  EXPECT_EQ(asked_["NodeNames"], json::array({"a", "b"}));
}

TEST_F(ExtenderTest, ItsErrorIsAnErrorAndSoIsANodeItWasNotAskedAbout) {
  EXPECT_FALSE(extender(R"({"Error":"no"})").filter({}, *pod("{}"), both()));
  EXPECT_FALSE(extender(R"({"NodeNames":["z"]})").filter({}, *pod("{}"), both()));
  EXPECT_FALSE(extender("nonsense").filter({}, *pod("{}"), both()));
}

TEST_F(ExtenderTest, ItsTenIsOurHundredTimesItsWeight) {
  const auto scores = extender(R"([{"Host":"b","Score":10},{"Host":"a","Score":1}])").score({}, *pod("{}"), both());
  ASSERT_TRUE(scores);
  EXPECT_EQ(*scores, (std::vector<std::int64_t>{30, 300}));
}

TEST_F(ExtenderTest, BindsByName) {
  EXPECT_TRUE(extender("{}").bind({}, *pod("{}"), "a"));
  EXPECT_EQ(asked_, json::parse(R"({"PodName":"p","PodNamespace":"default","PodUID":"u-p","Node":"a"})"));
  EXPECT_FALSE(extender(R"({"Error":"no"})").bind({}, *pod("{}"), "a"));
}

TEST_F(ExtenderTest, HasASayOnlyInPodsThatAskForWhatItManages) {
  settings_.managed_resources = {"example.com/gpu"};
  const Extender one = extender("{}");
  EXPECT_FALSE(one.interested_in(*pod(R"({"containers":[{"resources":{"requests":{"cpu":"1"}}}]})")));
  EXPECT_TRUE(one.interested_in(*pod(R"({"containers":[{"resources":{"requests":{"example.com/gpu":"1"}}}]})")));
  EXPECT_TRUE(one.interested_in(*pod(R"({"initContainers":[{"resources":{"limits":{"example.com/gpu":"1"}}}]})")));
}

TEST_F(ExtenderTest, NarrowsTheVictims) {
  const auto victim = pod("{}", "victim");
  a_.add_pod(victim);
  const scheduler::Snapshot snapshot(
      {std::make_shared<const scheduler::NodeInfo>(a_), std::make_shared<const scheduler::NodeInfo>(b_)});
  auto chosen = extender(R"({"NodeNameToMetaVictims":{"a":{"Pods":[{"UID":"u-victim"}],"NumPDBViolations":1}}})")
                    .preempt({}, *pod("{}"), {{"a", {victim}, 0}, {"b", {victim}, 0}}, snapshot);
  ASSERT_TRUE(chosen) << chosen.error().message();
  ASSERT_EQ(chosen->size(), 1U);
  EXPECT_EQ((*chosen)[0].node, "a");
  EXPECT_EQ((*chosen)[0].pods[0]->key().name, "victim");
  EXPECT_EQ((*chosen)[0].budget_violations, 1);
  EXPECT_FALSE(
      extender(R"({"NodeNameToMetaVictims":{"a":{"Pods":[{"UID":"other"}]}}})").preempt({}, *pod("{}"), {}, snapshot));
}

// The same over a real connection.
class ExtenderConnection : public ExtenderTest {
 protected:
  ~ExtenderConnection() override {
    extenders_.clear();
    if (server_) server_->shutdown({});
  }
  void serve(std::unique_ptr<net::ServerTls> tls) {
    net::ServerOptions options;
    options.listen = {"127.0.0.1:0"};
    settings_.https = tls != nullptr;
    options.tls = std::move(tls);
    auto server = net::open_server(context(), std::move(options), [](net::Exchange& exchange) {
      const auto body = exchange.read_body(1'000'000);
      net::Response response;
      response.status = exchange.request().path == "/x/prioritize" && body ? 200 : 404;
      response.body = R"([{"Host":"a","Score":5}])";
      exchange.respond(std::move(response));
    });
    ASSERT_TRUE(server) << server.error().message();
    server_ = *std::move(server);
    settings_.url_prefix =
        std::string(settings_.https ? "https" : "http") + "://" + server_->addresses().front() + "/x";
  }
  Extender& open() {
    auto made = make_extenders(context(), {settings_});
    EXPECT_TRUE(made) << made.error().message();
    extenders_ = *std::move(made);
    return *extenders_.front();
  }
  net::NetContext context() { return {log_, metrics_, real_clock_, pool_}; }

  core::SystemClock real_clock_;
  core::ThreadPool pool_{{.name = "blocking", .threads = 4}, log_, metrics_};
  std::unique_ptr<net::Server> server_;
  std::vector<std::unique_ptr<Extender>> extenders_;
};

TEST_F(ExtenderConnection, SpeaksPlainHttp) {
  serve(nullptr);
  const auto scores = open().score({}, *pod("{}"), both());
  ASSERT_TRUE(scores) << scores.error().message();
  EXPECT_EQ(*scores, (std::vector<std::int64_t>{150, 0}));
  EXPECT_FALSE(extenders_.front()->filter({}, *pod("{}"), both()));  // 404.
}

TEST_F(ExtenderConnection, VerifiesTheServersCertificate) {
  const auto from = real_clock_.wall_now() - std::chrono::hours(1);
  const auto to = from + std::chrono::hours(24);
  const auto ca = *crypto::make_ca("test", from, to);
  const auto other = *crypto::make_ca("other", from, to);
  crypto::CertificateRequest request{
      .common_name = "extender", .ip_addresses = {"127.0.0.1"}, .server = true, .not_before = from, .not_after = to};
  const auto pair = *crypto::issue(ca, request);
  serve(std::make_unique<net::ServerTls>(net::ServerTls{{pair.certificate_pem, pair.private_key_pem}, ""}));
  settings_.ca_pem = ca.certificate_pem;
  EXPECT_TRUE(open().score({}, *pod("{}"), both()));
  settings_.ca_pem = other.certificate_pem;
  EXPECT_FALSE(open().score({}, *pod("{}"), both()));
}

}  // namespace
}  // namespace kubernel::plugins
