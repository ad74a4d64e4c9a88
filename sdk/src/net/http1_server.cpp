// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdio>

#include "net/http1_parser.h"
#include "net/http_text.h"
#include "net/server_stream.h"

namespace kubernel::net {
namespace {

// How much of a body may wait for its handler before the client is held back.
constexpr std::size_t kBodyWindow = 256 * 1024;
// How much of a body nobody wants is read to keep the connection.
constexpr std::size_t kMaxDiscarded = 256 * 1024;
// Pieces up to this size are joined with their chunk's frame.
constexpr std::size_t kJoinedChunk = 4 * 1024;

class Http1Server final : public Protocol, public StreamLink {
 public:
  Http1Server(std::shared_ptr<ServerCore> core, std::shared_ptr<Channel> channel, Peer peer)
      : core_(std::move(core)),
        channel_(std::move(channel)),
        peer_(std::move(peer)),
        head_(core_->limits.max_header_bytes) {}

  void on_open() override { wait_for_head(core_->limits.header_timeout); }
  void on_input(std::string_view bytes) override;
  void on_peer_closed() override;
  void on_peer_leaving() override;
  void on_drain() override;
  void on_sent() override {
    if (stream_) stream_->set_in_transit(channel_->unsent());
  }
  void on_timeout() override;
  void on_closed(const Error* why) override;

  void pump(ServerStream& stream) override;
  void body_taken(ServerStream& stream, std::size_t size) override;
  void upgrade(ServerStream& stream, Headers headers, std::shared_ptr<RawStream> raw) override;

 private:
  enum class Phase : std::uint8_t { Head, Body, Discard, Answer, Over };

  void consume(std::string_view bytes);
  void consume_head(std::string_view& bytes);
  bool consume_body(std::string_view& bytes);
  void begin_request(RequestHead head);
  void hold(std::string_view rest);
  void resume();
  void maybe_dispatch();
  void refuse(int status, const std::string& text);
  void wait_for_head(std::chrono::milliseconds time);
  void wait_for_body();

  void send_head(ResponseStart start);
  void send_piece(const Bytes& piece);
  void end_response();
  void next_request();
  void break_off();
  void give_up();

  const std::shared_ptr<ServerCore> core_;
  const std::shared_ptr<Channel> channel_;
  const Peer peer_;
  HeadReader head_;
  BodyReader body_;
  std::string kept_;  // Input that cannot be used yet.
  std::shared_ptr<ServerStream> stream_;
  Phase phase_ = Phase::Head;
  std::size_t discarded_ = 0;
  std::uint64_t length_left_ = 0;
  bool http10_ = false;
  bool keep_alive_ = true;
  bool continue_owed_ = false;
  bool no_body_ = false;  // HEAD, 204, 304.
  bool chunked_ = false;
  bool counted_ = false;  // A content-length was announced.
  bool head_sent_ = false;
  bool peer_gone_ = false;
  bool first_ = true;
};

void Http1Server::wait_for_head(std::chrono::milliseconds time) {
  channel_->set_deadline(channel_->clock().now() + time);
}

void Http1Server::wait_for_body() {
  channel_->set_deadline(channel_->clock().now() + core_->limits.body_idle_timeout);
}

void Http1Server::on_input(std::string_view bytes) {
  if (kept_.empty()) return consume(bytes);
  kept_.append(bytes);
  if (phase_ != Phase::Answer) consume(std::exchange(kept_, {}));
}

void Http1Server::consume(std::string_view bytes) {
  while (!bytes.empty()) {
    switch (phase_) {
      case Phase::Head: consume_head(bytes); break;
      case Phase::Body:
      case Phase::Discard:
        if (!consume_body(bytes)) return hold(bytes);
        break;
      case Phase::Answer: return hold(bytes);
      case Phase::Over: return;
    }
  }
}

// One request is served at a time: what a pipelining client sent ahead waits, and the client with it.
void Http1Server::hold(std::string_view rest) {
  kept_.assign(rest);
  channel_->pause_reading(true);
}

void Http1Server::resume() {
  channel_->pause_reading(false);
  if (!kept_.empty()) consume(std::exchange(kept_, {}));
}

void Http1Server::consume_head(std::string_view& bytes) {
  const bool begun = head_.started();
  const HeadReader::State state = head_.take(bytes);
  if (state == HeadReader::State::More) {
    // From the first byte of a head its clock runs; on a new connection it has run since the beginning.
    if (!begun && head_.started() && !first_) wait_for_head(core_->limits.header_timeout);
    return;
  }
  if (state == HeadReader::State::TooLarge) return refuse(431, "request header fields too large\n");
  RequestHead head;
  const std::string text = head_.release();
  if (const auto failure = parse_request_head(text, head)) return refuse(failure->status, failure->message + "\n");
  begin_request(std::move(head));
}

void Http1Server::begin_request(RequestHead head) {
  first_ = false;
  http10_ = head.http10;
  keep_alive_ = head.keep_alive;
  continue_owed_ = head.expects_continue;
  no_body_ = head.request.method == "HEAD";
  head_sent_ = chunked_ = counted_ = false;
  head.request.peer_address = peer_.address;
  head.request.peer_certificate = peer_.certificate;
  stream_ = std::make_shared<ServerStream>(channel_, this, std::move(head.request), core_->limits.body_idle_timeout);
  body_.begin(head.body);
  if (body_.ended()) {
    phase_ = Phase::Answer;
    stream_->body_end();
    channel_->set_deadline(std::nullopt);
  } else {
    phase_ = Phase::Body;
    wait_for_body();
  }
  maybe_dispatch();
}

// False: the handler has to take something first.
bool Http1Server::consume_body(std::string_view& bytes) {
  std::string_view data;
  if (phase_ == Phase::Body && stream_->buffered_body() >= kBodyWindow) return false;
  switch (body_.take(bytes, data)) {
    case BodyReader::State::More: return true;
    case BodyReader::State::Data:
      if (phase_ == Phase::Discard) {
        discarded_ += data.size();
        if (discarded_ > kMaxDiscarded) {
          phase_ = Phase::Over;
          channel_->close_while_peer_sends();
          return true;
        }
      } else {
        stream_->body_data(data);
      }
      if (phase_ == Phase::Discard || !stream_->dispatched) wait_for_body();
      if (body_.ended()) break;
      maybe_dispatch();
      return true;
    case BodyReader::State::Malformed:
      if (stream_ && stream_->dispatched) {
        stream_->body_failed(Error(Reason::BadRequest, "malformed chunked body"));
        keep_alive_ = false;
        phase_ = Phase::Answer;
      } else {
        refuse(400, "malformed chunked body\n");
      }
      return true;
    case BodyReader::State::End: break;
  }
  const bool discarding = phase_ == Phase::Discard;
  phase_ = Phase::Answer;
  channel_->set_deadline(std::nullopt);
  if (discarding) {
    next_request();
  } else {
    stream_->body_end();
    maybe_dispatch();
  }
  return true;
}

void Http1Server::maybe_dispatch() {
  if (stream_->dispatched) return;
  if (!stream_->body_complete() && stream_->buffered_body() < kDispatchBytes && !continue_owed_) return;
  channel_->set_deadline(std::nullopt);  // From here on read_body() watches the client's pace.
  core_->dispatch(stream_);
}

// Answers a request that never reaches a handler, and closes: where the next one would begin is not known.
void Http1Server::refuse(int status, const std::string& text) {
  phase_ = Phase::Over;
  if (stream_) {
    stream_->detach();
    stream_->mark_closed();
    stream_.reset();
  }
  std::string answer = "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason_phrase(status)) +
                       "\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: " +
                       std::to_string(text.size()) + "\r\n\r\n" + text;
  channel_->send(std::move(answer));
  channel_->close_while_peer_sends();
}

void Http1Server::on_timeout() {
  if (phase_ == Phase::Discard || phase_ == Phase::Over) return channel_->abort(Error(Reason::Timeout, "slow client"));
  if (phase_ == Phase::Head && !head_.started()) return channel_->close_after_sending();
  refuse(408, "the request did not arrive in time\n");
}

// As Go's server: a client that stopped sending has stopped waiting. The handler is told; an answer of known length is
// still sent, for clients that only close their half.
void Http1Server::on_peer_leaving() {
  peer_gone_ = true;
  keep_alive_ = false;
  if (!stream_) return;
  stream_->stop();
  if (phase_ != Phase::Answer || (head_sent_ && !counted_)) give_up();
}

void Http1Server::on_peer_closed() {
  on_peer_leaving();
  if (!stream_) give_up();
}

void Http1Server::give_up() {
  phase_ = Phase::Over;
  if (stream_) {
    stream_->detach();
    std::exchange(stream_, nullptr)->mark_closed();
  }
  channel_->close_after_sending();
}

void Http1Server::on_drain() {
  keep_alive_ = false;
  if (phase_ == Phase::Head && !head_.started()) {
    phase_ = Phase::Over;
    channel_->close_after_sending();
  }
}

void Http1Server::on_closed(const Error*) {
  if (!stream_) return;
  stream_->detach();
  stream_->stop();
  std::exchange(stream_, nullptr)->mark_closed();
}

void Http1Server::body_taken(ServerStream& stream, std::size_t) {
  if (&stream != stream_.get() || phase_ != Phase::Body) return;
  if (continue_owed_ && !head_sent_) {
    continue_owed_ = false;
    channel_->send(std::string("HTTP/1.1 100 Continue\r\n\r\n"));
  }
  resume();
}

void Http1Server::pump(ServerStream& stream) {
  if (&stream != stream_.get()) return;
  if (auto start = stream.take_start()) {
    send_head(*std::move(start));
    if (peer_gone_ && !counted_) return give_up();
  }
  StreamCore::Output output = stream.take_output();
  if (output.aborted) return channel_->abort(std::nullopt);
  for (const Bytes& piece : output.pieces) send_piece(piece);
  if (!stream_) return;
  stream.set_in_transit(channel_->unsent());
  if (output.finished) end_response();
}

void Http1Server::send_head(ResponseStart start) {
  head_sent_ = true;
  std::string text = "HTTP/1.1 " + std::to_string(start.status) + " ";
  text += reason_phrase(start.status);
  text += "\r\n";
  const auto length = parse_decimal(start.headers.get("content-length"));
  const bool bodiless = start.status == 204 || start.status == 304 || start.status < 200;
  no_body_ = no_body_ || bodiless;
  counted_ = length.has_value();
  length_left_ = length.value_or(0);
  chunked_ = !counted_ && !bodiless && !http10_;
  if (!counted_ && http10_ && !no_body_) keep_alive_ = false;
  if (continue_owed_ || core_->draining || has_word(start.headers, "connection", "close")) keep_alive_ = false;
  for (const char* name : {"connection", "keep-alive", "transfer-encoding", "upgrade"}) start.headers.remove(name);
  if (bodiless) start.headers.remove("content-length");
  if (start.headers.get("date").empty()) start.headers.add("date", http_date(channel_->clock().wall_now()));
  append_fields(text, start.headers);
  if (chunked_) text += "transfer-encoding: chunked\r\n";
  if (!keep_alive_) text += "connection: close\r\n";
  if (keep_alive_ && http10_) text += "connection: keep-alive\r\n";
  text += "\r\n";
  channel_->send(std::move(text));
}

void Http1Server::send_piece(const Bytes& piece) {
  if (no_body_) return;
  if (counted_) {
    if (piece->size() > length_left_) return break_off();
    length_left_ -= piece->size();
  }
  if (!chunked_) return channel_->send(piece);
  std::array<char, 24> size{};
  const int digits = std::snprintf(size.data(), size.size(), "%zx\r\n", piece->size());
  std::string frame(size.data(), static_cast<std::size_t>(digits));
  if (piece->size() <= kJoinedChunk) {
    channel_->send(frame + *piece + "\r\n");
    return;
  }
  channel_->send(std::move(frame));
  channel_->send(piece);
  channel_->send(std::string("\r\n"));
}

// The body does not match the announced length: only a broken connection tells the client.
void Http1Server::break_off() {
  log_error(core_->context.log, "the handler's body does not match its content-length",
            {{"path", stream_->request().path}});
  channel_->abort(std::nullopt);
}

void Http1Server::end_response() {
  if (counted_ && !no_body_ && length_left_ != 0) return break_off();
  if (chunked_ && !no_body_) channel_->send(std::string("0\r\n\r\n"));
  stream_->detach();
  std::exchange(stream_, nullptr)->mark_closed();
  if (!keep_alive_ || core_->draining) {
    const bool unread = phase_ == Phase::Body || !kept_.empty();
    phase_ = Phase::Over;
    if (unread) {
      channel_->close_while_peer_sends();
    } else {
      channel_->close_after_sending();
    }
  } else if (phase_ == Phase::Body) {
    phase_ = Phase::Discard;
    discarded_ = 0;
    wait_for_body();
    resume();
  } else {
    next_request();
  }
}

void Http1Server::next_request() {
  phase_ = Phase::Head;
  wait_for_head(core_->limits.idle_timeout);
  resume();
}

void Http1Server::upgrade(ServerStream& stream, Headers headers, std::shared_ptr<RawStream> raw) {
  if (&stream != stream_.get()) return raw->mark_closed();
  std::string text = "HTTP/1.1 101 Switching Protocols\r\n";
  if (headers.get("connection").empty()) headers.add("connection", "Upgrade");
  append_fields(text, headers);
  text += "\r\n";
  channel_->send(std::move(text));
  phase_ = Phase::Over;
  stream_->detach();
  std::exchange(stream_, nullptr)->mark_closed();
  channel_->replace_protocol(raw->make_protocol(), std::exchange(kept_, {}));
}

}  // namespace

std::unique_ptr<Protocol> make_http1_server(std::shared_ptr<ServerCore> core, std::shared_ptr<Channel> channel,
                                            Peer peer) {
  return std::make_unique<Http1Server>(std::move(core), std::move(channel), std::move(peer));
}

}  // namespace kubernel::net
