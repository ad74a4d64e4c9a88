// SPDX-License-Identifier: Apache-2.0
//
// A whole connection against the real server: HTTP/1.1, HTTP/2 (with its preface), WebSocket and SPDY after an upgrade.
// The server must end every connection whose client has nothing more to say.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <kubernel/base/child_process.h>
#include <kubernel/net/server.h>
#include <kubernel/net/spdy.h>
#include <kubernel/testing/fake_clock.h>

#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"
#include "target.h"

using kubernel::fuzz::must;
namespace net = kubernel::net;
namespace core = kubernel::core;

namespace {

constexpr int kPatienceMs = 30'000;

void serve_spdy(net::Exchange& exchange) {
  net::Headers headers;
  headers.set("upgrade", "SPDY/3.1");
  auto stream = exchange.upgrade(std::move(headers));
  if (!stream) {
    exchange.respond({.status = 400, .headers = {}, .body = "no upgrade"});
    return;
  }
  std::shared_ptr<net::SpdyConnection> connection = net::make_spdy_server(*stream);
  connection->on_stream([](const std::shared_ptr<net::SpdyStream>& one) {
    one->on_data([raw = one.get()](std::string_view data) { raw->write(data); });
  });
  connection->on_closed([connection] {});  // Lives until then.
}

void serve_websocket(net::Exchange& exchange) {
  auto socket = exchange.accept_websocket({});
  if (!socket) {
    exchange.respond({.status = 400, .headers = {}, .body = "no websocket"});
    return;
  }
  (*socket)->on_message([raw = socket->get()](net::MessageKind kind, std::string_view text) { raw->send(kind, text); });
  (*socket)->on_closed([socket = *socket](int, std::string_view) {});
}

void serve(net::Exchange& exchange) {
  const std::string& path = exchange.request().path;
  if (path == "/ws") return serve_websocket(exchange);
  if (path == "/spdy") return serve_spdy(exchange);
  auto body = exchange.read_body(1 << 20);
  exchange.respond({.status = body ? 200 : body.error().http_status(),
                    .headers = {},
                    .body = body ? *body : body.error().message()});
}

struct Server {
  Server() {
    net::ServerOptions options;
    options.listen = {"127.0.0.1:0"};
    auto opened = net::open_server({log, metrics, clock, pool}, std::move(options), serve);
    must(opened.has_value(), "the server opens");
    server = *std::move(opened);
    const std::string address = server->addresses().front();
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  kubernel::testing::RecordingLogger log;
  kubernel::testing::RecordingMetrics metrics;
  core::SystemClock clock;
  core::ThreadPool pool{{.name = "fuzz", .threads = 2}, log, metrics};
  std::unique_ptr<net::Server> server;
  sockaddr_in to{};
};

}  // namespace

KUBERNEL_FUZZ(input) {
  static Server server;
  const kubernel::UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  must(connect(socket.get(), reinterpret_cast<const sockaddr*>(&server.to), sizeof server.to) == 0,
       "the server listens");
  while (!input.empty()) {
    const ssize_t sent = send(socket.get(), input.data(), input.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;
    input.remove_prefix(static_cast<std::size_t>(sent));
  }
  shutdown(socket.get(), SHUT_WR);
  char buffer[4096];
  for (;;) {
    pollfd wait{socket.get(), POLLIN, 0};
    must(poll(&wait, 1, kPatienceMs) > 0, "a connection whose client is done ends");
    if (recv(socket.get(), buffer, sizeof buffer, 0) <= 0) return;
  }
}
