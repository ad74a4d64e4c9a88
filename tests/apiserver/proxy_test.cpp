// SPDX-License-Identifier: Apache-2.0
//
// pods/log and pods/exec from an HTTP client through the API server to a kubelet, over real connections on loopback.
#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <kubernel/crypto/cluster_pki.h>
#include <kubernel/net/client.h>
#include <kubernel/net/server.h>

#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"
#include "fixture.h"
#include "http/front.h"
#include "proxy/kubelet_proxy.h"
#include "proxy/workload_proxy.h"

namespace kubernel::apiserver {
namespace {

using ::testing::HasSubstr;

constexpr auto kPatience = std::chrono::seconds(20);

class Proxied : public ::testing::Test {
 protected:
  Proxied() : pool_({"test", 8, 1000}, log_, metrics_) {
    const auto now = clock_.wall_now();
    ca_ = *crypto::make_ca("kubernetes", now - std::chrono::hours(1), now + std::chrono::hours(1));
    const auto serving = *crypto::issue_kubelet_serving(ca_, "n1", {{}, {"127.0.0.1"}}, now);
    net::ServerOptions kubelet;
    kubelet.listen = {"127.0.0.1:0"};
    kubelet.tls = std::make_unique<net::ServerTls>(
        net::ServerTls{{serving.certificate_pem, serving.private_key_pem}, ca_.certificate_pem});
    kubelet_ =
        *net::open_server(context(), std::move(kubelet), [this](net::Exchange& exchange) { serve_kubelet(exchange); });

    const auto identity = *crypto::issue_client(ca_, "kube-apiserver-kubelet-client", {"system:masters"}, now);
    net::ClientOptions to_kubelet;
    to_kubelet.http2 = false;
    to_kubelet.tls = std::make_unique<net::ClientTls>();
    to_kubelet.tls->ca_pem = ca_.certificate_pem;
    to_kubelet.tls->identity =
        std::make_unique<net::TlsIdentity>(net::TlsIdentity{identity.certificate_pem, identity.private_key_pem});
    kubelet_client_ = *net::make_http_client(context(), std::move(to_kubelet));

    front_ = std::make_unique<Front>(FrontOptions{f_.api(), metrics_, {}, true, {}});
    proxy_ = std::make_unique<KubeletProxy>(f_.api(), *kubelet_client_);
    proxy_->attach_to(*front_);
    net::ServerOptions api;
    api.listen = {"127.0.0.1:0"};
    server_ =
        *net::open_server(context(), std::move(api), [this](net::Exchange& exchange) { front_->serve(exchange); });
    client_ = *net::make_http_client(context(), {});
    make_objects();
  }
  ~Proxied() override {
    client_.reset();
    proxy_->close_all();
    server_->shutdown({{}, CallContext::Clock::now() + kPatience});
    kubelet_->shutdown({{}, CallContext::Clock::now() + kPatience});
    server_.reset();
    kubelet_.reset();
    kubelet_client_.reset();
    pool_.stop();
  }

  net::NetContext context() { return {log_, metrics_, clock_, pool_}; }

  void make_objects() {
    const std::string address = kubelet_->addresses().front();
    json node = {{"metadata", {{"name", "n1"}}}};
    node["status"]["addresses"] = json::array({json{{"type", "InternalIP"}, {"address", "127.0.0.1"}}});
    node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] = std::stoi(address.substr(address.rfind(':') + 1));
    f_.create(api::resources::kNodes, "", node.dump());
    f_.create(api::resources::kPods, "default",
              R"({"metadata":{"name":"p"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}})");
    f_.create(
        api::resources::kPods, "default",
        R"({"metadata":{"name":"two"},"spec":{"nodeName":"n1","containers":[{"name":"a","image":"i"},{"name":"b","image":"i"}]}})");
    f_.create(api::resources::kPods, "default",
              R"({"metadata":{"name":"unbound"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  }

  void serve_kubelet(net::Exchange& exchange) {
    const net::Request& request = exchange.request();
    seen_ = request.raw_target;
    who_ = request.peer_certificate ? request.peer_certificate->common_name : "";
    if (request.path == "/containerLogs/default/p/c") {
      auto stream = exchange.start_stream(200, {});
      stream->write(std::make_shared<const std::string>("line one\n"));
      stream->write(std::make_shared<const std::string>("line two\n"));
      stream->finish();
    } else if (request.path == "/exec/default/p/c") {
      auto socket = exchange.accept_websocket({"v5.channel.k8s.io"});
      if (!socket) return exchange.respond({400, {}, socket.error().message()});
      socket_ = *socket;
      socket_->on_message([this](net::MessageKind kind, std::string_view text_in) {
        socket_->send(kind, "echo " + std::string(text_in));
      });
    } else {
      exchange.respond({400, {}, "container \"a\" in pod \"two\" is waiting to start: ContainerCreating\n"});
    }
  }

  Result<net::Response> get(const std::string& path) {
    return client_->request({{}, CallContext::Clock::now() + kPatience},
                            {"GET", "http://" + server_->addresses().front() + path, {}, ""}, 1'000'000);
  }

  Fixture f_;
  core::SystemClock clock_;
  kubernel::testing::RecordingLogger log_;
  kubernel::testing::RecordingMetrics metrics_;
  core::ThreadPool pool_;
  crypto::KeyPair ca_;
  std::unique_ptr<net::Server> kubelet_;
  std::unique_ptr<net::HttpClient> kubelet_client_;
  std::unique_ptr<Front> front_;
  std::unique_ptr<KubeletProxy> proxy_;
  std::unique_ptr<net::Server> server_;
  std::unique_ptr<net::HttpClient> client_;
  std::shared_ptr<net::WebSocket> socket_;
  std::string seen_;
  std::string who_;
};

TEST_F(Proxied, LogsComeFromTheNodeOfThePod) {
  const auto response = get("/api/v1/namespaces/default/pods/p/log?follow=true&tailLines=5");
  ASSERT_TRUE(response) << response.error().message();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "line one\nline two\n");
  EXPECT_EQ(seen_, "/containerLogs/default/p/c?follow=true&tailLines=5");
  EXPECT_EQ(who_, "kube-apiserver-kubelet-client");
}

TEST_F(Proxied, AKubeletsRefusalIsAStatus) {
  const auto response = get("/api/v1/namespaces/default/pods/two/log?container=a");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 400);
  EXPECT_EQ(json::parse(response->body)["message"],
            "container \"a\" in pod \"two\" is waiting to start: ContainerCreating");
}

TEST_F(Proxied, TheContainerMustBeNamedWhenThereAreSeveral) {
  const auto response = get("/api/v1/namespaces/default/pods/two/log");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 400);
  EXPECT_EQ(json::parse(response->body)["message"],
            "a container name must be specified for pod two, choose one of: [a b]");
  EXPECT_THAT(get("/api/v1/namespaces/default/pods/two/log?container=x")->body,
              HasSubstr("container x is not valid for pod two"));
}

TEST_F(Proxied, APodWithoutANodeHasNoLog) {
  EXPECT_THAT(get("/api/v1/namespaces/default/pods/unbound/log")->body,
              HasSubstr("pod unbound does not have a host assigned"));
}

TEST_F(Proxied, ExecIsATunnelBetweenClientAndKubelet) {
  const net::ClientRequest request{
      "GET",
      "http://" + server_->addresses().front() +
          "/api/v1/namespaces/default/pods/p/exec?command=sh&command=-c&stdin=true&stdout=true&tty=true",
      {},
      ""};
  auto socket = client_->websocket({{}, CallContext::Clock::now() + kPatience}, request, {"v5.channel.k8s.io"});
  ASSERT_TRUE(socket) << socket.error().message();
  EXPECT_EQ((*socket)->subprotocol(), "v5.channel.k8s.io");
  EXPECT_EQ(seen_, "/exec/default/p/c?command=sh&command=-c&input=1&output=1&tty=1");
  const auto answer = std::make_shared<std::promise<std::string>>();
  (*socket)->on_message(
      [answer](net::MessageKind, std::string_view text_in) { answer->set_value(std::string(text_in)); });
  (*socket)->send(net::MessageKind::Binary, "hello");
  auto got = answer->get_future();
  ASSERT_EQ(got.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(got.get(), "echo hello");
  (*socket)->close(1000, "");
}

// Endpoints may not claim a loopback address, which is all a test may connect to.
Result<std::string> to_loopback(const std::string&) {
  return std::string("127.0.0.1");
}

// A workload that says what it was asked.
class ProxiedWorkload : public Proxied {
 protected:
  ProxiedWorkload() : workloads_(f_.api(), *kubelet_client_, to_loopback) {
    workloads_.attach_to(*front_);
    net::ServerOptions options;
    options.listen = {"127.0.0.1:0"};
    workload_ = *net::open_server(context(), std::move(options), [this](net::Exchange& exchange) {
      const net::Request& request = exchange.request();
      if (request.path == "/socket") {
        auto socket = exchange.accept_websocket({});
        if (!socket) return exchange.respond({400, {}, socket.error().message()});
        socket_ = *socket;
        socket_->on_message([this](net::MessageKind kind, std::string_view text_in) {
          socket_->send(kind, "echo " + std::string(text_in));
        });
        return;
      }
      const auto body = exchange.read_body(1'000'000);
      net::Response out{202, {}, request.method + " " + request.raw_target + " " + (body ? *body : "")};
      out.headers.set("x-from", "workload");
      exchange.respond(std::move(out));
    });
    const std::string address = workload_->addresses().front();
    port_ = address.substr(address.rfind(':') + 1);
    f_.create(api::resources::kServices, "default",
              R"({"metadata":{"name":"s"},"spec":{"ports":[{"name":"http","port":80},{"name":"other","port":81}]}})");
    f_.create(
        api::resources::kEndpoints, "default",
        R"({"metadata":{"name":"s"},"subsets":[{"addresses":[{"ip":"10.0.0.9"}],"ports":[{"name":"http","port":)" +
            port_ + "}]}]}");
    json pod = json::parse(R"({"metadata":{"name":"w"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
    pod["spec"]["containers"][0]["ports"] = json::array({json{{"containerPort", std::stoi(port_)}}});
    f_.create(api::resources::kPods, "default", pod.dump());
    const auto placed = f_.client().patch(
        {}, api::resources::kPods, {"default", "w"}, client::PatchType::Merge,
        json::parse(R"({"status":{"podIP":"10.0.0.9","podIPs":[{"ip":"10.0.0.9"}]}})"), {.subresource = "status"});
    EXPECT_TRUE(placed) << placed.error().message();
  }
  ~ProxiedWorkload() override {
    workloads_.close_all();
    workload_->shutdown({{}, CallContext::Clock::now() + kPatience});
    workload_.reset();
  }

  net::Response send(const std::string& method, const std::string& path, std::string body = "") {
    net::ClientRequest request{method, "http://" + server_->addresses().front() + path, {}, std::move(body)};
    return *client_->request({{}, CallContext::Clock::now() + kPatience}, request, 1'000'000);
  }

  WorkloadProxy workloads_;
  std::unique_ptr<net::Server> workload_;
  std::string port_;
};

TEST_F(ProxiedWorkload, APodIsAskedOnItsFirstPortOrTheNamedOne) {
  const auto first = send("GET", "/api/v1/namespaces/default/pods/w/proxy/a/b?c=d%2Fe");
  EXPECT_EQ(first.status, 202);
  EXPECT_EQ(first.body, "GET /a/b?c=d%2Fe ");
  EXPECT_EQ(first.headers.get("x-from"), "workload");
  EXPECT_EQ(send("POST", "/api/v1/namespaces/default/pods/http:w:" + port_ + "/proxy/", "body").body, "POST / body");
  EXPECT_EQ(send("GET", "/api/v1/namespaces/default/pods/nobody/proxy/").status, 404);
  EXPECT_THAT(send("GET", "/api/v1/namespaces/default/pods/a:b:c:d/proxy/").body, HasSubstr("invalid pod request"));
}

TEST_F(ProxiedWorkload, AServiceIsAskedAtOneOfItsEndpoints) {
  EXPECT_EQ(send("PUT", "/api/v1/namespaces/default/services/s/proxy/x", "1").body, "PUT /x 1");
  EXPECT_EQ(send("GET", "/api/v1/namespaces/default/services/s:http/proxy/x").body, "GET /x ");
  EXPECT_EQ(send("GET", "/api/v1/namespaces/default/services/s:80/proxy/x").body, "GET /x ");
  const auto none = send("GET", "/api/v1/namespaces/default/services/s:other/proxy/x");
  EXPECT_EQ(none.status, 503);
  EXPECT_THAT(none.body, HasSubstr("no service port \\\"other\\\" found for service \\\"s\\\""));
}

TEST_F(ProxiedWorkload, ThePathWithoutASlashIsRedirected) {
  const auto moved = send("GET", "/api/v1/namespaces/default/pods/w/proxy?x=1");
  EXPECT_EQ(moved.status, 301);
  EXPECT_EQ(moved.headers.get("location"), "/api/v1/namespaces/default/pods/w/proxy/?x=1");
}

TEST_F(ProxiedWorkload, AnUpgradeIsATunnel) {
  const net::ClientRequest request{
      "GET", "http://" + server_->addresses().front() + "/api/v1/namespaces/default/pods/w/proxy/socket", {}, ""};
  auto socket = client_->websocket({{}, CallContext::Clock::now() + kPatience}, request, {});
  ASSERT_TRUE(socket) << socket.error().message();
  const auto answer = std::make_shared<std::promise<std::string>>();
  (*socket)->on_message(
      [answer](net::MessageKind, std::string_view text_in) { answer->set_value(std::string(text_in)); });
  (*socket)->send(net::MessageKind::Text, "hello");
  auto future = answer->get_future();
  ASSERT_EQ(future.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(future.get(), "echo hello");
  (*socket)->close(1000, "");
}

TEST(ProxiedAddress, LeadsNowhereOnThisMachine) {
  for (const char* bad :
       {"", "x", "127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "::1", "fe80::1", "::ffff:127.0.0.1"}) {
    const auto checked = proxied_address(bad);
    ASSERT_FALSE(checked) << bad;
    EXPECT_EQ(checked.error().message(), "address not allowed");
  }
  for (const char* good : {"10.1.2.3", "8.8.8.8", "fd00::1"}) EXPECT_TRUE(proxied_address(good)) << good;
}

}  // namespace
}  // namespace kubernel::apiserver
