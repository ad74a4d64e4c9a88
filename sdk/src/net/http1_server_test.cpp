// SPDX-License-Identifier: Apache-2.0
#include "net_fixture.h"

namespace kubernel::net {
namespace {

class Http1Server : public NetTest {
 protected:
  Http1Server() {
    on("/hello", [](Exchange& exchange) {
      Response response;
      response.headers.add("content-type", "text/plain");
      response.body = "hello";
      exchange.respond(std::move(response));
    });
    on("/echo", [](Exchange& exchange) {
      auto body = exchange.read_body(1'000'000);
      Response response;
      response.status = body ? 200 : body.error().http_status();
      response.body = body ? *body : body.error().message();
      exchange.respond(std::move(response));
    });
    on("/what", [](Exchange& exchange) {
      Response response;
      for (const auto& [name, value] : exchange.request().query) response.body += name + "=" + value + ";";
      exchange.respond(std::move(response));
    });
    on("/stream", [this](Exchange& exchange) {
      Headers headers;
      headers.add("content-type", "application/json");
      streams_.set(exchange.start_stream(200, std::move(headers)));
      contexts_.set(exchange.context());
    });
  }

  ~Http1Server() override { server_.reset(); }

  // One request on one connection; all that comes back.
  std::string answer_to(const std::string& text) {
    RawPeer peer = dial();
    peer.send(text);
    return peer.until_end();
  }

  Later<std::shared_ptr<ResponseStream>> streams_;
  Later<CallContext> contexts_;
};

bool starts(const std::string& text, std::string_view with) {
  return text.starts_with(with);
}

TEST_F(Http1Server, AnswersAndKeepsTheConnection) {
  serve();
  RawPeer peer = dial();
  for (int i = 0; i < 3; ++i) {
    peer.send(get("/hello"));
    const std::string head = peer.until("\r\n\r\n");
    EXPECT_TRUE(starts(head, "HTTP/1.1 200 OK\r\n")) << head;
    EXPECT_NE(head.find("content-length: 5\r\n"), std::string::npos) << head;
    EXPECT_NE(head.find("date: "), std::string::npos);
    EXPECT_EQ(peer.exactly(5), "hello");
  }
}

TEST_F(Http1Server, TellsAClientThatSpeaksTlsThatItDoesNot) {
  serve();
  RawPeer peer = dial();
  peer.send(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11));
  const std::string answer = peer.until_end();
  EXPECT_EQ(answer.substr(0, 24), "HTTP/1.0 400 Bad Request");
  EXPECT_NE(answer.find("TLS handshake to a server that speaks plain HTTP"), std::string::npos) << answer;
}

TEST_F(Http1Server, AnswersPipelinedRequestsInOrder) {
  serve();
  RawPeer peer = dial();
  std::string text;
  for (int i = 0; i < 20; ++i) text += get("/what?n=" + std::to_string(i));
  peer.send(text + get("/hello", "Connection: close\r\n"));
  const std::string all = peer.until_end();
  std::size_t at = 0;
  for (int i = 0; i < 20; ++i) {
    at = all.find("n=" + std::to_string(i) + ";", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
  EXPECT_TRUE(all.ends_with("hello"));
}

TEST_F(Http1Server, DecodesTheQueryAndKeepsRepeatedNames) {
  serve();
  EXPECT_EQ(body_of(answer_to(get("/what?a=1&a=x%20y+z&b&c=%2F", "Connection: close\r\n"))), "a=1;a=x y z;b=;c=/;");
}

TEST_F(Http1Server, HeadHasTheLengthAndNoBody) {
  serve();
  const std::string all = answer_to("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_NE(all.find("content-length: 5\r\n"), std::string::npos);
  EXPECT_EQ(body_of(all), "");
}

TEST_F(Http1Server, Http10ClosesUnlessAskedNotTo) {
  serve();
  EXPECT_EQ(body_of(answer_to("GET /hello HTTP/1.0\r\n\r\n")), "hello");
  RawPeer peer = dial();
  peer.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_NE(peer.until("hello").find("connection: keep-alive"), std::string::npos);
  peer.send("GET /hello HTTP/1.0\r\n\r\n");
  peer.until("hello");
  EXPECT_EQ(peer.until_end(), "");
}

TEST_F(Http1Server, ReadsABodyOfEitherFraming) {
  serve();
  RawPeer peer = dial();
  peer.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
  peer.send("cde");
  EXPECT_EQ(body_of(peer.until("cde")), "abcde");
  peer.send(
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
      "chunked\r\n\r\n3\r\nabc\r\nA;ext=1\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n");
  EXPECT_EQ(body_of(peer.until("789")), "abc0123456789");
  peer.send(get("/hello"));
  EXPECT_EQ(body_of(peer.until("hello")), "hello");
}

TEST_F(Http1Server, ReadsABodyLargerThanItsBuffers) {
  serve();
  const std::string body = padded(900'000, 'b');
  EXPECT_EQ(body_of(answer_to("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 900000\r\n\r\n" +
                              body)),
            body);
}

TEST_F(Http1Server, RefusesABodyAboveTheHandlersLimit) {
  serve();
  const std::string announced = answer_to(
      "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000001\r\n\r\n" + padded(1'000'001));
  EXPECT_TRUE(starts(announced, "HTTP/1.1 413 Request Entity Too Large\r\n")) << announced.substr(0, 200);
  std::string chunked = "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 20; ++i) chunked += "10000\r\n" + padded(65536) + "\r\n";
  const std::string endless = answer_to(chunked + "0\r\n\r\n");
  EXPECT_TRUE(starts(endless, "HTTP/1.1 413 ")) << endless.substr(0, 200);
}

TEST_F(Http1Server, SaysContinueWhenTheHandlerWantsTheBody) {
  serve();
  RawPeer peer = dial();
  peer.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(peer.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  peer.send("abc");
  EXPECT_EQ(body_of(peer.until("abc")), "abc");
}

TEST_F(Http1Server, ABodyNobodyWantedDoesNotSpoilTheConnection) {
  serve();
  RawPeer peer = dial();
  peer.send("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + padded(100'000));
  EXPECT_EQ(body_of(peer.until("hello")), "hello");
  peer.send(get("/what?still=here"));
  EXPECT_EQ(body_of(peer.until("here;")), "still=here;");
}

TEST_F(Http1Server, SendsTheHeadOfAStreamAtOnceAndEachPieceAsItComes) {
  serve();
  RawPeer peer = dial();
  peer.send(get("/stream"));
  const std::string head = peer.until("\r\n\r\n");
  EXPECT_NE(head.find("transfer-encoding: chunked\r\n"), std::string::npos) << head;
  const auto stream = streams_.take();
  EXPECT_TRUE(stream->write(bytes("one")));
  EXPECT_EQ(peer.until("one\r\n"), "3\r\none\r\n");
  EXPECT_TRUE(stream->write(bytes(padded(10'000))));
  EXPECT_EQ(peer.exactly(6), "2710\r\n");
  EXPECT_EQ(peer.exactly(10'002), padded(10'000) + "\r\n");
  stream->finish();
  EXPECT_EQ(peer.until("\r\n\r\n"), "0\r\n\r\n");
  peer.send(get("/hello"));
  EXPECT_EQ(body_of(peer.until("hello")), "hello");
}

TEST_F(Http1Server, AStreamNobodyFinishedEndsCleanlyWhenItIsDropped) {
  serve();
  RawPeer peer = dial();
  peer.send(get("/stream"));
  streams_.take()->write(bytes("x"));
  EXPECT_EQ(body_of(peer.until("0\r\n\r\n")), "1\r\nx\r\n0\r\n\r\n");
}

TEST_F(Http1Server, AnAbortedStreamHasNoEnd) {
  serve();
  RawPeer peer = dial();
  peer.send(get("/stream"));
  peer.until("\r\n\r\n");
  const auto stream = streams_.take();
  stream->abort();
  EXPECT_EQ(peer.until_end(), "");
}

TEST_F(Http1Server, TellsAStreamThatItsClientIsGone) {
  serve();
  RawPeer peer = dial();
  peer.send(get("/stream"));
  peer.until("\r\n\r\n");
  const auto stream = streams_.take();
  const CallContext context = contexts_.take();
  Later<int> closed;
  stream->on_closed([=] { closed.set(1); });
  EXPECT_FALSE(context.stopping());
  peer.close();
  EXPECT_EQ(closed.take(), 1);
  EXPECT_TRUE(context.stopping());
  EXPECT_FALSE(stream->write(bytes("x")));
  stream->on_closed([=] { closed.set(2); });
  EXPECT_EQ(closed.take(), 2);
}

TEST_F(Http1Server, TellsAWriterThatItsReaderIsSlow) {
  serve();
  RawPeer peer = dial();
  peer.send(get("/stream", "Connection: close\r\n"));
  peer.until("\r\n\r\n");
  const auto stream = streams_.take();
  Later<int> drained;
  stream->on_drained([=] { drained.set(1); });
  const Bytes piece = bytes(padded(1'000'000));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(stream->write(piece));
  EXPECT_GT(stream->backlog(), 1'000'000U);
  EXPECT_GT(peer.exactly(20'000'000).size(), 19'000'000U);
  EXPECT_EQ(drained.take(), 1);
  EXPECT_EQ(stream->backlog(), 0U);
}

TEST_F(Http1Server, AHandlerWithoutAnAnswerOrWithAnExceptionIsA500) {
  on("/nothing", [](Exchange&) {});
  on("/throws", [](Exchange&) { throw std::runtime_error("boom"); });
  serve();
  for (const char* path : {"/nothing", "/throws"}) {
    const std::string answer = answer_to(get(path, "Connection: close\r\n"));
    EXPECT_TRUE(starts(answer, "HTTP/1.1 500 ")) << answer;
    EXPECT_EQ(answer.find("boom"), std::string::npos);
  }
  EXPECT_GE(log_.lines().size(), 2U);
}

TEST_F(Http1Server, AHeaderValueCannotAddALine) {
  on("/inject", [](Exchange& exchange) {
    Response response;
    response.headers.add("x-good", "1");
    response.headers.add("x-bad", "a\r\nset-cookie: b");
    exchange.respond(std::move(response));
  });
  serve();
  const std::string answer = answer_to(get("/inject", "Connection: close\r\n"));
  EXPECT_NE(answer.find("x-good: 1\r\n"), std::string::npos);
  EXPECT_EQ(answer.find("set-cookie"), std::string::npos);
}

struct BadRequest {
  const char* name;
  const char* text;
  const char* answer;
};

class Http1Refuses : public Http1Server, public ::testing::WithParamInterface<BadRequest> {};

TEST_P(Http1Refuses, WithTheRightStatus) {
  serve();
  const std::string answer = answer_to(GetParam().text);
  EXPECT_TRUE(starts(answer, std::string("HTTP/1.1 ") + GetParam().answer)) << answer;
  EXPECT_NE(answer.find("connection: close\r\n"), std::string::npos);
}

// RFC 9112; what could be read in two ways is refused.
INSTANTIATE_TEST_SUITE_P(
    Rows, Http1Refuses,
    ::testing::Values(
        BadRequest{"NoVersion", "GET /hello\r\n\r\n", "400"},
        BadRequest{"OtherVersion", "GET /hello HTTP/3.0\r\n\r\n", "505"},
        BadRequest{"NoHost", "GET /hello HTTP/1.1\r\n\r\n", "400"},
        BadRequest{"TwoHosts", "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
        BadRequest{"SpaceBeforeColon", "GET /hello HTTP/1.1\r\nHost : a\r\n\r\n", "400"},
        BadRequest{"FoldedField", "GET /hello HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", "400"},
        BadRequest{"BareLineFeed", "GET /hello HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "400"},
        BadRequest{"LengthAndChunks",
                   "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                   "400"},
        BadRequest{"TwoLengths", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
                   "400"},
        BadRequest{"SignedLength", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", "400"},
        BadRequest{"HugeLength", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
                   "400"},
        BadRequest{"OtherEncoding", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "501"},
        BadRequest{"ChunkedTwice",
                   "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "501"},
        BadRequest{"ChunkedInHttp10", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
        BadRequest{"BadChunkSize", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                   "400"},
        BadRequest{"HugeChunkSize",
                   "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", "400"},
        BadRequest{"ChunkLongerThanSaid",
                   "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", "400"},
        BadRequest{"DotSegments", "GET /a/../hello HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        BadRequest{"EncodedDotSegments", "GET /a/%2e%2E/hello HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        BadRequest{"EncodedSlashAndDots", "GET /a%2f..%2fhello HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        BadRequest{"BrokenEscape", "GET /hello%2 HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        BadRequest{"NulInPath", "GET /hello%00 HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        BadRequest{"RelativeTarget", "GET hello HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        BadRequest{"Connect", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "501"},
        BadRequest{"BadMethod", "G@T /hello HTTP/1.1\r\nHost: a\r\n\r\n", "400"}),
    [](const auto& row) { return row.param.name; });

TEST_F(Http1Server, AHeaderAboveTheLimitIs431) {
  ServerOptions options;
  options.limits.max_header_bytes = 1000;
  serve(std::move(options));
  EXPECT_TRUE(starts(answer_to(get("/hello", "X: " + padded(900) + "\r\nConnection: close\r\n")), "HTTP/1.1 200 "));
  EXPECT_TRUE(starts(answer_to(get("/hello", "X: " + padded(1000) + "\r\n")), "HTTP/1.1 431 "));
  EXPECT_TRUE(starts(answer_to(padded(100'000)), "HTTP/1.1 431 "));
}

TEST_F(Http1Server, ConnectionsAboveTheLimitAreClosed) {
  ServerOptions options;
  options.limits.max_connections = 2;
  serve(std::move(options));
  RawPeer first = dial();
  first.send(get("/hello"));
  first.until("hello");
  RawPeer second = dial();
  second.send(get("/hello"));
  second.until("hello");
  RawPeer third = dial();
  EXPECT_EQ(third.until_end(), "");
  first.send(get("/hello"));
  EXPECT_EQ(body_of(first.until("hello")), "hello");
}

class Http1Time : public Http1Server {
 protected:
  Http1Time() { clock_ = &fake_; }
  ~Http1Time() override { server_.reset(); }
  void pass(std::chrono::milliseconds by) { fake_.advance(by); }
  // Lets `by` pass and waits for what the server sends then. A timer the server arms while time is being advanced is
  // due at once, and a FakeClock fires it with the next step.
  std::string end_after(std::chrono::milliseconds by, RawPeer& peer) {
    fake_.advance(by);
    for (int i = 0; i < kTestPatienceMs / 10 && !peer.readable_within(10); ++i)
      fake_.advance(std::chrono::milliseconds(0));
    return peer.until_end();
  }
  testing::FakeClock fake_;
};

TEST_F(Http1Time, AHeadThatDoesNotComeInTimeIs408) {
  serve();
  RawPeer peer = dial();
  peer.send(get("/hello"));
  peer.until("hello");
  peer.send("GET /hel");
  RawPeer other = dial();
  other.send(get("/hello"));
  other.until("hello");  // So the slow head's first bytes have been read, too.
  EXPECT_TRUE(starts(end_after(Limits{}.header_timeout, peer), "HTTP/1.1 408 "));
}

TEST_F(Http1Time, AConnectionWithoutARequestIsClosed) {
  serve();
  RawPeer silent = dial();
  RawPeer other = dial();
  other.send(get("/hello"));
  other.until("hello");
  EXPECT_EQ(end_after(Limits{}.header_timeout, silent), "");
}

TEST_F(Http1Time, AnIdleConnectionIsClosed) {
  serve();
  RawPeer peer = dial();
  peer.send(get("/hello"));
  peer.until("hello");
  pass(Limits{}.idle_timeout - std::chrono::seconds(1));
  peer.send(get("/hello"));
  EXPECT_EQ(body_of(peer.until("hello")), "hello");
  EXPECT_EQ(end_after(Limits{}.idle_timeout, peer), "");
}

TEST_F(Http1Time, ASmallBodyThatStopsIs408AndHoldsNoThread) {
  Later<int> called;
  on("/counted", [&](Exchange& exchange) {
    called.set(1);
    exchange.respond({});
  });
  serve();
  RawPeer peer = dial();
  peer.send("POST /counted HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  RawPeer other = dial();
  other.send(get("/hello"));
  other.until("hello");
  EXPECT_TRUE(starts(end_after(Limits{}.body_idle_timeout, peer), "HTTP/1.1 408 "));
  EXPECT_TRUE(called.empty());
}

TEST_F(Http1Time, ALargeBodyThatStopsIsATimeoutForTheHandler) {
  Later<Reason> failed;
  Later<int> reading;
  on("/large", [&](Exchange& exchange) {
    reading.set(1);
    auto body = exchange.read_body(1'000'000);
    failed.set(body ? Reason::Internal : body.error().reason());
    exchange.respond({});
  });
  serve();
  RawPeer peer = dial();
  peer.send("POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + padded(100'000));
  reading.take();
  // The reader's timer is armed a little after the handler began: time passes until it has been.
  while (failed.empty()) pass(Limits{}.body_idle_timeout);
  EXPECT_EQ(failed.take(), Reason::Timeout);
}

TEST_F(Http1Server, ABodyThatBreaksOffIsAnErrorForTheHandler) {
  Later<Reason> failed;
  on("/large", [&](Exchange& exchange) {
    auto body = exchange.read_body(1'000'000);
    failed.set(body ? Reason::Internal : body.error().reason());
    exchange.respond({});
  });
  serve();
  RawPeer peer = dial();
  peer.send("POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + padded(100'000));
  peer.close();
  EXPECT_EQ(failed.take(), Reason::BadRequest);
}

TEST_F(Http1Server, AUsedAddressIsAnErrorThatSaysSo) {
  serve();
  ServerOptions options;
  options.listen = {address_};
  const auto second = open_server(context(), std::move(options), [](Exchange&) {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().reason(), Reason::ServiceUnavailable);
  EXPECT_EQ(second.error().message(), "address " + address_ + " is already in use");
}

TEST_F(Http1Server, AMalformedAddressIsInvalid) {
  for (const char* text : {"localhost", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "[::1:80", "300.0.0.1:1"}) {
    ServerOptions options;
    options.listen = {text};
    const auto server = open_server(context(), std::move(options), [](Exchange&) {});
    ASSERT_FALSE(server) << text;
    EXPECT_EQ(server.error().reason(), Reason::Invalid);
  }
}

TEST_F(Http1Server, TakesOverASocketThatListens) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any), 0);
  ASSERT_EQ(::listen(fd, 16), 0);
  ServerOptions options;
  options.inherited_fds = {fd};
  serve(std::move(options));
  EXPECT_EQ(body_of(answer_to(get("/hello", "Connection: close\r\n"))), "hello");
}

TEST_F(Http1Server, ShutdownLetsARequestFinishAndRefusesNewConnections) {
  Later<int> entered;
  std::promise<void> go;
  on("/slow", [&](Exchange& exchange) {
    entered.set(1);
    go.get_future().wait();
    Response response;
    response.body = "done";
    exchange.respond(std::move(response));
  });
  serve();
  RawPeer busy = dial();
  busy.send(get("/slow"));
  entered.take();
  RawPeer idle = dial();
  idle.send(get("/hello"));
  idle.until("hello");
  auto ended = std::async(std::launch::async, [&] { server_->shutdown({}); });
  EXPECT_EQ(idle.until_end(), "");
  EXPECT_FALSE(dial().connected());
  go.set_value();
  const std::string answer = busy.until_end();
  EXPECT_TRUE(answer.ends_with("done")) << answer;
  EXPECT_NE(answer.find("connection: close\r\n"), std::string::npos);
  ended.get();
}

TEST_F(Http1Server, ShutdownBreaksAnOpenWatchAtItsDeadline) {
  serve();
  RawPeer peer = dial();
  peer.send(get("/stream"));
  peer.until("\r\n\r\n");
  const auto stream = streams_.take();
  Later<int> closed;
  stream->on_closed([=] { closed.set(1); });
  CallContext now;
  now.deadline = clock_->now();
  server_->shutdown(now);
  EXPECT_EQ(closed.take(), 1);
  EXPECT_TRUE(contexts_.take().stopping());
  EXPECT_FALSE(stream->write(bytes("x")));
  EXPECT_EQ(peer.until_end(), "");
}

TEST_F(Http1Server, AStreamMayOutliveItsServer) {
  serve();
  RawPeer peer = dial();
  peer.send(get("/stream"));
  peer.until("\r\n\r\n");
  const auto stream = streams_.take();
  server_.reset();
  EXPECT_FALSE(stream->write(bytes("x")));
  stream->finish();
}

TEST_F(Http1Server, HandsOverAnUpgradedConnectionWithWhatCameEarly) {
  Later<std::shared_ptr<ByteStream>> upgraded;
  on("/upgrade", [&](Exchange& exchange) {
    Headers headers;
    headers.add("upgrade", "echo");
    auto stream = exchange.upgrade(std::move(headers));
    ASSERT_TRUE(stream) << stream.error().message();
    upgraded.set(*stream);
  });
  serve();
  RawPeer peer = dial();
  peer.send(get("/upgrade", "Connection: Upgrade\r\nUpgrade: echo\r\n") + "early");
  EXPECT_EQ(peer.until("\r\n\r\n"), "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: Upgrade\r\n\r\n");
  const auto stream = upgraded.take();
  Later<std::string> got;
  Later<int> closed;
  stream->on_data([=](std::string_view data) { got.set(std::string(data)); });
  stream->on_closed([=] { closed.set(1); });
  EXPECT_EQ(got.take(), "early");
  peer.send("more");
  EXPECT_EQ(got.take(), "more");
  stream->write(bytes("answer"));
  EXPECT_EQ(peer.exactly(6), "answer");
  peer.shut_write();
  EXPECT_EQ(got.take(), "");
  stream->write(bytes("last words"));
  stream->close();
  EXPECT_EQ(peer.until_end(), "last words");
  EXPECT_EQ(closed.take(), 1);
}

TEST_F(Http1Server, APausedUpgradedConnectionHoldsTheSenderBack) {
  Later<std::shared_ptr<ByteStream>> upgraded;
  on("/upgrade", [&](Exchange& exchange) {
    Headers headers;
    headers.add("upgrade", "x");
    upgraded.set(*exchange.upgrade(std::move(headers)));
  });
  serve();
  RawPeer peer = dial();
  peer.send(get("/upgrade", "Connection: Upgrade\r\nUpgrade: x\r\n"));
  peer.until("\r\n\r\n");
  const auto stream = upgraded.take();
  stream->pause(true);
  std::size_t total = 0;
  Later<std::size_t> done;
  stream->on_data([&](std::string_view data) {
    total += data.size();
    if (data.empty()) done.set(total);
  });
  auto sender = std::async(std::launch::async, [&] {
    peer.send(padded(30'000'000));
    peer.shut_write();
  });
  // Far more than the kernel's buffers: it cannot be done while we are paused.
  EXPECT_EQ(sender.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  stream->pause(false);
  EXPECT_EQ(done.take(), 30'000'000U);
  sender.get();
}

TEST_F(Http1Server, RefusesToUpgradeWhatDoesNotAskForIt) {
  on("/upgrade", [](Exchange& exchange) {
    auto stream = exchange.upgrade({});
    Response response;
    response.status = stream ? 200 : stream.error().http_status();
    exchange.respond(std::move(response));
  });
  serve();
  EXPECT_TRUE(starts(answer_to(get("/upgrade", "Connection: close\r\n")), "HTTP/1.1 400 "));
}

TEST_F(Http1Server, HoldsAThousandIdleConnections) {
  serve();
  std::vector<RawPeer> peers;
  for (int i = 0; i < 1000; ++i) peers.push_back(dial());
  for (RawPeer& peer : peers) peer.send(get("/hello"));
  for (RawPeer& peer : peers) ASSERT_EQ(body_of(peer.until("hello")), "hello");
  EXPECT_EQ(metrics_.value("net_server_connections_open"), 1000);
}

}  // namespace
}  // namespace kubernel::net
