// SPDX-License-Identifier: Apache-2.0
//
// SPDY/3.1 frames on a stream without a connection below.

#include <memory>
#include <vector>

#include <kubernel/net/spdy.h>

#include "target.h"

namespace net = kubernel::net;

namespace {

// What came is handed over at once; what is written is dropped.
struct Wire {
  std::function<void(std::string_view)> data;
  std::function<void()> closed;
  bool open = true;
};

class FakeStream final : public net::ByteStream {
 public:
  explicit FakeStream(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
  bool write(net::Bytes) override { return wire_->open; }
  std::size_t backlog() const override { return 0; }
  void on_drained(std::function<void()>) override {}
  void on_data(std::function<void(std::string_view)> data) override { wire_->data = std::move(data); }
  void pause(bool) override {}
  void on_closed(std::function<void()> closed) override { wire_->closed = std::move(closed); }
  void close() override { wire_->open = false; }

 private:
  const std::shared_ptr<Wire> wire_;
};

}  // namespace

KUBERNEL_FUZZ(input) {
  // A NUL-free first line would say nothing to SPDY: the pieces are cut where the input's first byte says.
  if (input.empty()) return;
  const std::size_t step = 1 + static_cast<unsigned char>(input.front());
  input.remove_prefix(1);
  auto wire = std::make_shared<Wire>();
  auto connection = net::make_spdy_server(std::make_shared<FakeStream>(wire),
                                          {.max_streams = 4, .max_header_bytes = 1024, .max_kept_bytes = 256});
  std::vector<std::shared_ptr<net::SpdyStream>> streams;
  connection->on_stream([&](std::shared_ptr<net::SpdyStream> stream) {
    static_cast<void>(stream->headers().get("streamtype"));
    // Every other one is read; what the rest get is kept.
    if (streams.size() % 2 == 0) stream->on_data([raw = stream.get()](std::string_view data) { raw->write(data); });
    streams.push_back(std::move(stream));
  });
  while (!input.empty() && wire->open && wire->data) {
    const std::string piece(input.substr(0, step));
    input.remove_prefix(piece.size());
    wire->data(piece);
  }
  if (wire->data && wire->open) wire->data({});
  if (const auto closed = std::exchange(wire->closed, nullptr)) closed();
}
