// SPDX-License-Identifier: Apache-2.0
#include <kubernel/net/tunnel.h>

#include "net/client_call.h"
#include "net/http_text.h"

namespace kubernel::net {
namespace {

// From this much on the faster side waits for the slower one.
constexpr std::size_t kHighWater = 256 * 1024;

bool belongs_to_upgrade(std::string_view name) {
  return name == "connection" || name == "upgrade" || name == "x-stream-protocol-version" ||
         name.starts_with("sec-websocket-");
}

// Bytes of `from` go to `to`. Each stream's callbacks hold the other one; both are dropped when a stream closes.
void pipe(const std::shared_ptr<ByteStream>& from, const std::shared_ptr<ByteStream>& to) {
  to->on_drained([weak = std::weak_ptr(from)] {
    if (const auto source = weak.lock()) source->pause(false);
  });
  from->on_closed([to] { to->close(); });
  from->on_data([weak = std::weak_ptr(from), to](std::string_view data) {
    if (data.empty()) return to->close();
    to->write(std::make_shared<const std::string>(data));
    const auto source = weak.lock();
    if (!source || to->backlog() < kHighWater) return;
    source->pause(true);
    // It may have drained before the pause, and then nobody else would end it.
    if (to->backlog() == 0) source->pause(false);
  });
}

// Copies a response that is no 101 to the client, as it comes.
class Relay final : public std::enable_shared_from_this<Relay> {
 public:
  Relay(std::unique_ptr<ClientStream> source, std::shared_ptr<ResponseStream> sink)
      : source_(std::move(source)), sink_(std::move(sink)) {}

  void start() {
    sink_->on_drained([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->source_->pause(false);
    });
    sink_->on_closed([self = shared_from_this()] { self->source_->on_data(nullptr); });
    source_->on_data(
        [self = shared_from_this()](std::string_view data, const Error* error) { self->data(data, error); });
  }

 private:
  void data(std::string_view bytes, const Error* error) {
    if (error != nullptr) return sink_->abort();
    if (bytes.empty()) return sink_->finish();
    if (!sink_->write(std::make_shared<const std::string>(bytes)) || sink_->backlog() < kHighWater) return;
    source_->pause(true);
    if (sink_->backlog() == 0) source_->pause(false);
  }

  const std::unique_ptr<ClientStream> source_;
  const std::shared_ptr<ResponseStream> sink_;
};

Headers end_to_end(const Headers& headers) {
  Headers kept;
  for (const auto& [name, value] : headers.fields()) {
    if (!is_connection_field(name)) kept.add(name, value);
  }
  return kept;
}

}  // namespace

Result<void> tunnel(Exchange& exchange, HttpClient& client, ClientRequest request) {
  const Request& incoming = exchange.request();
  if (!has_word(incoming.headers, "connection", "upgrade") || incoming.headers.get("upgrade").empty() ||
      incoming.http2) {
    return Error(Reason::BadRequest, "the request asks for no upgrade");
  }
  auto* upgrading = dynamic_cast<UpgradingClient*>(&client);
  if (upgrading == nullptr) return Error(Reason::Internal, "tunnel() needs a client made by make_http_client()");
  for (const auto& [name, value] : incoming.headers.fields()) {
    if (belongs_to_upgrade(name)) request.headers.add(name, value);
  }
  KUBERNEL_TRY(UpgradeOutcome outcome, upgrading->try_upgrade(exchange.context(), request));
  if (!outcome.stream) {
    auto sink = exchange.start_stream(outcome.response->status(), end_to_end(outcome.headers));
    std::make_shared<Relay>(std::move(outcome.response), std::move(sink))->start();
    return {};
  }
  const std::shared_ptr<ByteStream> backend = outcome.stream->make_handle();
  auto front = exchange.upgrade(outcome.headers);
  if (!front) return std::move(front).error();
  pipe(*front, backend);
  pipe(backend, *front);
  return {};
}

}  // namespace kubernel::net
