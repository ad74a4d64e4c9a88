// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <unordered_map>

#include "net/http2_session.h"
#include "net/http_text.h"
#include "net/server_stream.h"

namespace kubernel::net {
namespace {

// A request's parts until its head is complete, and its stream from then on.
struct Incoming {
  Request request;
  std::string authority;
  std::size_t header_bytes = 0;
  int refusal = 0;  // A status to answer instead of asking a handler.
  std::shared_ptr<ServerStream> stream;
  Clock::TimePoint last_data{};
  std::size_t unconsumed = 0;  // Received, and not yet given back to the connection's window.
  bool response_begun = false;
  bool ended = false;  // The client has sent everything.
};

class Http2Server final : public Protocol, public StreamLink {
 public:
  Http2Server(std::shared_ptr<ServerCore> core, std::shared_ptr<Channel> channel, Peer peer)
      : core_(std::move(core)), channel_(std::move(channel)), peer_(std::move(peer)) {}

  void on_open() override;
  void on_input(std::string_view bytes) override;
  void on_peer_closed() override;
  void on_sent() override { flush(); }
  void on_drain() override;
  void on_timeout() override;
  void on_closed(const Error* why) override;

  void pump(ServerStream& stream) override;
  void body_taken(ServerStream& stream, std::size_t size) override;
  void upgrade(ServerStream&, Headers, std::shared_ptr<RawStream> raw) override { raw->mark_closed(); }

 private:
  static Nghttp2Callbacks make_callbacks();
  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* self);
  static int header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                    const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* self);
  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* self);
  static int data_received(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size,
                           void* self);
  static int frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* self);
  static int stream_closed(nghttp2_session*, std::int32_t id, std::uint32_t code, void* self);
  static ssize_t read_body(nghttp2_session*, std::int32_t id, std::uint8_t* buffer, std::size_t size,
                           std::uint32_t* flags, nghttp2_data_source*, void* self);

  void take_field(Incoming& incoming, std::string_view name, std::string_view value);
  void head_complete(std::int32_t id, Incoming& incoming);
  void body_complete(std::int32_t id, Incoming& incoming);
  void maybe_dispatch(Incoming& incoming);
  void submit_response(std::int32_t id, Incoming& incoming, const ResponseStart& start);
  void refuse(std::int32_t id, Incoming& incoming, int status);
  void forget(std::int32_t id);
  void flush();
  void update_deadline();
  std::int32_t id_of(const ServerStream& stream) const;

  const std::shared_ptr<ServerCore> core_;
  const std::shared_ptr<Channel> channel_;
  const Peer peer_;
  Nghttp2Session session_;
  std::unordered_map<std::int32_t, Incoming> streams_;
  std::unordered_map<const ServerStream*, std::int32_t> ids_;
  std::vector<std::shared_ptr<ServerStream>> sending_;  // Their backlog changed while frames were made.
  bool flushing_ = false;
  bool receiving_ = false;
  bool draining_ = false;
};

Nghttp2Callbacks Http2Server::make_callbacks() {
  nghttp2_session_callbacks* raw = nullptr;
  if (nghttp2_session_callbacks_new(&raw) != 0) return nullptr;
  nghttp2_session_callbacks_set_on_begin_headers_callback(raw, begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(raw, header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(raw, frame_received);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(raw, data_received);
  nghttp2_session_callbacks_set_on_frame_send_callback(raw, frame_sent);
  nghttp2_session_callbacks_set_on_stream_close_callback(raw, stream_closed);
  return Nghttp2Callbacks(raw);
}

void Http2Server::on_open() {
  const Limits& limits = core_->limits;
  session_ = make_server_session(make_callbacks().get(), this, limits);
  if (!session_) return channel_->abort(Error(Reason::Internal, "cannot make an HTTP/2 session"));
  // From the preface to the first request; then update_deadline() decides.
  channel_->set_deadline(channel_->clock().now() + limits.header_timeout);
  flush();
}

void Http2Server::on_input(std::string_view bytes) {
  if (!session_) return;
  receiving_ = true;
  const ssize_t used =
      nghttp2_session_mem_recv(session_.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  receiving_ = false;
  if (used < 0) return channel_->abort(Error(Reason::BadRequest, nghttp2_strerror(static_cast<int>(used))));
  update_deadline();
  flush();
}

void Http2Server::flush() {
  if (flushing_ || receiving_ || !session_ || channel_->closed()) return;
  flushing_ = true;
  const bool alive = send_frames(session_.get(), *channel_);
  flushing_ = false;
  for (const auto& stream : std::exchange(sending_, {})) stream->set_in_transit(0);
  if (!alive) return channel_->abort(Error(Reason::Internal, "HTTP/2 session failed"));
  const bool over = nghttp2_session_want_read(session_.get()) == 0 && nghttp2_session_want_write(session_.get()) == 0;
  if (over || (draining_ && streams_.empty() && nghttp2_session_want_write(session_.get()) == 0)) {
    channel_->close_after_sending();
  }
}

void Http2Server::update_deadline() {
  const Limits& limits = core_->limits;
  const Clock::TimePoint now = channel_->clock().now();
  if (streams_.empty()) return channel_->set_deadline(now + limits.idle_timeout);
  std::optional<Clock::TimePoint> earliest;
  for (const auto& [id, incoming] : streams_) {
    if (incoming.ended || (incoming.stream && incoming.stream->dispatched)) continue;
    const Clock::TimePoint due = incoming.last_data + limits.body_idle_timeout;
    if (!earliest || due < *earliest) earliest = due;
  }
  channel_->set_deadline(earliest);
}

void Http2Server::on_timeout() {
  if (!session_) return channel_->abort(Error(Reason::Timeout, "slow client"));
  if (streams_.empty()) {
    nghttp2_session_terminate_session(session_.get(), NGHTTP2_NO_ERROR);
  } else {
    const Clock::TimePoint now = channel_->clock().now();
    std::vector<std::int32_t> late;
    for (const auto& [id, incoming] : streams_) {
      const bool waiting = !incoming.ended && !(incoming.stream && incoming.stream->dispatched);
      if (waiting && incoming.last_data + core_->limits.body_idle_timeout <= now) late.push_back(id);
    }
    for (const std::int32_t id : late) refuse(id, streams_.at(id), 408);
    update_deadline();
  }
  flush();
}

void Http2Server::on_drain() {
  draining_ = true;
  if (session_) {
    nghttp2_submit_goaway(session_.get(), NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_.get()),
                          NGHTTP2_NO_ERROR, nullptr, 0);
  }
  flush();
}

void Http2Server::on_peer_closed() {
  if (streams_.empty()) return channel_->close_after_sending();
  channel_->abort(Error(Reason::ServiceUnavailable, "the client closed the connection"));
}

void Http2Server::on_closed(const Error*) {
  ids_.clear();
  for (auto& [id, incoming] : std::exchange(streams_, {})) {
    if (!incoming.stream) continue;
    incoming.stream->detach();
    incoming.stream->stop();
    incoming.stream->mark_closed();
  }
}

int Http2Server::begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  auto& server = *static_cast<Http2Server*>(self);
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  server.streams_[frame->hd.stream_id].last_data = server.channel_->clock().now();
  return 0;
}

int Http2Server::header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                        const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* self) {
  auto& server = *static_cast<Http2Server*>(self);
  // Trailers are read over.
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  const auto found = server.streams_.find(frame->hd.stream_id);
  if (found == server.streams_.end()) return 0;
  Incoming& incoming = found->second;
  incoming.header_bytes += name_size + value_size + 32;  // RFC 9113 6.5.2.
  if (incoming.header_bytes > server.core_->limits.max_header_bytes) {
    incoming.refusal = 431;
    return 0;
  }
  server.take_field(incoming, {reinterpret_cast<const char*>(name), name_size},
                    {reinterpret_cast<const char*>(value), value_size});
  return 0;
}

void Http2Server::take_field(Incoming& incoming, std::string_view name, std::string_view value) {
  Request& request = incoming.request;
  if (name == ":method") {
    request.method = value;
  } else if (name == ":path") {
    if (!parse_target(value, request)) incoming.refusal = 400;
  } else if (name == ":authority") {
    request.headers.set("host", value);
  } else if (!name.starts_with(':')) {
    // nghttp2 has checked names and values; a Host beside :authority says the same or lies.
    if (name == "host" && !request.headers.get("host").empty()) return;
    request.headers.add(name, value);
  }
}

int Http2Server::frame_received(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  auto& server = *static_cast<Http2Server*>(self);
  const bool headers = frame->hd.type == NGHTTP2_HEADERS;
  if (!headers && frame->hd.type != NGHTTP2_DATA) return 0;
  const auto found = server.streams_.find(frame->hd.stream_id);
  if (found == server.streams_.end()) return 0;
  if (headers && frame->headers.cat == NGHTTP2_HCAT_REQUEST) server.head_complete(found->first, found->second);
  if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) server.body_complete(found->first, found->second);
  return 0;
}

void Http2Server::head_complete(std::int32_t id, Incoming& incoming) {
  if (incoming.refusal == 0 && incoming.request.method == "CONNECT") incoming.refusal = 501;
  if (incoming.refusal != 0) return refuse(id, incoming, incoming.refusal);
  incoming.request.http2 = true;
  incoming.request.peer_address = peer_.address;
  incoming.request.peer_certificate = peer_.certificate;
  incoming.stream =
      std::make_shared<ServerStream>(channel_, this, std::move(incoming.request), core_->limits.body_idle_timeout);
  ids_[incoming.stream.get()] = id;
  if (equal_ignoring_case(incoming.stream->request().headers.get("expect"), "100-continue")) {
    const FieldList fields = [] {
      FieldList list;
      list.add(":status", "100");
      return list;
    }();
    nghttp2_submit_headers(session_.get(), NGHTTP2_FLAG_NONE, id, nullptr, fields.data(), fields.size(), nullptr);
  }
}

void Http2Server::body_complete(std::int32_t, Incoming& incoming) {
  incoming.ended = true;
  if (!incoming.stream) return;
  incoming.stream->body_end();
  maybe_dispatch(incoming);
}

void Http2Server::maybe_dispatch(Incoming& incoming) {
  if (incoming.stream->dispatched) return;
  // Never wait for more than the window lets in.
  const std::size_t enough = std::min<std::size_t>(kDispatchBytes, core_->limits.stream_window_bytes);
  if (incoming.stream->body_complete() || incoming.stream->buffered_body() >= enough) core_->dispatch(incoming.stream);
}

int Http2Server::data_received(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* data,
                               std::size_t size, void* self) {
  auto& server = *static_cast<Http2Server*>(self);
  const auto found = server.streams_.find(id);
  if (found == server.streams_.end() || !found->second.stream || found->second.stream->closed()) {
    nghttp2_session_consume(session, id, size);  // Nobody wants it, and the window must not leak.
    return 0;
  }
  found->second.last_data = server.channel_->clock().now();
  found->second.unconsumed += size;
  found->second.stream->body_data({reinterpret_cast<const char*>(data), size});
  server.maybe_dispatch(found->second);
  return 0;
}

int Http2Server::frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* self) {
  auto& server = *static_cast<Http2Server*>(self);
  const bool carries_end = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
  if (!carries_end || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
  const auto found = server.streams_.find(frame->hd.stream_id);
  if (found == server.streams_.end() || found->second.ended) return 0;
  // Answered before the whole request was there: the rest is not wanted (RFC 9113 8.1).
  nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
  return 0;
}

int Http2Server::stream_closed(nghttp2_session*, std::int32_t id, std::uint32_t code, void* self) {
  auto& server = *static_cast<Http2Server*>(self);
  const auto found = server.streams_.find(id);
  if (found == server.streams_.end()) return 0;
  if (const auto stream = found->second.stream) {
    nghttp2_session_consume_connection(server.session_.get(), found->second.unconsumed);
    stream->detach();
    if (code != NGHTTP2_NO_ERROR) stream->stop();
    server.forget(id);
    stream->mark_closed();
  } else {
    server.forget(id);
  }
  return 0;
}

void Http2Server::forget(std::int32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  ids_.erase(found->second.stream.get());
  streams_.erase(found);
  if (streams_.empty()) update_deadline();
}

std::int32_t Http2Server::id_of(const ServerStream& stream) const {
  const auto found = ids_.find(&stream);
  return found == ids_.end() ? -1 : found->second;
}

ssize_t Http2Server::read_body(nghttp2_session*, std::int32_t id, std::uint8_t* buffer, std::size_t size,
                               std::uint32_t* flags, nghttp2_data_source*, void* self) {
  auto& server = *static_cast<Http2Server*>(self);
  const auto found = server.streams_.find(id);
  if (found == server.streams_.end() || !found->second.stream) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  bool end = false;
  const std::size_t got = found->second.stream->read_output(reinterpret_cast<char*>(buffer), size, end);
  if (got > 0) server.sending_.push_back(found->second.stream);
  if (end) *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (got == 0 && !end) return NGHTTP2_ERR_DEFERRED;
  return static_cast<ssize_t>(got);
}

void Http2Server::submit_response(std::int32_t id, Incoming& incoming, const ResponseStart& start) {
  incoming.response_begun = true;
  const std::string status = std::to_string(start.status);
  const std::string date = http_date(channel_->clock().wall_now());
  FieldList fields;
  fields.add(":status", status);
  fields.add(start.headers);
  if (start.headers.get("date").empty()) fields.add("date", date);
  const bool bodiless = incoming.stream->request().method == "HEAD" || start.status == 204 || start.status == 304;
  nghttp2_data_provider body{};
  body.read_callback = read_body;
  nghttp2_submit_response(session_.get(), id, fields.data(), fields.size(), bodiless ? nullptr : &body);
}

void Http2Server::refuse(std::int32_t id, Incoming& incoming, int status) {
  if (incoming.response_begun) return;
  incoming.response_begun = true;
  const std::string text = std::to_string(status);
  FieldList fields;
  fields.add(":status", text);
  fields.add("content-length", "0");
  nghttp2_submit_response(session_.get(), id, fields.data(), fields.size(), nullptr);
}

void Http2Server::pump(ServerStream& stream) {
  const std::int32_t id = id_of(stream);
  if (id < 0 || !session_) return;
  Incoming& incoming = streams_.at(id);
  if (stream.abort_wanted()) {
    nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
  } else if (const auto start = stream.take_start(); start && !incoming.response_begun) {
    submit_response(id, incoming, *start);
  } else if (incoming.response_begun && stream.output_waiting()) {
    nghttp2_session_resume_data(session_.get(), id);
  }
  flush();
}

void Http2Server::body_taken(ServerStream& stream, std::size_t size) {
  const std::int32_t id = id_of(stream);
  if (id < 0 || !session_ || size == 0) return;
  Incoming& incoming = streams_.at(id);
  incoming.unconsumed -= std::min(size, incoming.unconsumed);
  nghttp2_session_consume(session_.get(), id, size);
  flush();
}

}  // namespace

std::unique_ptr<Protocol> make_http2_server(std::shared_ptr<ServerCore> core, std::shared_ptr<Channel> channel,
                                            Peer peer) {
  return std::make_unique<Http2Server>(std::move(core), std::move(channel), std::move(peer));
}

}  // namespace kubernel::net
