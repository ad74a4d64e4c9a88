// SPDX-License-Identifier: Apache-2.0
#include <sys/un.h>

#include <filesystem>

#include "net_fixture.h"

namespace kubernel::net {
namespace {

class Client : public NetTest, public ::testing::WithParamInterface<bool> {
 protected:
  Client() {
    on("/hello", [](Exchange& exchange) {
      Response response;
      response.headers.add("x-name", "value");
      response.body = "hello";
      exchange.respond(std::move(response));
    });
    on("/who", [](Exchange& exchange) {
      Response response;
      const Request& request = exchange.request();
      response.body = request.http2 ? "h2" : "h1";
      if (request.peer_certificate) {
        response.body += " " + request.peer_certificate->common_name;
        for (const std::string& group : request.peer_certificate->organizations) response.body += "/" + group;
      }
      exchange.respond(std::move(response));
    });
    on("/echo", [](Exchange& exchange) {
      auto body = exchange.read_body(64'000'000);
      Response response;
      response.status = body ? 200 : body.error().http_status();
      response.body = body ? *body : body.error().message();
      exchange.respond(std::move(response));
    });
    on("/stream", [this](Exchange& exchange) {
      contexts_.set(exchange.context());
      streams_.set(exchange.start_stream(200, {}));
    });
  }
  ~Client() override {
    client_.reset();
    server_.reset();
  }

  bool http2() const { return GetParam(); }

  std::unique_ptr<HttpClient> make(std::unique_ptr<TlsIdentity> identity = nullptr,
                                   const std::string& ca = test_pki().ca.certificate_pem,
                                   const std::string& server_name = "") {
    ClientOptions options;
    options.http2 = http2();
    options.tls = std::make_unique<ClientTls>(ClientTls{ca, server_name, std::move(identity)});
    auto client = make_http_client(context(), std::move(options));
    EXPECT_TRUE(client) << client.error().message();
    return *std::move(client);
  }
  void start(Limits limits = {}) {
    serve_tls(limits);
    client_ = make();
  }
  ClientRequest to(const std::string& path, const std::string& method = "GET", std::string body = {}) const {
    ClientRequest request;
    request.method = method;
    request.url = "https://" + address_ + path;
    request.body = std::move(body);
    return request;
  }
  std::string body(const ClientRequest& request) {
    auto response = client_->request({}, request, 100'000'000);
    return response ? response->body : "<" + response.error().message() + ">";
  }

  Later<std::shared_ptr<ResponseStream>> streams_;
  Later<CallContext> contexts_;
  std::unique_ptr<HttpClient> client_;
};

INSTANTIATE_TEST_SUITE_P(Over, Client, ::testing::Values(false, true),
                         [](const auto& row) { return row.param ? "Http2" : "Http1"; });

TEST_P(Client, GetsAResponse) {
  start();
  const auto response = client_->request({}, to("/hello"), 1000);
  ASSERT_TRUE(response) << response.error().message();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->headers.get("X-Name"), "value");
  EXPECT_EQ(response->body, "hello");
  EXPECT_EQ(body(to("/who")), http2() ? "h2" : "h1");
  EXPECT_EQ(client_->request({}, to("/missing"), 1000)->status, 404);
}

TEST_P(Client, UsesAConnectionAgain) {
  start();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(body(to("/hello")), "hello");
  EXPECT_EQ(metrics_.value("net_server_connections_accepted_total"), 1);
}

TEST_P(Client, ProvesWhoItIs) {
  serve_tls();
  client_ = make(
      std::make_unique<TlsIdentity>(TlsIdentity{test_pki().client.certificate_pem, test_pki().client.private_key_pem}));
  EXPECT_EQ(body(to("/who")), std::string(http2() ? "h2" : "h1") + " jane/dev/ops");
}

TEST_P(Client, ACertificateOfAnotherCaProvesNothing) {
  serve_tls();
  const auto now = clock_->wall_now();
  const auto forged = crypto::issue(test_pki().other_ca, {.common_name = "jane",
                                                          .client = true,
                                                          .not_before = now - std::chrono::hours(1),
                                                          .not_after = now + std::chrono::hours(1)});
  client_ = make(std::make_unique<TlsIdentity>(TlsIdentity{forged->certificate_pem, forged->private_key_pem}));
  EXPECT_EQ(body(to("/who")), http2() ? "h2" : "h1");
}

TEST_P(Client, RefusesAServerOfAnotherCa) {
  serve_tls();
  client_ = make(nullptr, test_pki().other_ca.certificate_pem);
  const auto response = client_->request({}, to("/hello"), 1000);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().reason(), Reason::Unauthorized) << response.error().message();
}

TEST_P(Client, RefusesAServerOfAnotherName) {
  serve_tls();
  client_ = make(nullptr, test_pki().ca.certificate_pem, "other.example");
  const auto response = client_->request({}, to("/hello"), 1000);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().reason(), Reason::Unauthorized) << response.error().message();
  client_ = make(nullptr, test_pki().ca.certificate_pem, "localhost");
  EXPECT_EQ(body(to("/hello")), "hello");
}

TEST_P(Client, SendsAndReceivesLargeBodies) {
  start();
  std::string large;
  for (int i = 0; large.size() < 20'000'000; ++i) large += std::to_string(i) + ",";
  EXPECT_TRUE(body(to("/echo", "POST", large)) == large);
  EXPECT_EQ(body(to("/echo", "POST", "")), "");
}

TEST_P(Client, AResponseAboveTheLimitIsAnError) {
  start();
  const auto response = client_->request({}, to("/echo", "POST", padded(10'000)), 9'999);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().reason(), Reason::RequestEntityTooLarge);
  EXPECT_EQ(body(to("/hello")), "hello");
}

TEST_P(Client, StreamsAResponsePieceByPiece) {
  start();
  auto stream = client_->stream({}, to("/stream"));
  ASSERT_TRUE(stream) << stream.error().message();
  EXPECT_EQ((*stream)->status(), 200);
  const auto source = streams_.take();
  Later<std::string> got;
  (*stream)->on_data([=](std::string_view data, const Error* error) { got.set(error ? "error" : std::string(data)); });
  for (int i = 0; i < 5; ++i) {
    source->write(bytes("event " + std::to_string(i)));
    EXPECT_EQ(got.take(), "event " + std::to_string(i));
  }
  source->finish();
  EXPECT_EQ(got.take(), "");
}

TEST_P(Client, KeepsWhatCameBeforeAnybodyAsked) {
  start();
  auto stream = client_->stream({}, to("/stream"));
  ASSERT_TRUE(stream);
  {
    const auto source = streams_.take();
    source->write(bytes("early"));
  }
  std::string all;
  Later<int> done;
  (*stream)->on_data([&](std::string_view data, const Error* error) {
    all += data;
    if (data.empty()) done.set(error ? 2 : 1);
  });
  EXPECT_EQ(done.take(), 1);
  EXPECT_EQ(all, "early");
}

TEST_P(Client, ABodyThatBreaksOffIsAnError) {
  start();
  auto stream = client_->stream({}, to("/stream"));
  ASSERT_TRUE(stream);
  Later<std::string> got;
  (*stream)->on_data([=](std::string_view data, const Error* error) { got.set(error ? "error" : std::string(data)); });
  const auto source = streams_.take();
  source->write(bytes("x"));
  EXPECT_EQ(got.take(), "x");
  source->abort();
  EXPECT_EQ(got.take(), "error");
}

TEST_P(Client, AnAbandonedStreamTellsTheServer) {
  start();
  auto stream = client_->stream({}, to("/stream"));
  ASSERT_TRUE(stream);
  const auto source = streams_.take();
  Later<int> closed;
  source->on_closed([=] { closed.set(1); });
  stream->reset();
  EXPECT_EQ(closed.take(), 1);
  EXPECT_TRUE(contexts_.take().stopping());
  EXPECT_EQ(body(to("/hello")), "hello");
}

TEST_P(Client, APausedStreamHoldsTheServerBack) {
  start();
  auto stream = client_->stream({}, to("/stream"));
  ASSERT_TRUE(stream);
  const auto source = streams_.take();
  std::size_t total = 0;
  Later<std::size_t> done;
  (*stream)->pause(true);
  (*stream)->on_data([&](std::string_view data, const Error*) {
    total += data.size();
    if (data.empty()) done.set(total);
  });
  const Bytes piece = bytes(padded(1'000'000));
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(source->write(piece));
  EXPECT_EQ(body(to("/hello")), "hello");
  EXPECT_GT(source->backlog(), 10'000'000U);
  source->finish();
  (*stream)->pause(false);
  EXPECT_EQ(done.take(), 30'000'000U);
}

TEST_P(Client, RunsAHundredRequestsAtOnce) {
  start();
  std::vector<std::unique_ptr<ClientStream>> streams;
  for (int i = 0; i < 100; ++i) {
    auto stream = client_->stream({}, to("/stream"));
    ASSERT_TRUE(stream) << i << " " << stream.error().message();
    streams.push_back(*std::move(stream));
  }
  Later<int> ended;
  for (auto& stream : streams) {
    stream->on_data([=](std::string_view data, const Error* error) {
      if (data.empty()) ended.set(error ? 2 : 1);
    });
  }
  EXPECT_EQ(metrics_.value("net_server_connections_open"), http2() ? 1 : 100);
  for (int i = 0; i < 100; ++i) streams_.take()->write(bytes("bye"));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ended.take(), 1);
}

TEST_P(Client, ThreadsThatStartTogetherShareAnHttp2Connection) {
  start();
  std::vector<std::future<std::string>> answers;
  for (int i = 0; i < 16; ++i) {
    answers.push_back(std::async(std::launch::async, [&, i] { return body(to("/echo", "POST", std::to_string(i))); }));
  }
  for (int i = 0; i < 16; ++i) EXPECT_EQ(answers[static_cast<std::size_t>(i)].get(), std::to_string(i));
  if (http2()) {
    EXPECT_EQ(metrics_.value("net_server_connections_accepted_total"), 1);
  }
}

TEST_P(Client, GivesUpAtItsDeadlineOrWhenStopped) {
  const auto never = [this](Exchange& exchange) {
    contexts_.set(exchange.context());
    std::mutex mutex;
    std::condition_variable_any changed;
    std::unique_lock lock(mutex);
    changed.wait(lock, exchange.context().stop, [] { return false; });
    exchange.respond({});
  };
  on("/late", never);
  on("/stopped", never);
  start();
  CallContext soon;
  soon.deadline = clock_->now() + std::chrono::milliseconds(200);
  const auto late = client_->request(soon, to("/late"), 1000);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().reason(), Reason::Timeout);
  std::stop_source stop;
  CallContext stoppable;
  stoppable.stop = stop.get_token();
  auto waiting = std::async(std::launch::async, [&] { return client_->request(stoppable, to("/stopped"), 1000); });
  contexts_.take();
  stop.request_stop();
  const auto stopped = waiting.get();
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().reason(), Reason::Cancelled);
}

TEST_P(Client, SaysWhereNobodyListens) {
  start();
  server_.reset();
  const auto response = client_->request({}, to("/hello"), 1000);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().reason(), Reason::ServiceUnavailable);
  EXPECT_NE(response.error().message().find(address_), std::string::npos) << response.error().message();
}

TEST_P(Client, ConnectsAgainAfterTheServerRestarted) {
  start();
  EXPECT_EQ(body(to("/hello")), "hello");
  const std::string before = address_;
  server_.reset();
  ServerOptions options;
  options.listen = {before};
  options.tls = server_tls();
  serve(std::move(options));
  EXPECT_EQ(body(to("/hello")), "hello");
}

TEST_P(Client, NewIdentityOfTheServerIsUsedForNewConnections) {
  start();
  EXPECT_EQ(body(to("/hello")), "hello");
  const auto now = clock_->wall_now();
  const auto fresh = crypto::issue(test_pki().other_ca, {.common_name = "new",
                                                         .ip_addresses = {"127.0.0.1"},
                                                         .server = true,
                                                         .not_before = now - std::chrono::hours(1),
                                                         .not_after = now + std::chrono::hours(1)});
  ASSERT_TRUE(server_->replace_identity({fresh->certificate_pem, fresh->private_key_pem}));
  EXPECT_EQ(body(to("/hello")), "hello");
  const auto other = make(nullptr, test_pki().other_ca.certificate_pem);
  EXPECT_TRUE(other->request({}, to("/hello"), 1000));
  EXPECT_FALSE(server_->replace_identity({fresh->certificate_pem, test_pki().client.private_key_pem}));
}

TEST_P(Client, ShutdownEndsIdleConnectionsAndStreamsAtTheDeadline) {
  start();
  auto stream = client_->stream({}, to("/stream"));
  ASSERT_TRUE(stream);
  Later<std::string> got;
  (*stream)->on_data([=](std::string_view data, const Error* error) { got.set(error ? "error" : std::string(data)); });
  const auto source = streams_.take();
  CallContext now;
  now.deadline = clock_->now();
  server_->shutdown(now);
  EXPECT_EQ(got.take(), "error");
  EXPECT_FALSE(source->write(bytes("x")));
}

TEST_P(Client, AServersShutdownWaitsForAStreamThatEnds) {
  start();
  auto stream = client_->stream({}, to("/stream"));
  ASSERT_TRUE(stream);
  Later<std::string> got;
  (*stream)->on_data([=](std::string_view data, const Error* error) { got.set(error ? "error" : std::string(data)); });
  auto source = streams_.take();
  auto ended = std::async(std::launch::async, [&] { server_->shutdown({}); });
  EXPECT_TRUE(source->write(bytes("last")));
  EXPECT_EQ(got.take(), "last");
  source->finish();
  EXPECT_EQ(got.take(), "");
  ended.get();
}

TEST_P(Client, AHeaderAboveTheServersLimitIs431) {
  Limits limits;
  limits.max_header_bytes = 2000;
  start(limits);
  ClientRequest request = to("/hello");
  request.headers.add("x-large", padded(3000));
  const auto response = client_->request({}, request, 1000);
  ASSERT_TRUE(response) << response.error().message();
  EXPECT_EQ(response->status, 431);
}

TEST_P(Client, RefusesPathsWithDots) {
  start();
  EXPECT_EQ(client_->request({}, to("/a/%2e%2e/hello"), 1000)->status, 400);
}

TEST_P(Client, AClientMayEndBeforeItsStreams) {
  start();
  auto stream = client_->stream({}, to("/stream"));
  ASSERT_TRUE(stream);
  Later<std::string> got;
  (*stream)->on_data([=](std::string_view data, const Error* error) { got.set(error ? "error" : std::string(data)); });
  client_.reset();
  EXPECT_EQ(got.take(), "error");
}

TEST_P(Client, HoldsWebSocketConversations) {
  Later<std::shared_ptr<WebSocket>> sockets;
  on("/ws", [&](Exchange& exchange) {
    auto socket = exchange.accept_websocket({"v5.channel.k8s.io", "v4.channel.k8s.io"});
    if (socket) return sockets.set(*socket);
    Response response;
    response.status = socket.error().http_status();
    response.body = socket.error().message();
    exchange.respond(std::move(response));
  });
  start();
  auto socket = client_->websocket({}, to("/ws"), {"v9.channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"});
  ASSERT_TRUE(socket) << socket.error().message();
  EXPECT_EQ((*socket)->subprotocol(), "v4.channel.k8s.io");
  const auto other = sockets.take();
  EXPECT_EQ(other->subprotocol(), "v4.channel.k8s.io");
  Later<std::string> here;
  Later<std::string> there;
  (*socket)->on_message([=](MessageKind kind, std::string_view text) {
    here.set((kind == MessageKind::Text ? "t:" : "b:") + std::string(text));
  });
  other->on_message([=](MessageKind kind, std::string_view text) {
    there.set((kind == MessageKind::Text ? "t:" : "b:") + std::string(text));
  });
  for (const std::size_t size : {0U, 1U, 125U, 126U, 65535U, 65536U, 1'000'000U}) {
    (*socket)->send(MessageKind::Binary, padded(size));
    EXPECT_EQ(there.take(), "b:" + padded(size));
    other->send(MessageKind::Text, padded(size));
    EXPECT_EQ(here.take(), "t:" + padded(size));
  }
  Later<int> code;
  Later<int> other_code;
  (*socket)->on_closed([=](int c, std::string_view) { code.set(c); });
  other->on_closed([=](int c, std::string_view reason) { other_code.set(reason == "done" ? c : 0); });
  (*socket)->close(1000, "done");
  EXPECT_EQ(other_code.take(), 1000);
  EXPECT_EQ(code.take(), 1000);
  EXPECT_FALSE(other->send(MessageKind::Text, "x"));

  const auto refused = client_->websocket({}, to("/ws"), {"v9.channel.k8s.io"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::BadRequest);
}

TEST_P(Client, UpgradesAConnection) {
  Later<std::shared_ptr<ByteStream>> upgraded;
  on("/upgrade", [&](Exchange& exchange) {
    Headers headers;
    headers.add("upgrade", "SPDY/3.1");
    headers.add("x-stream-protocol-version", "v4.channel.k8s.io");
    upgraded.set(*exchange.upgrade(std::move(headers)));
  });
  start();
  ClientRequest request = to("/upgrade", "POST");
  request.headers.add("upgrade", "SPDY/3.1");
  Headers answer;
  auto stream = client_->upgrade({}, request, &answer);
  ASSERT_TRUE(stream) << stream.error().message();
  EXPECT_EQ(answer.get("x-stream-protocol-version"), "v4.channel.k8s.io");
  const auto other = upgraded.take();
  Later<std::string> here;
  Later<std::string> there;
  (*stream)->on_data([=](std::string_view data) { here.set(std::string(data)); });
  other->on_data([=](std::string_view data) { there.set(std::string(data)); });
  (*stream)->write(bytes("ping"));
  EXPECT_EQ(there.take(), "ping");
  other->write(bytes("pong"));
  EXPECT_EQ(here.take(), "pong");
  other->close();
  EXPECT_EQ(here.take(), "");
  const auto refused = client_->upgrade(
      {},
      [&] {
        ClientRequest wrong = to("/missing");
        wrong.headers.add("upgrade", "x");
        return wrong;
      }(),
      nullptr);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::NotFound);
}

class PlainClient : public NetTest {
 protected:
  ~PlainClient() override {
    client_.reset();
    server_.reset();
  }
  void make() { client_ = *make_http_client(context(), {}); }
  // A server that sends `text` to whoever asks, then closes.
  std::string answered_with(const std::string& text, const std::string& method = "GET") {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener, 1), 0);
    socklen_t size = sizeof address;
    ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
    auto serving = std::async(std::launch::async, [&] {
      const int peer = ::accept(listener, nullptr, nullptr);
      std::array<char, 4096> buffer{};
      if (::recv(peer, buffer.data(), buffer.size(), 0) > 0) ::send(peer, text.data(), text.size(), MSG_NOSIGNAL);
      ::shutdown(peer, SHUT_WR);
      while (::recv(peer, buffer.data(), buffer.size(), 0) > 0) {
      }
      ::close(peer);
    });
    ClientRequest request;
    request.method = method;
    request.url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/x";
    auto response = client_->request({}, request, 1000);
    serving.get();
    ::close(listener);
    return response ? std::to_string(response->status) + " " + response->body
                    : std::string(to_string(response.error().reason()));
  }
  std::unique_ptr<HttpClient> client_;
};

TEST_F(PlainClient, UnderstandsEveryFramingOfAResponse) {
  make();
  EXPECT_EQ(answered_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"), "200 ab");
  EXPECT_EQ(answered_with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"), "200 ab");
  EXPECT_EQ(answered_with("HTTP/1.0 200 OK\r\n\r\nab"), "200 ab");
  EXPECT_EQ(answered_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx"), "201 x");
  EXPECT_EQ(answered_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "HEAD"), "200 ");
  EXPECT_EQ(answered_with("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"), "304 ");
}

TEST_F(PlainClient, ABrokenResponseIsAnError) {
  make();
  EXPECT_EQ(answered_with("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nab"), "ServiceUnavailable");
  EXPECT_EQ(answered_with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"), "ServiceUnavailable");
  EXPECT_EQ(answered_with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "BadRequest");
  EXPECT_EQ(answered_with("SSH-2.0-OpenSSH\r\n\r\n"), "BadRequest");
  EXPECT_EQ(answered_with("HTTP/1.1 101 Switching Protocols\r\n\r\n"), "BadRequest");
  EXPECT_EQ(answered_with(""), "ServiceUnavailable");
  EXPECT_EQ(answered_with("HTTP/1.1 200 OK\r\nX: " + padded(100'000) + "\r\n\r\n"), "BadRequest");
}

TEST_F(PlainClient, AMalformedUrlIsABadRequest) {
  make();
  for (const char* url :
       {"", "ftp://x/", "http://", "http://host:port/", "https://a b/", "http://u@h/", "unix://x", "/path"}) {
    ClientRequest request;
    request.url = url;
    const auto response = client_->request({}, request, 1000);
    ASSERT_FALSE(response) << url;
    EXPECT_EQ(response.error().reason(), Reason::BadRequest) << url;
  }
}

TEST_F(PlainClient, SpeaksOverAUnixSocket) {
  make();
  const std::string path =
      (std::filesystem::temp_directory_path() / ("net-test-" + std::to_string(::getpid()))).string();
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.sun_path);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(fd, 4), 0);
  on("/hello", [](Exchange& exchange) {
    Response response;
    response.body = std::string(exchange.request().headers.get("host"));
    exchange.respond(std::move(response));
  });
  ServerOptions options;
  options.inherited_fds = {fd};
  serve(std::move(options));
  ClientRequest request;
  request.url = "unix://" + path + ":/hello";
  const auto response = client_->request({}, request, 1000);
  std::filesystem::remove(path);
  ASSERT_TRUE(response) << response.error().message();
  EXPECT_EQ(response->body, "localhost");
}

}  // namespace
}  // namespace kubernel::net
