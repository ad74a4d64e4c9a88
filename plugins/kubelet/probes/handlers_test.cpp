// SPDX-License-Identifier: Apache-2.0
//
// Probes over the network, against servers on loopback.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <kubernel/crypto/pki.h>
#include <kubernel/net/server.h>

#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"
#include "probes/handlers.h"
#include "testing.h"

namespace kubernel::kubelet {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Verdict = ProbeOutcome::Verdict;

// Answers with the status the path names, and keeps what it was asked. Its certificate is of a CA nobody knows.
class ProbedServer {
 public:
  ProbedServer(const net::NetContext& net, bool secure) {
    net::ServerOptions options;
    options.listen = {"127.0.0.1:0"};
    if (secure) {
      const auto now = net.clock.wall_now();
      const auto ca = *crypto::make_ca("pod", now - 1h, now + 1h);
      const auto own = *crypto::issue(ca, {.common_name = "pod",
                                           .dns_names = {"elsewhere"},
                                           .server = true,
                                           .not_before = now - 1h,
                                           .not_after = now + 1h});
      options.tls = std::make_unique<net::ServerTls>(net::ServerTls{{own.certificate_pem, own.private_key_pem}, {}});
    }
    server_ = *net::open_server(net, std::move(options), [this](net::Exchange& exchange) { answer(exchange); });
    const std::string address = server_->addresses().front();
    port = std::stoi(address.substr(address.rfind(':') + 1));
  }

  int port = 0;
  std::string host, header, agent;

 private:
  void answer(net::Exchange& exchange) {
    const net::Request& request = exchange.request();
    host = request.headers.get("host");
    header = request.headers.get("x-probe");
    agent = request.headers.get("user-agent");
    exchange.respond({.status = std::stoi(request.path.substr(1)), .headers = {}, .body = {}});
  }

  std::unique_ptr<net::Server> server_;
};

class Handlers : public ::testing::TestWithParam<bool> {
 protected:
  bool secure() const { return GetParam(); }
  ProbeOutcome get(json probe) {
    probe["scheme"] = secure() ? "HTTPS" : "HTTP";
    const json document = {
        {"apiVersion", "v1"},
        {"kind", "Pod"},
        {"metadata", {{"name", "p"}}},
        {"spec",
         {{"containers", json::array({{{"name", "c"},
                                       {"ports", json::array({{{"name", "web"}, {"containerPort", server_.port}}})},
                                       {"readinessProbe", {{"httpGet", probe}}}}})}}}};
    const api::Object pod = *api::Object::from_json(document);
    const auto containers = containers_of(pod);
    const ProbeTarget target{pod, containers.front(), "id", "127.0.0.1"};
    return handlers_->run(target, containers.front().value["readinessProbe"], 5s);
  }

  testing::RecordingLogger log_;
  kubernel::testing::RecordingMetrics metrics_;
  core::SystemClock clock_;
  core::ThreadPool pool_{{.name = "test", .threads = 4}, log_, metrics_};
  const net::NetContext net_{log_, metrics_, clock_, pool_};
  Tasks tasks_{pool_, clock_, log_};
  testing::FakeRuntime runtime_{clock_};
  ProbedServer server_{net_, secure()};
  std::unique_ptr<NodeProbeHandlers> handlers_ = *NodeProbeHandlers::make(runtime_, tasks_, net_);
};

TEST_P(Handlers, AnAnswerFrom200To399IsASuccess) {
  for (const char* path : {"/200", "204", "/399"})
    EXPECT_EQ(get({{"port", "web"}, {"path", path}}).verdict, Verdict::Success) << path;
}

TEST_P(Handlers, AnyOtherStatusIsAFailureThatSaysIt) {
  const auto outcome = get({{"port", server_.port}, {"path", "/503"}});
  EXPECT_EQ(outcome.verdict, Verdict::Failure);
  EXPECT_EQ(outcome.message, "HTTP probe failed with statuscode: 503");
}

TEST_P(Handlers, AProbesHeadersAreSent) {
  get({{"port", "web"},
       {"path", "/200"},
       {"httpHeaders",
        json::array({{{"name", "Host"}, {"value", "shop.test"}}, {{"name", "X-Probe"}, {"value", "1"}}})}});
  EXPECT_EQ(server_.host, "shop.test");
  EXPECT_EQ(server_.header, "1");
  EXPECT_EQ(server_.agent, "kube-probe/1.36");
}

TEST_P(Handlers, NobodyThereIsAFailureThatNamesTheUrl) {
  const auto outcome = get({{"port", 1}, {"path", "/200"}});
  EXPECT_EQ(outcome.verdict, Verdict::Failure);
  EXPECT_THAT(outcome.message,
              AllOf(StartsWith("Get \"" + std::string(secure() ? "https" : "http") + "://127.0.0.1:1/200\": "),
                    HasSubstr("refused")));
}

TEST_P(Handlers, APortNobodyKnowsIsNoVerdict) {
  const auto outcome = get({{"port", "admin"}, {"path", "/200"}});
  EXPECT_EQ(outcome.verdict, Verdict::Unknown);
  EXPECT_EQ(outcome.message, "couldn't find port: admin");
}

INSTANTIATE_TEST_SUITE_P(Schemes, Handlers, ::testing::Bool(),
                         [](const auto& which) { return which.param ? "Https" : "Http"; });

}  // namespace
}  // namespace kubernel::kubelet
