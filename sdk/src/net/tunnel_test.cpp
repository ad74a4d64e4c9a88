// SPDX-License-Identifier: Apache-2.0
#include <kubernel/net/tunnel.h>

#include "net_fixture.h"

namespace kubernel::net {
namespace {

class Tunnel : public NetTest {
 protected:
  Tunnel() {
    on("/tunnel", [this](Exchange& exchange) {
      ClientRequest request;
      request.method = exchange.request().method;
      request.url = "https://" + backend_address_ + exchange.request().raw_target.substr(7);
      request.headers.add("x-forwarded-by", "front");
      if (const auto sent = tunnel(exchange, *inner_, std::move(request)); !sent) {
        Response response;
        response.status = sent.error().http_status();
        response.body = sent.error().message();
        exchange.respond(std::move(response));
      }
    });
  }
  ~Tunnel() override {
    outer_.reset();
    inner_.reset();
    server_.reset();
    backend_.reset();
  }

  // Starts the backend with `handler`, and the front.
  void start(Handler handler) {
    ServerOptions options;
    options.listen = {"127.0.0.1:0"};
    options.tls = server_tls();
    backend_ = *open_server(context(), std::move(options), std::move(handler));
    backend_address_ = backend_->addresses().front();
    serve_tls();
    inner_ = make();
    outer_ = make();
  }
  std::unique_ptr<HttpClient> make() {
    ClientOptions options;
    options.tls = std::make_unique<ClientTls>(ClientTls{test_pki().ca.certificate_pem, "", nullptr});
    return *make_http_client(context(), std::move(options));
  }
  ClientRequest to_front(const std::string& query = "") {
    ClientRequest request;
    request.url = "https://" + address_ + "/tunnel" + query;
    return request;
  }

  std::string backend_address_;
  std::unique_ptr<Server> backend_;
  std::unique_ptr<HttpClient> inner_;
  std::unique_ptr<HttpClient> outer_;
};

TEST_F(Tunnel, CarriesAWebSocketConversation) {
  const Later<std::string> asked;
  const Later<std::shared_ptr<WebSocket>> sockets;
  start([=](Exchange& exchange) {
    asked.set(exchange.request().raw_target + " " + std::string(exchange.request().headers.get("x-forwarded-by")));
    auto socket = exchange.accept_websocket({"v5.channel.k8s.io"});
    ASSERT_TRUE(socket) << socket.error().message();
    (*socket)->on_message([raw = socket->get()](MessageKind kind, std::string_view text) {
      raw->send(kind, "echo " + std::string(text));
    });
    sockets.set(*socket);
  });
  auto socket = outer_->websocket({}, to_front("?command=ls&command=-l"), {"v5.channel.k8s.io"});
  ASSERT_TRUE(socket) << socket.error().message();
  EXPECT_EQ(asked.take(), "/?command=ls&command=-l front");
  EXPECT_EQ((*socket)->subprotocol(), "v5.channel.k8s.io");
  const auto backend = sockets.take();
  const Later<std::string> got;
  const Later<int> closed;
  (*socket)->on_message([=](MessageKind, std::string_view text) { got.set(std::string(text)); });
  (*socket)->on_closed([=](int code, std::string_view) { closed.set(code); });
  for (const std::size_t size : {1U, 1000U, 5'000'000U}) {
    (*socket)->send(MessageKind::Binary, padded(size));
    EXPECT_EQ(got.take(), "echo " + padded(size));
  }
  backend->close(1000, "");
  EXPECT_EQ(closed.take(), 1000);
}

TEST_F(Tunnel, HoldsAFastBackendBack) {
  const Later<std::shared_ptr<ByteStream>> streams;
  start([=](Exchange& exchange) {
    Headers headers;
    headers.add("upgrade", "bytes");
    streams.set(*exchange.upgrade(std::move(headers)));
  });
  ClientRequest request = to_front();
  request.headers.add("upgrade", "bytes");
  auto stream = outer_->upgrade({}, request, nullptr);
  ASSERT_TRUE(stream) << stream.error().message();
  (*stream)->pause(true);
  const auto total = std::make_shared<std::size_t>(0);
  const Later<std::size_t> done;
  (*stream)->on_data([=](std::string_view data) {
    *total += data.size();
    if (data.empty()) done.set(*total);
  });
  const auto backend = streams.take();
  const Bytes piece = bytes(padded(1'000'000));
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(backend->write(piece));
  // A round trip beside it: what could flow has flowed, and most of it still waits at the source.
  EXPECT_EQ(outer_
                ->request(
                    {},
                    [&] {
                      ClientRequest other = to_front();
                      other.url = "https://" + address_ + "/missing";
                      return other;
                    }(),
                    1000)
                ->status,
            404);
  EXPECT_GT(backend->backlog(), 5'000'000U);
  backend->close();
  (*stream)->pause(false);
  EXPECT_EQ(done.take(), 40'000'000U);
}

TEST_F(Tunnel, TellsTheBackendThatTheClientIsGone) {
  const Later<std::shared_ptr<ByteStream>> streams;
  start([=](Exchange& exchange) {
    Headers headers;
    headers.add("upgrade", "bytes");
    streams.set(*exchange.upgrade(std::move(headers)));
  });
  ClientRequest request = to_front();
  request.headers.add("upgrade", "bytes");
  auto stream = outer_->upgrade({}, request, nullptr);
  ASSERT_TRUE(stream) << stream.error().message();
  const auto backend = streams.take();
  const Later<int> ended;
  backend->on_data([=](std::string_view data) {
    if (data.empty()) ended.set(1);
  });
  stream->reset();
  EXPECT_EQ(ended.take(), 1);
}

TEST_F(Tunnel, PassesARefusalThroughUnchanged) {
  start([](Exchange& exchange) {
    Response response;
    response.status = 403;
    response.headers.add("content-type", "application/json");
    response.headers.add("x-backend", "yes");
    response.body = R"({"kind":"Status","code":403})";
    exchange.respond(std::move(response));
  });
  ClientRequest request = to_front();
  request.headers.add("upgrade", "websocket");
  Headers headers;
  const auto refused = outer_->upgrade({}, request, &headers);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::Forbidden);
  EXPECT_NE(refused.error().message().find(R"({"kind":"Status","code":403})"), std::string::npos);
  EXPECT_EQ(headers.get("x-backend"), "yes");
  EXPECT_EQ(headers.get("content-type"), "application/json");
}

TEST_F(Tunnel, SaysWhenTheBackendIsNotThere) {
  start([](Exchange& exchange) { exchange.respond({}); });
  backend_.reset();
  ClientRequest request = to_front();
  request.headers.add("upgrade", "websocket");
  const auto refused = outer_->upgrade({}, request, nullptr);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::ServiceUnavailable);
  EXPECT_NE(refused.error().message().find(backend_address_), std::string::npos) << refused.error().message();
}

TEST_F(Tunnel, RefusesARequestThatAsksForNoUpgrade) {
  start([](Exchange& exchange) { exchange.respond({}); });
  EXPECT_EQ(outer_->request({}, to_front(), 1000)->status, 400);
}

}  // namespace
}  // namespace kubernel::net
