// SPDX-License-Identifier: Apache-2.0
#include <kubernel/net/spdy.h>

#include "net/spdy_headers.h"
#include "net_fixture.h"

namespace kubernel::net {
namespace {

std::string big_endian(std::uint32_t value, int width) {
  std::string out;
  for (int shift = 8 * (width - 1); shift >= 0; shift -= 8)
    out += static_cast<char>(value >> static_cast<unsigned>(shift) & 0xffU);
  return out;
}

std::string control(std::uint16_t type, const std::string& payload, std::uint8_t flags = 0) {
  return big_endian(0x8003, 2) + big_endian(type, 2) + big_endian(flags, 1) +
         big_endian(static_cast<std::uint32_t>(payload.size()), 3) + payload;
}

std::string data_frame(std::uint32_t id, const std::string& payload, bool end = false) {
  return big_endian(id, 4) + big_endian(end ? 1 : 0, 1) + big_endian(static_cast<std::uint32_t>(payload.size()), 3) +
         payload;
}

// Compressed blocks depend on their order, and the operands of + have none.
std::string joined(std::initializer_list<std::string> parts) {
  std::string out;
  for (const std::string& part : parts) out += part;
  return out;
}

Headers stream_type(const std::string& type) {
  Headers headers;
  headers.add("streamtype", type);
  return headers;
}

TEST(SpdyDictionary, IsTheStandardsOne) {
  const std::string& dictionary = spdy_dictionary();
  EXPECT_EQ(dictionary.size(), 1423U);
  EXPECT_EQ(adler32(adler32(0, nullptr, 0), reinterpret_cast<const Bytef*>(dictionary.data()),
                    static_cast<uInt>(dictionary.size())),
            0xe3c6a7c2U);
}

TEST(SpdyHeaders, ReadWhatTheyWroteBlockAfterBlock) {
  SpdyDeflater deflater;
  SpdyInflater inflater;
  for (int i = 0; i < 50; ++i) {
    Headers headers = stream_type("stdin");
    headers.add("requestid", std::to_string(i));
    if (i == 7) headers.add("long", padded(20'000));
    const auto read = inflater.decompress(deflater.compress(headers), 64 * 1024);
    ASSERT_TRUE(read) << i;
    EXPECT_EQ(read->fields(), headers.fields());
  }
}

TEST(SpdyHeaders, ABombIsRefused) {
  SpdyDeflater deflater;
  SpdyInflater inflater;
  Headers headers;
  headers.add("x", padded(50'000'000, '\1'));
  EXPECT_FALSE(inflater.decompress(deflater.compress(headers), 64 * 1024));
}

TEST(SpdyHeaders, NoiseIsRefused) {
  for (const std::string& noise :
       {std::string("hello"), std::string("\x78\xbb\xe3\xc6\xa7\xc2\xff\xff"), padded(1000, '\xff')}) {
    SpdyInflater inflater;
    EXPECT_FALSE(inflater.decompress(noise, 64 * 1024));
  }
}

class Spdy : public NetTest {
 protected:
  Spdy() {
    on("/exec", [this](Exchange& exchange) {
      Headers headers;
      headers.add("upgrade", "SPDY/3.1");
      headers.add("x-stream-protocol-version", "v4.channel.k8s.io");
      auto stream = exchange.upgrade(std::move(headers));
      ASSERT_TRUE(stream) << stream.error().message();
      connections_.set(make_spdy_server(*stream, limits_));
    });
  }
  ~Spdy() override { server_.reset(); }

  RawPeer connect() {
    serve();
    RawPeer peer = dial();
    peer.send(
        get("/exec", "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"));
    EXPECT_NE(peer.until("\r\n\r\n").find("101"), std::string::npos);
    return peer;
  }
  std::string syn_stream(std::uint32_t id, const std::string& type, bool end = false) {
    return control(1, big_endian(id, 4) + big_endian(0, 4) + big_endian(0, 2) + deflater_.compress(stream_type(type)),
                   end ? 1 : 0);
  }
  // The next frame as "type id…" or "data id text".
  static std::string frame(RawPeer& peer) {
    const std::string head = peer.exactly(8);
    if (head.size() < 8) return "<end>";
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(head[at]); };
    const std::size_t size =
        static_cast<std::size_t>(byte(5)) << 16U | static_cast<std::size_t>(byte(6)) << 8U | byte(7);
    const std::string payload = peer.exactly(size);
    if ((byte(0) & 0x80U) == 0) return "data " + std::to_string(byte(3)) + (byte(4) == 1 ? " end " : " ") + payload;
    const std::string first = payload.size() >= 4 ? std::to_string(static_cast<unsigned char>(payload[3])) : "";
    const std::string second = payload.size() == 8 ? " " + std::to_string(static_cast<unsigned char>(payload[7])) : "";
    return "type " + std::to_string(byte(3)) + " " + first + second;
  }

  SpdyLimits limits_;
  SpdyDeflater deflater_;
  Later<std::shared_ptr<SpdyConnection>> connections_;
};

TEST_F(Spdy, CarriesStreamsAsAnExecDoes) {
  RawPeer peer = connect();
  const auto connection = connections_.take();
  const Later<std::shared_ptr<SpdyStream>> streams;
  connection->on_stream([=](std::shared_ptr<SpdyStream> stream) { streams.set(std::move(stream)); });
  peer.send(joined({syn_stream(1, "error"), syn_stream(3, "stdin"), syn_stream(5, "stdout")}));
  for (const char* id : {"1", "3", "5"}) EXPECT_EQ(frame(peer), std::string("type 2 ") + id);
  const auto error = streams.take();
  const auto in = streams.take();
  const auto out = streams.take();
  EXPECT_EQ(error->headers().get("streamtype"), "error");
  EXPECT_EQ(in->headers().get("StreamType"), "stdin");
  const Later<std::string> got;
  in->on_data([=](std::string_view data) { got.set(std::string(data)); });
  peer.send(data_frame(3, "ls\n") + data_frame(3, "", true));
  EXPECT_EQ(got.take(), "ls\n");
  EXPECT_EQ(got.take(), "");
  EXPECT_TRUE(out->write("file\n"));
  EXPECT_EQ(frame(peer), "data 5 file\n");
  out->close_half();
  EXPECT_EQ(frame(peer), "data 5 end ");
  EXPECT_FALSE(out->write("more"));
  const Later<int> closed;
  out->on_closed([=] { closed.set(5); });
  peer.send(data_frame(5, "", true));
  EXPECT_EQ(closed.take(), 5);
  error->write(R"({"status":"Success"})");
  EXPECT_EQ(frame(peer), R"(data 1 {"status":"Success"})");
  connection->close();
  EXPECT_EQ(frame(peer), "type 7 0 0");
  EXPECT_EQ(frame(peer), "<end>");
}

TEST_F(Spdy, KeepsStreamsAndDataThatCameBeforeAnybodyAsked) {
  RawPeer peer = connect();
  const auto connection = connections_.take();
  peer.send(joined(
      {syn_stream(1, "stdin"), data_frame(1, "early"), data_frame(1, " words", true), control(6, big_endian(9, 4))}));
  EXPECT_EQ(frame(peer), "type 2 1");
  EXPECT_EQ(frame(peer), "type 6 9");  // All before the ping has been read.
  std::shared_ptr<SpdyStream> stream;
  connection->on_stream([&](std::shared_ptr<SpdyStream> one) { stream = std::move(one); });
  ASSERT_TRUE(stream);
  std::vector<std::string> got;
  stream->on_data([&](std::string_view data) { got.emplace_back(data); });
  EXPECT_EQ(got, (std::vector<std::string>{"early words", ""}));
}

TEST_F(Spdy, EveryByteMayComeAlone) {
  RawPeer peer = connect();
  const auto connection = connections_.take();
  const Later<std::string> got;
  connection->on_stream([=](std::shared_ptr<SpdyStream> stream) {
    stream->on_data([=](std::string_view data) { got.set(data.empty() ? "end" : std::string(data)); });
  });
  for (const char c : joined({syn_stream(1, "stdin"), data_frame(1, "ab", true)})) peer.send(std::string(1, c));
  std::string all;
  while (!all.ends_with("end")) all += got.take();
  EXPECT_EQ(all, "abend");
}

TEST_F(Spdy, AResetEndsAStreamOnEitherSide) {
  RawPeer peer = connect();
  const auto connection = connections_.take();
  const Later<std::shared_ptr<SpdyStream>> streams;
  connection->on_stream([=](std::shared_ptr<SpdyStream> stream) { streams.set(std::move(stream)); });
  peer.send(joined({syn_stream(1, "stdin"), syn_stream(3, "stdout")}));
  frame(peer);
  frame(peer);
  const auto first = streams.take();
  const auto second = streams.take();
  const Later<int> closed;
  first->on_closed([=] { closed.set(1); });
  second->on_closed([=] { closed.set(3); });
  peer.send(control(3, big_endian(1, 4) + big_endian(5, 4)));
  EXPECT_EQ(closed.take(), 1);
  EXPECT_FALSE(first->write("x"));
  second->reset();
  EXPECT_EQ(closed.take(), 3);
  EXPECT_EQ(frame(peer), "type 3 3 5");
  peer.send(data_frame(3, "late") + control(6, big_endian(1, 4)));
  EXPECT_EQ(frame(peer), "type 6 1");
}

TEST_F(Spdy, TellsItsStreamsThatTheClientIsGone) {
  RawPeer peer = connect();
  const auto connection = connections_.take();
  const Later<std::string> told;
  connection->on_stream([=](std::shared_ptr<SpdyStream> stream) {
    stream->on_data([=](std::string_view data) { told.set(data.empty() ? "end" : "data"); });
    stream->on_closed([=] { told.set("closed"); });
  });
  connection->on_closed([=] { told.set("connection"); });
  peer.send(syn_stream(1, "stdin"));
  frame(peer);
  peer.close();
  EXPECT_EQ(told.take(), "end");
  EXPECT_EQ(told.take(), "closed");
  EXPECT_EQ(told.take(), "connection");
}

TEST_F(Spdy, MayBeCarriedByAWebSocket) {
  on("/ws", [this](Exchange& exchange) {
    auto socket = exchange.accept_websocket({"SPDY/3.1+portforward.k8s.io"});
    ASSERT_TRUE(socket) << socket.error().message();
    connections_.set(make_spdy_server(make_byte_stream(*socket)));
  });
  serve();
  const auto client = *make_http_client(context(), {});
  ClientRequest request;
  request.url = "http://" + address_ + "/ws";
  auto socket = client->websocket({}, request, {"SPDY/3.1+portforward.k8s.io"});
  ASSERT_TRUE(socket) << socket.error().message();
  const auto peer = make_byte_stream(*socket);
  const Later<std::string> got;
  peer->on_data([=](std::string_view data) { got.set(data.empty() ? "end" : std::string(data)); });
  const auto connection = connections_.take();
  connection->on_stream([](const std::shared_ptr<SpdyStream>& stream) {
    stream->on_data([raw = stream.get()](std::string_view data) { raw->write(data); });
  });
  peer->write(bytes(joined({syn_stream(1, "data"), data_frame(1, "through")})));
  std::string all;
  while (!all.ends_with("through")) all += got.take();
  connection->close();
  while (got.take() != "end") {
  }
}

TEST_F(Spdy, RefusesStreamsAboveTheLimit) {
  limits_.max_streams = 2;
  RawPeer peer = connect();
  const auto connection = connections_.take();
  peer.send(joined({syn_stream(1, "a"), syn_stream(3, "b"), syn_stream(5, "c")}));
  EXPECT_EQ(frame(peer), "type 2 1");
  EXPECT_EQ(frame(peer), "type 2 3");
  EXPECT_EQ(frame(peer), "type 3 5 3");
}

TEST_F(Spdy, DisconnectsAClientThatBreaksTheProtocol) {
  const std::vector<std::string> bad = {
      control(1, "short"),  // No whole SYN_STREAM.
      control(1, big_endian(1, 4) + big_endian(0, 4) + big_endian(0, 2) + "no zlib"),
      syn_stream(2, "even"),
      data_frame(9, "to nobody"),
      std::string("GET / HTTP/1.1\r\n\r\n").replace(0, 1, "\x80"),  // Another version.
      control(3, "x"),
      control(6, "x"),
      control(1, padded(200 * 1024)),
  };
  for (const std::string& text : bad) {
    RawPeer peer = connect();
    const auto connection = connections_.take();
    peer.send(text);
    EXPECT_TRUE(frame(peer).starts_with("type 7 0 1"));
    peer.shut_write();
    EXPECT_EQ(peer.until_end(), "");
    server_.reset();
  }
}

TEST_F(Spdy, HoldsAClientBackWhoseDataNobodyTakes) {
  RawPeer peer = connect();
  const auto connection = connections_.take();
  const Later<std::shared_ptr<SpdyStream>> streams;
  connection->on_stream([=](std::shared_ptr<SpdyStream> stream) { streams.set(std::move(stream)); });
  peer.send(syn_stream(1, "stdin"));
  frame(peer);
  const auto stream = streams.take();
  auto sender = std::async(std::launch::async, [&] {
    const std::string piece = data_frame(1, padded(1'000'000));
    for (int i = 0; i < 30; ++i) peer.send(piece);
    peer.send(data_frame(1, "", true));
  });
  EXPECT_EQ(sender.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  const auto total = std::make_shared<std::size_t>(0);
  const Later<std::size_t> done;
  stream->on_data([=](std::string_view data) {
    *total += data.size();
    if (data.empty()) done.set(*total);
  });
  EXPECT_EQ(done.take(), 30'000'000U);
  sender.get();
}

TEST_F(Spdy, StreamsMayOutliveTheirConnection) {
  RawPeer peer = connect();
  auto connection = connections_.take();
  const Later<std::shared_ptr<SpdyStream>> streams;
  connection->on_stream([=](std::shared_ptr<SpdyStream> stream) { streams.set(std::move(stream)); });
  peer.send(syn_stream(1, "stdin"));
  frame(peer);
  const auto stream = streams.take();
  const Later<int> closed;
  stream->on_closed([=] { closed.set(1); });
  connection.reset();
  peer.close();
  EXPECT_EQ(closed.take(), 1);
  EXPECT_FALSE(stream->write("x"));
}

}  // namespace
}  // namespace kubernel::net
