// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "grpc_peer.h"

namespace kubernel::net {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

// Answers each message with itself, and the end with a status that tells how many there were.
class Echo final : public GrpcReceiver {
 public:
  Echo(std::shared_ptr<GrpcCall> call, Later<std::string> told) : call_(std::move(call)), told_(std::move(told)) {}
  void on_message(std::string_view message) override {
    ++count_;
    if (message == "pause") call_->pause(true);
    told_.set(std::string(message));
    call_->send(message);
  }
  void on_end() override { call_->finish({GrpcCode::Ok, ""}); }
  void on_closed() override {
    told_.set("closed after " + std::to_string(count_));
    call_->finish({GrpcCode::Cancelled, ""});
  }

 private:
  const std::shared_ptr<GrpcCall> call_;
  const Later<std::string> told_;
  int count_ = 0;
};

class GrpcServer : public NetTest {
 protected:
  void serve_grpc() {
    methods_->add("/test.Echo/Once", [](const std::shared_ptr<GrpcCall>& call, std::string_view message) {
      call->send(message);
      call->finish({});
    });
    methods_->add("/test.Echo/Twice", [](const std::shared_ptr<GrpcCall>& call, std::string_view message) {
      call->send(message);
      call->send(message);
      call->finish({GrpcCode::OutOfRange, "100% zu groß"});
    });
    methods_->add("/test.Echo/Refuse", [](const std::shared_ptr<GrpcCall>& call, std::string_view) {
      call->finish({GrpcCode::NotFound, "no such thing"});
      call->finish({GrpcCode::Internal, "only the first counts"});
    });
    methods_->add("/test.Echo/Never",
                  [this](const std::shared_ptr<GrpcCall>& call, std::string_view) { calls_.set(call); });
    methods_->add_streaming("/test.Echo/Stream", [this](const std::shared_ptr<GrpcCall>& call) {
      calls_.set(call);
      return std::make_shared<Echo>(call, told_);
    });
    ServerOptions options;
    options.grpc = methods_;
    options.limits.max_header_bytes = 8 * 1024;
    serve(std::move(options));
  }

  std::shared_ptr<GrpcMethods> methods_ = std::make_shared<GrpcMethods>();
  Later<std::shared_ptr<GrpcCall>> calls_;
  Later<std::string> told_;
};

TEST_F(GrpcServer, AnswersOneMessage) {
  serve_grpc();
  GrpcPeer peer(address_);
  for (const std::string& text : {std::string("hello"), std::string(), padded(1'000'000)}) {
    const GrpcAnswer answer = peer.call("/test.Echo/Once", text);
    EXPECT_EQ(answer.http_status, "200");
    EXPECT_EQ(answer.fields.at("content-type"), "application/grpc");
    EXPECT_EQ(answer.status(), "0");
    ASSERT_EQ(answer.messages.size(), 1U);
    EXPECT_EQ(answer.messages.front(), text);
  }
}

TEST_F(GrpcServer, AStatusFollowsTheMessagesAndItsTextIsPercentEncoded) {
  serve_grpc();
  GrpcPeer peer(address_);
  const GrpcAnswer answer = peer.call("/test.Echo/Twice", "x");
  EXPECT_THAT(answer.messages, ElementsAre("x", "x"));
  EXPECT_EQ(answer.status(), "11 100%25 zu gro%C3%9F");
  EXPECT_EQ(peer.call("/test.Echo/Refuse", "x").status(), "5 no such thing");
}

TEST_F(GrpcServer, AMessageMayComeByteByByte) {
  serve_grpc();
  GrpcPeer peer(address_);
  const std::int32_t id = peer.open("/test.Echo/Once");
  const auto frame = grpc_frame("slowly");
  for (const char c : *frame) peer.send(id, std::string_view(&c, 1));
  peer.end(id);
  EXPECT_THAT(peer.answer(id).messages, ElementsAre("slowly"));
}

TEST_F(GrpcServer, ManyCallsOfAConnectionAreServedAtOnce) {
  serve_grpc();
  GrpcPeer peer(address_);
  const std::int32_t first = peer.open("/test.Echo/Never");
  peer.send(first, *grpc_frame("x"), true);
  const auto waiting = calls_.take();
  EXPECT_EQ(peer.call("/test.Echo/Once", "other").status(), "0");
  waiting->send("late");
  waiting->finish({});
  EXPECT_THAT(peer.answer(first).messages, ElementsAre("late"));
}

TEST_F(GrpcServer, UnknownMethodsAndServicesAreNamed) {
  serve_grpc();
  GrpcPeer peer(address_);
  EXPECT_EQ(peer.call("/test.Echo/Other", "x").status(), "12 unknown method Other for service test.Echo");
  EXPECT_EQ(peer.call("/test.Other/Once", "x").status(), "12 unknown service test.Other");
  EXPECT_EQ(peer.call("/nonsense", "x").status(), "12 malformed method name: /nonsense");
}

TEST_F(GrpcServer, WhatIsNoGrpcGetsHttpsAnswer) {
  serve_grpc();
  GrpcPeer peer(address_);
  EXPECT_EQ(peer.call("/test.Echo/Once", "x", {{"content-type", "text/plain"}}).http_status, "415");
  EXPECT_EQ(peer.call("/test.Echo/Once", "x", {{"content-type", "application/grpcweb"}}).http_status, "415");
  EXPECT_EQ(peer.call("/test.Echo/Once", "x", {{":method", "PUT"}}).http_status, "405");
  EXPECT_EQ(peer.call("/test.Echo/Once", "x", {{"x-much", padded(9'000)}}).http_status, "431");
  EXPECT_EQ(peer.call("/test.Echo/Once", "x", {{"content-type", "application/grpc+proto"}}).status(), "0");
  on("/", [](Exchange& exchange) { exchange.respond({.status = 200, .headers = {}, .body = "plain"}); });
  RawPeer plain = dial();
  plain.send(get("/", "Connection: close\r\n"));
  EXPECT_EQ(body_of(plain.until_end()), "plain");
}

TEST_F(GrpcServer, BrokenRequestsAreRefused) {
  serve_grpc();
  GrpcPeer peer(address_);
  const auto sent = [&](std::string_view bytes) {
    const std::int32_t id = peer.open("/test.Echo/Once");
    peer.send(id, bytes, true);
    return peer.answer(id).status();
  };
  using namespace std::string_literals;
  EXPECT_EQ(sent(""), "13 grpc: the request is no message");
  EXPECT_EQ(sent("\0\0\0"s), "13 grpc: the request ends within a message");
  EXPECT_EQ(sent("\0\0\0\0\5abc"s), "13 grpc: the request ends within a message");
  EXPECT_EQ(sent("\0\0\0\0\1a\0\0\0\0\1b"s), "13 grpc: the request is more than one message");
  EXPECT_EQ(sent("\1\0\0\0\1a"s), "12 grpc: compressed messages are not taken");
  EXPECT_EQ(peer.call("/test.Echo/Once", "x", {{"grpc-timeout", "soon"}}).status(),
            "13 grpc: the timeout is malformed");
}

TEST_F(GrpcServer, ALargeMessageIsRefusedAsSoonAsItsSizeIsKnown) {
  methods_->max_message_bytes = 10;
  serve_grpc();
  GrpcPeer peer(address_);
  const std::int32_t id = peer.open("/test.Echo/Once");
  peer.send(id, std::string_view("\0\0\0\0\x0b", 5));
  EXPECT_EQ(peer.answer(id).status(), "8 grpc: received message larger than max (11 vs. 10)");
  EXPECT_EQ(peer.call("/test.Echo/Once", "0123456789").status(), "0");
}

TEST_F(GrpcServer, AStreamGoesBothWaysUntilTheClientEndsIt) {
  serve_grpc();
  GrpcPeer peer(address_);
  const std::int32_t id = peer.open("/test.Echo/Stream");
  for (const std::string text : {"one", "two", "three"}) {
    peer.message(id, text);
    EXPECT_EQ(peer.next(id), text);
  }
  peer.end(id);
  EXPECT_EQ(peer.answer(id).status(), "0");
  for (const char* text : {"one", "two", "three", "closed after 3"}) EXPECT_EQ(told_.take(), text);
}

TEST_F(GrpcServer, APausedStreamKeepsMessagesAndTheirOrder) {
  serve_grpc();
  GrpcPeer peer(address_);
  const std::int32_t id = peer.open("/test.Echo/Stream");
  const auto call = calls_.take();
  peer.send(id, *grpc_frame("pause") + *grpc_frame("a") + *grpc_frame("b"), true);
  EXPECT_EQ(peer.next(id), "pause");
  // What comes after on the same connection shows that nothing more was taken.
  EXPECT_EQ(peer.call("/test.Echo/Once", "x").status(), "0");
  EXPECT_EQ(told_.take(), "pause");
  EXPECT_TRUE(told_.empty());
  call->pause(false);
  EXPECT_THAT(peer.answer(id).messages, ElementsAre("pause", "a", "b"));
}

TEST_F(GrpcServer, ACallStopsWhenItsClientCancelsOrGoes) {
  serve_grpc();
  auto peer = std::make_unique<GrpcPeer>(address_);
  const std::int32_t cancelled = peer->open("/test.Echo/Stream");
  const auto first = calls_.take();
  peer->cancel(cancelled);
  EXPECT_EQ(told_.take(), "closed after 0");
  EXPECT_TRUE(first->context().stop.stop_requested());
  EXPECT_FALSE(first->send("nobody reads it"));

  const std::int32_t left = peer->open("/test.Echo/Never");
  peer->send(left, *grpc_frame("x"), true);
  const auto second = calls_.take();
  Later<bool> stopped;
  const std::stop_callback on_stop(second->context().stop, [stopped] { stopped.set(true); });
  peer.reset();
  EXPECT_TRUE(stopped.take());
  second->finish({});
}

TEST_F(GrpcServer, TheDeadlineIsTheClients) {
  testing::FakeClock clock;
  clock_ = &clock;
  serve_grpc();
  GrpcPeer peer(address_);
  const std::int32_t id = peer.open("/test.Echo/Never", {{"grpc-timeout", "1500m"}});
  peer.send(id, *grpc_frame("x"), true);
  const auto call = calls_.take();
  EXPECT_EQ(call->context().deadline, clock.now() + 1500ms);
  call->finish({GrpcCode::DeadlineExceeded, ""});
  EXPECT_EQ(peer.answer(id).status(), "4");
  server_.reset();  // Before its clock.
}

TEST_F(GrpcServer, ASlowReaderShowsInTheBacklogAndItsEndIsTold) {
  serve_grpc();
  GrpcPeer peer(address_);
  const std::int32_t id = peer.open("/test.Echo/Stream");
  const auto call = calls_.take();
  Later<bool> drained;
  call->on_drained([drained] { drained.set(true); });
  // More than the client's window lets through before it reads.
  EXPECT_TRUE(call->send(padded(200'000)));
  EXPECT_GT(call->backlog(), 0U);
  EXPECT_EQ(peer.next(id).size(), 200'000U);
  EXPECT_TRUE(drained.take());
  EXPECT_EQ(call->backlog(), 0U);
  call->finish({});
  EXPECT_EQ(peer.answer(id).status(), "0");
}

TEST_F(GrpcServer, ShutdownLetsCallsFinishAndBreaksTheRest) {
  serve_grpc();
  GrpcPeer peer(address_);
  const std::int32_t finishes = peer.open("/test.Echo/Never");
  peer.send(finishes, *grpc_frame("x"), true);
  const auto call = calls_.take();
  const std::int32_t stays = peer.open("/test.Echo/Stream");
  const auto stream = calls_.take();
  std::stop_source enough;
  auto done = std::async(std::launch::async, [&] { server_->shutdown({.stop = enough.get_token()}); });
  call->finish({GrpcCode::Unavailable, "shutting down"});
  EXPECT_EQ(peer.answer(finishes).status(), "14 shutting down");
  EXPECT_FALSE(stream->context().stop.stop_requested());
  enough.request_stop();
  done.get();
  EXPECT_TRUE(stream->context().stop.stop_requested());
  EXPECT_EQ(peer.answer(stays).status(), "none");
}

TEST_F(GrpcServer, WithoutItsCertificateAClientDoesNotGetThroughTheHandshake) {
  ServerOptions options;
  options.grpc = methods_;
  options.tls = server_tls();
  options.tls->require_client_certificate = true;
  serve(std::move(options));
  on("/", [](Exchange& exchange) { exchange.respond({.status = 200, .headers = {}, .body = "in"}); });
  const auto get_with = [&](std::unique_ptr<TlsIdentity> identity) {
    ClientOptions client;
    client.http2 = false;  // HTTP/2 is gRPC's here.
    client.tls = std::make_unique<ClientTls>(ClientTls{test_pki().ca.certificate_pem, "", std::move(identity)});
    auto made = make_http_client(context(), std::move(client));
    ClientRequest request;
    request.url = "https://" + address_ + "/";
    auto response = (*made)->request({}, request, 1000);
    return response ? response->body : "refused";
  };
  const crypto::KeyPair& jane = test_pki().client;
  EXPECT_EQ(get_with(std::make_unique<TlsIdentity>(TlsIdentity{jane.certificate_pem, jane.private_key_pem})), "in");
  EXPECT_EQ(get_with(nullptr), "refused");
}

TEST(GrpcTimeout, IsAtMostEightDigitsAndAUnit) {
  using Row = std::pair<const char*, std::optional<std::chrono::nanoseconds>>;
  for (const auto& [text, expected] :
       {Row{"1H", 1h}, Row{"2M", 2min}, Row{"3S", 3s}, Row{"4m", 4ms}, Row{"5u", 5us}, Row{"6n", 6ns},
        Row{"99999999n", 99'999'999ns}, Row{"0S", 0s}, Row{"100000000n", std::nullopt}, Row{"S", std::nullopt},
        Row{"", std::nullopt}, Row{"1", std::nullopt}, Row{"-1S", std::nullopt}, Row{"1x", std::nullopt},
        Row{"1 S", std::nullopt}}) {
    EXPECT_EQ(parse_grpc_timeout(text), expected) << text;
  }
  EXPECT_GT(*parse_grpc_timeout("99999999H"), 24h * 365);
}

}  // namespace
}  // namespace kubernel::net
