// SPDX-License-Identifier: Apache-2.0
//
// A whole connection against the real server: HTTP/1.1, HTTP/2 (with its preface), WebSocket and SPDY after an upgrade.
// The server must end every connection whose client has nothing more to say.

#include <kubernel/net/spdy.h>

#include "peer.h"

namespace net = kubernel::net;

namespace {

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

}  // namespace

KUBERNEL_FUZZ(input) {
  static const kubernel::fuzz::PeerOfServer peer({}, serve);
  peer.say(input);
}
