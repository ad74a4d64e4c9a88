// SPDX-License-Identifier: Apache-2.0
#include "net_fixture.h"

namespace kubernel::net {
namespace {

constexpr std::string_view kHandshake =
    "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

// A frame as a client sends it. `first`: FIN, reserved bits and opcode.
std::string client_frame(unsigned first, std::string payload) {
  std::string out(1, static_cast<char>(first));
  if (payload.size() < 126) {
    out += static_cast<char>(0x80U | payload.size());
  } else {
    out += static_cast<char>(0x80U | 126U);
    out += static_cast<char>(payload.size() >> 8U);
    out += static_cast<char>(payload.size() & 0xffU);
  }
  out += "KEY!";
  for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(payload[i] ^ "KEY!"[i % 4]);
  return out + payload;
}

class WebSocketServer : public NetTest {
 protected:
  WebSocketServer() {
    on("/ws", [this](Exchange& exchange) {
      auto socket = exchange.accept_websocket({});
      Response response;
      if (socket) {
        (*socket)->on_message([raw = socket->get()](MessageKind kind, std::string_view text) {
          raw->send(kind, "echo " + std::string(text));
        });
        (*socket)->on_closed([closed = closed_](int code, std::string_view reason) {
          closed.set(std::to_string(code) + " " + std::string(reason));
        });
        sockets_.set(*socket);
        return;
      }
      response.status = socket.error().http_status();
      response.body = socket.error().message();
      exchange.respond(std::move(response));
    });
  }
  ~WebSocketServer() override { server_.reset(); }

  RawPeer connect() {
    if (!server_) serve();
    RawPeer peer = dial();
    peer.send(get("/ws", std::string(kHandshake)));
    const std::string head = peer.until("\r\n\r\n");
    // The example of RFC 6455, 1.3.
    EXPECT_NE(head.find("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), std::string::npos) << head;
    return peer;
  }

  Later<std::shared_ptr<WebSocket>> sockets_;
  Later<std::string> closed_;
};

TEST_F(WebSocketServer, EchoesAMessage) {
  RawPeer peer = connect();
  peer.send(client_frame(0x81, "hi"));
  EXPECT_EQ(peer.exactly(9), std::string("\x81\x07") + "echo hi");
  peer.send(client_frame(0x82, padded(300)));
  EXPECT_EQ(peer.exactly(4 + 305), std::string("\x82\x7e\x01\x31") + "echo " + padded(300));
}

TEST_F(WebSocketServer, JoinsFragmentsAndAnswersAPingBetweenThem) {
  RawPeer peer = connect();
  peer.send(client_frame(0x01, "a") + client_frame(0x89, "ping") + client_frame(0x00, "b") + client_frame(0x80, "c"));
  EXPECT_EQ(peer.exactly(6), std::string("\x8a\x04") + "ping");
  EXPECT_EQ(peer.exactly(10), std::string("\x81\x08") + "echo abc");
}

TEST_F(WebSocketServer, TextMayBeCutInsideACharacter) {
  RawPeer peer = connect();
  peer.send(client_frame(0x01, "\xc3") + client_frame(0x80, "\xa4"));
  EXPECT_EQ(peer.exactly(9), std::string("\x81\x07") + "echo \xc3\xa4");
}

TEST_F(WebSocketServer, EveryByteMayComeAlone) {
  RawPeer peer = connect();
  for (const char c : client_frame(0x81, "hi")) peer.send(std::string(1, c));
  EXPECT_EQ(peer.exactly(9), std::string("\x81\x07") + "echo hi");
}

TEST_F(WebSocketServer, AnswersACloseWithItsCode) {
  RawPeer peer = connect();
  peer.send(client_frame(0x88, std::string("\x03\xe9") + "bye"));
  EXPECT_EQ(peer.until_end(), std::string("\x88\x02\x03\xe9"));
  peer.close();
  EXPECT_EQ(closed_.take(), "1001 bye");
}

TEST_F(WebSocketServer, AConnectionThatBreaksIs1006) {
  connect().close();
  EXPECT_EQ(closed_.take(), "1006 ");
}

struct BadFrames {
  const char* name;
  std::string text;
  int code;
};

class WebSocketRefuses : public WebSocketServer, public ::testing::WithParamInterface<BadFrames> {};

TEST_P(WebSocketRefuses, WithTheRightCode) {
  RawPeer peer = connect();
  peer.send(GetParam().text);
  const std::string answer = peer.exactly(4);
  ASSERT_EQ(answer.size(), 4U);
  EXPECT_EQ(answer[0], '\x88');
  EXPECT_EQ(static_cast<unsigned char>(answer[2]) << 8U | static_cast<unsigned char>(answer[3]),
            static_cast<unsigned>(GetParam().code));
  peer.close();
  EXPECT_TRUE(closed_.take().starts_with(std::to_string(GetParam().code)));
}

// RFC 6455 sections 5 and 7.4.
INSTANTIATE_TEST_SUITE_P(
    Rows, WebSocketRefuses,
    ::testing::Values(BadFrames{"Unmasked", std::string("\x81\x02hi"), 1002},
                      BadFrames{"ReservedBit", client_frame(0xc1, "hi"), 1002},
                      BadFrames{"UnknownOpcode", client_frame(0x83, "hi"), 1002},
                      BadFrames{"UnknownControl", client_frame(0x8b, ""), 1002},
                      BadFrames{"FragmentedPing", client_frame(0x09, "x"), 1002},
                      BadFrames{"LongPing", client_frame(0x89, padded(126)), 1002},
                      BadFrames{"ContinuationOfNothing", client_frame(0x80, "x"), 1002},
                      BadFrames{"TwoMessagesAtOnce", client_frame(0x01, "a") + client_frame(0x81, "b"), 1002},
                      BadFrames{"LongFormOfAShortLength", std::string("\x81\xfe\x00\x02KEY!", 8), 1002},
                      BadFrames{"HugeLength", std::string("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 10), 1009},
                      BadFrames{"TextIsNotUtf8", client_frame(0x81, "\xff"), 1007},
                      BadFrames{"OverlongUtf8", client_frame(0x81, "\xc0\xaf"), 1007},
                      BadFrames{"Surrogate", client_frame(0x81, "\xed\xa0\x80"), 1007},
                      BadFrames{"CutCharacter", client_frame(0x81, "\xe2\x82"), 1007},
                      BadFrames{"CloseOfOneByte", client_frame(0x88, "x"), 1002},
                      BadFrames{"CloseCodeNobodySends", client_frame(0x88, "\x03\xee"), 1002}),
    [](const auto& row) { return row.param.name; });

TEST_F(WebSocketServer, AMessageThatGrowsTooLargeByFragmentsIs1009) {
  RawPeer peer = connect();
  peer.send(client_frame(0x02, padded(65'000)));
  for (int i = 0; i < 300; ++i) peer.send(client_frame(0x00, padded(65'000)));
  EXPECT_EQ(peer.exactly(4).substr(2), "\x03\xf1");
}

TEST_F(WebSocketServer, RefusesAHandshakeThatIsNone) {
  serve();
  const auto status = [&](const std::string& headers) {
    RawPeer peer = dial();
    peer.send(get("/ws", headers + "\r\n"));
    return peer.until("\r\n").substr(9, 3);
  };
  EXPECT_EQ(status("X: y"), "400");
  std::string no_key(kHandshake.substr(0, kHandshake.find("Sec-WebSocket-Key")));
  EXPECT_EQ(status(no_key + "X: y"), "400");
  EXPECT_EQ(status(no_key + "Sec-WebSocket-Key: short"), "400");
}

TEST_F(WebSocketServer, APausedSocketDeliversWhenItGoesOn) {
  const Later<std::string> got;
  const Later<std::shared_ptr<WebSocket>> sockets;
  on("/paused", [=](Exchange& exchange) {
    auto socket = exchange.accept_websocket({});
    ASSERT_TRUE(socket);
    (*socket)->pause(true);
    (*socket)->on_message([=](MessageKind, std::string_view text) { got.set(std::string(text)); });
    sockets.set(*socket);
  });
  serve();
  RawPeer peer = dial();
  peer.send(get("/paused", std::string(kHandshake)));
  peer.until("\r\n\r\n");
  const auto socket = sockets.take();
  peer.send(client_frame(0x81, "one") + client_frame(0x81, "two"));
  socket->send(MessageKind::Text, "mark");
  EXPECT_EQ(peer.exactly(6), std::string("\x81\x04") + "mark");
  EXPECT_TRUE(got.empty());
  socket->pause(false);
  EXPECT_EQ(got.take(), "one");
  EXPECT_EQ(got.take(), "two");
}

}  // namespace
}  // namespace kubernel::net
