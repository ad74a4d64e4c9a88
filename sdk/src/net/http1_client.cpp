// SPDX-License-Identifier: Apache-2.0
#include "net/client_call.h"
#include "net/http1_parser.h"
#include "net/http_text.h"

namespace kubernel::net {
namespace {

// How much of a body may wait for its reader before the server is held back.
constexpr std::size_t kBodyWindow = 64 * 1024;

class Http1Client final : public ClientProtocol, public ClientLink {
 public:
  Http1Client(std::shared_ptr<ClientConnection> connection, const ClientOptions& options)
      : connection_(std::move(connection)),
        channel_(connection_->channel),
        head_(options.max_header_bytes),
        idle_timeout_(options.idle_timeout) {}

  void submit(std::shared_ptr<ClientCall> call) override;
  void on_input(std::string_view bytes) override;
  void on_peer_closed() override;
  void on_timeout() override { close(); }
  void on_closed(const Error* why) override;
  void taken(ClientCall& call, std::size_t size) override;
  void cancel(ClientCall& call) override;

 private:
  enum class Phase : std::uint8_t { Idle, Head, Body };

  void send_request(const OutgoingRequest& request);
  void consume(std::string_view bytes);
  void consume_head(std::string_view& bytes);
  bool consume_body(std::string_view& bytes);
  void begin_response(const std::string& text, std::string_view rest);
  void end_response(bool clean);
  void malformed(const std::string& what);
  void close();
  void retire();

  const std::shared_ptr<ClientConnection> connection_;
  const std::shared_ptr<Channel> channel_;
  HeadReader head_;
  BodyReader body_;
  const std::chrono::milliseconds idle_timeout_;
  std::shared_ptr<ClientCall> call_;
  std::string kept_;
  Phase phase_ = Phase::Idle;
  bool keep_alive_ = true;
  bool answered_ = false;  // Something of the response has arrived.
  bool retired_ = false;
};

void Http1Client::submit(std::shared_ptr<ClientCall> call) {
  if (call->cancelled()) {
    if (const auto pool = connection_->pool.lock()) pool->release(*connection_);
    return;
  }
  call_ = std::move(call);
  call_->attach(this, channel_);
  phase_ = Phase::Head;
  answered_ = false;
  channel_->set_deadline(std::nullopt);
  send_request(call_->request);
}

void Http1Client::send_request(const OutgoingRequest& request) {
  std::string text = request.method + " " + request.target.path + " HTTP/1.1\r\n";
  if (request.headers.get("host").empty()) text += "host: " + request.target.authority + "\r\n";
  append_fields(text, request.headers);
  const bool usually_has_body = request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  if (request.headers.get("content-length").empty() && (!request.body.empty() || usually_has_body)) {
    text += "content-length: " + std::to_string(request.body.size()) + "\r\n";
  }
  text += "\r\n";
  channel_->send(std::move(text));
  // The call keeps the body alive as long as the channel may need it.
  channel_->send(Bytes(call_, &call_->request.body));
}

void Http1Client::on_input(std::string_view bytes) {
  if (kept_.empty()) return consume(bytes);
  kept_.append(bytes);
}

void Http1Client::consume(std::string_view bytes) {
  while (!bytes.empty()) {
    switch (phase_) {
      case Phase::Idle: return close();  // Nobody asked: what it answers is unknown.
      case Phase::Head: consume_head(bytes); break;
      case Phase::Body:
        if (!consume_body(bytes)) {
          kept_.assign(bytes);
          channel_->pause_reading(true);
          return;
        }
        break;
    }
    if (retired_) return;
  }
}

void Http1Client::consume_head(std::string_view& bytes) {
  answered_ = true;
  const HeadReader::State state = head_.take(bytes);
  if (state == HeadReader::State::More) return;
  if (state == HeadReader::State::TooLarge) return malformed("the response's header is too large");
  begin_response(head_.release(), bytes);
}

void Http1Client::begin_response(const std::string& text, std::string_view rest) {
  ResponseHead head;
  if (!parse_response_head(text, call_->request.method, head)) return malformed("the response is not HTTP");
  if (head.status == 101) {
    if (!call_->request.upgrade) return malformed("the server switched protocols without being asked");
    const auto call = std::exchange(call_, nullptr);
    const auto raw = std::make_shared<RawStream>(channel_);
    retire();
    channel_->replace_protocol(raw->make_protocol(), std::string(rest));
    call->upgraded(std::move(head.headers), raw);
    return;
  }
  if (head.status < 200) return;  // 100 Continue, 103 Early Hints: the real one follows.
  keep_alive_ = head.keep_alive;
  phase_ = Phase::Body;
  body_.begin(head.body);
  call_->head(head.status, std::move(head.headers));
  if (body_.ended()) end_response(rest.empty());
}

// False: the reader has to take something first.
bool Http1Client::consume_body(std::string_view& bytes) {
  if (call_->kept() >= kBodyWindow) return false;
  std::string_view data;
  switch (body_.take(bytes, data)) {
    case BodyReader::State::More: return true;
    case BodyReader::State::Malformed: malformed("the response's chunks are malformed"); return true;
    case BodyReader::State::Data:
      call_->data(data);
      if (!body_.ended()) return true;
      break;
    case BodyReader::State::End: break;
  }
  end_response(bytes.empty());
  return true;
}

void Http1Client::end_response(bool clean) {
  const auto call = std::exchange(call_, nullptr);
  phase_ = Phase::Idle;
  // An answer before the whole request was sent, or bytes behind it: the next response could not be told apart.
  if (keep_alive_ && clean && channel_->unsent() == 0 && !call->request.upgrade && !connection_->closed) {
    channel_->set_deadline(channel_->clock().now() + idle_timeout_);
    if (const auto pool = connection_->pool.lock()) pool->release(*connection_);
  } else {
    close();
  }
  call->finish();
}

void Http1Client::malformed(const std::string& what) {
  const auto call = std::exchange(call_, nullptr);
  close();
  if (call) call->fail(Error(Reason::BadRequest, what), Retry::Never);
}

void Http1Client::retire() {
  retired_ = true;
  connection_->closed = true;
  connection_->protocol = nullptr;
  if (const auto pool = connection_->pool.lock()) pool->forget(*connection_);
}

void Http1Client::close() {
  if (retired_) return;
  retire();
  channel_->close_after_sending();
}

void Http1Client::on_peer_closed() {
  if (call_ && phase_ == Phase::Body && body_.end_of_input()) return end_response(true);
  const Error lost(Reason::ServiceUnavailable, "the server closed the connection");
  on_closed(&lost);
  if (!channel_->closed()) channel_->close_after_sending();
}

void Http1Client::on_closed(const Error* why) {
  if (!retired_) retire();
  const auto call = std::exchange(call_, nullptr);
  if (!call) return;
  const Error lost = why != nullptr ? *why : Error(Reason::ServiceUnavailable, "the connection was closed");
  // A server may close an idle connection just when it is used again.
  const Retry retry = connection_->reused && !answered_ ? Retry::IfIdempotent : Retry::Never;
  call->fail(Error(lost).wrap(call->request.target.authority), retry);
}

void Http1Client::taken(ClientCall& call, std::size_t) {
  if (&call != call_.get() || call.kept() > 0 || kept_.empty()) return;
  channel_->pause_reading(false);
  consume(std::exchange(kept_, {}));
}

void Http1Client::cancel(ClientCall& call) {
  if (&call != call_.get()) return;
  call_->detach();
  call_ = nullptr;
  retire();
  channel_->abort(std::nullopt);
}

}  // namespace

std::unique_ptr<ClientProtocol> make_http1_client(std::shared_ptr<ClientConnection> connection,
                                                  const ClientOptions& options) {
  return std::make_unique<Http1Client>(std::move(connection), options);
}

}  // namespace kubernel::net
