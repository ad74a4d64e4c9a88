// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/grpc_stream.h"
#include "net/http2_session.h"

namespace kubernel::net {
namespace {

constexpr std::string_view kContentType = "application/grpc";

// One client's connection.
class GrpcConnection final : public Protocol, public GrpcLink {
 public:
  GrpcConnection(std::shared_ptr<ServerCore> core, std::shared_ptr<Channel> channel)
      : core_(std::move(core)), channel_(std::move(channel)) {}

  void on_open() override;
  void on_input(std::string_view bytes) override;
  void on_peer_closed() override;
  void on_sent() override { flush(); }
  void on_drain() override;
  void on_timeout() override { channel_->abort(Error(Reason::Timeout, "slow client")); }
  void on_closed(const Error* why) override;

  void pump(GrpcStream& stream) override;
  void deliver(GrpcStream& stream) override;

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
  static ssize_t read_messages(nghttp2_session*, std::int32_t id, std::uint8_t* buffer, std::size_t size,
                               std::uint32_t* flags, nghttp2_data_source*, void* self);

  std::shared_ptr<GrpcStream> find(std::int32_t id) const;
  void take_field(GrpcStream& stream, std::string_view name, std::string_view value) const;
  void head_complete(GrpcStream& stream);
  void refuse_http(GrpcStream& stream, std::string_view status);
  void take(GrpcStream& stream);
  void submit_head(GrpcStream& stream);
  void submit_status(GrpcStream& stream, const GrpcStatus& status);
  void flush();

  const std::shared_ptr<ServerCore> core_;
  const std::shared_ptr<Channel> channel_;
  Nghttp2Session session_;
  std::unordered_map<std::int32_t, std::shared_ptr<GrpcStream>> streams_;
  std::vector<std::shared_ptr<GrpcStream>> sending_;  // Their backlog changed while frames were made.
  bool flushing_ = false;
  bool receiving_ = false;
  bool draining_ = false;
  bool flush_waits_ = false;
  bool greeted_ = false;  // The first frame has come.
};

Nghttp2Callbacks GrpcConnection::make_callbacks() {
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

void GrpcConnection::on_open() {
  session_ = make_server_session(make_callbacks().get(), this, core_->limits);
  if (!session_) return channel_->abort(Error(Reason::Internal, "cannot make an HTTP/2 session"));
  channel_->set_deadline(channel_->clock().now() + core_->limits.header_timeout);
  flush();
}

void GrpcConnection::on_input(std::string_view bytes) {
  if (!session_) return;
  receiving_ = true;
  const ssize_t used =
      nghttp2_session_mem_recv(session_.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  receiving_ = false;
  if (used < 0) return channel_->abort(Error(Reason::BadRequest, nghttp2_strerror(static_cast<int>(used))));
  flush();
}

void GrpcConnection::flush() {
  if (flushing_ || receiving_ || !session_ || channel_->closed()) return;
  flushing_ = true;
  const bool alive = send_frames(session_.get(), *channel_);
  flushing_ = false;
  for (const auto& stream : std::exchange(sending_, {})) stream->set_in_transit(0);
  if (!alive) return channel_->abort(Error(Reason::Internal, "HTTP/2 session failed"));
  const bool quiet = nghttp2_session_want_write(session_.get()) == 0;
  if (quiet && (nghttp2_session_want_read(session_.get()) == 0 || (draining_ && streams_.empty()))) {
    channel_->close_after_sending();
  }
}

void GrpcConnection::on_drain() {
  draining_ = true;
  if (session_) {
    nghttp2_submit_goaway(session_.get(), NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_.get()),
                          NGHTTP2_NO_ERROR, nullptr, 0);
  }
  flush();
}

void GrpcConnection::on_peer_closed() {
  if (streams_.empty()) return channel_->close_after_sending();
  channel_->abort(Error(Reason::ServiceUnavailable, "the client closed the connection"));
}

void GrpcConnection::on_closed(const Error*) {
  for (auto& [id, stream] : std::exchange(streams_, {})) {
    stream->detach();
    stream->stop();
    stream->mark_closed();
  }
}

std::shared_ptr<GrpcStream> GrpcConnection::find(std::int32_t id) const {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second;
}

int GrpcConnection::begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  auto& connection = *static_cast<GrpcConnection*>(self);
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  // From the first call on a client may be silent for as long as it likes.
  if (!std::exchange(connection.greeted_, true)) connection.channel_->set_deadline(std::nullopt);
  const std::int32_t id = frame->hd.stream_id;
  connection.streams_.emplace(id, std::make_shared<GrpcStream>(connection.channel_, &connection, id));
  return 0;
}

int GrpcConnection::header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                           std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t,
                           void* self) {
  auto& connection = *static_cast<GrpcConnection*>(self);
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  const auto stream = connection.find(frame->hd.stream_id);
  if (!stream) return 0;
  stream->header_bytes += name_size + value_size + 32;  // RFC 9113 6.5.2.
  if (stream->header_bytes > connection.core_->limits.max_header_bytes) return 0;
  connection.take_field(*stream, {reinterpret_cast<const char*>(name), name_size},
                        {reinterpret_cast<const char*>(value), value_size});
  return 0;
}

void GrpcConnection::take_field(GrpcStream& stream, std::string_view name, std::string_view value) const {
  if (name == ":method") {
    stream.method = value;
  } else if (name == ":path") {
    stream.path = value;
  } else if (name == "content-type") {
    stream.content_type = value;
  } else if (name == "grpc-timeout") {
    const auto timeout = parse_grpc_timeout(value);
    stream.bad_timeout = !timeout;
    if (timeout) stream.set_deadline(channel_->clock().now() + *timeout);
  }
}

int GrpcConnection::frame_received(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  auto& connection = *static_cast<GrpcConnection*>(self);
  const bool headers = frame->hd.type == NGHTTP2_HEADERS;
  if (!headers && frame->hd.type != NGHTTP2_DATA) return 0;
  const auto stream = connection.find(frame->hd.stream_id);
  if (!stream) return 0;
  const bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (ended) stream->client_ended = true;
  if (headers && frame->headers.cat == NGHTTP2_HCAT_REQUEST) connection.head_complete(*stream);
  if (ended) connection.take(*stream);
  return 0;
}

void GrpcConnection::head_complete(GrpcStream& stream) {
  if (stream.header_bytes > core_->limits.max_header_bytes) return refuse_http(stream, "431");
  if (stream.method != "POST") return refuse_http(stream, "405");
  const std::string_view type = stream.content_type;
  if (!type.starts_with(kContentType) ||
      (type.size() > kContentType.size() && type[kContentType.size()] != '+' && type[kContentType.size()] != ';')) {
    return refuse_http(stream, "415");
  }
  if (stream.bad_timeout) return stream.finish({GrpcCode::Internal, "grpc: the timeout is malformed"});
  const auto* method = core_->grpc->find(stream.path);
  if (method == nullptr) return stream.finish(core_->grpc->unknown(stream.path));
  stream.begin(*method, Gate::enter(core_->handlers));
}

// What is no gRPC request gets HTTP's answer.
void GrpcConnection::refuse_http(GrpcStream& stream, std::string_view status) {
  stream.response_begun = true;
  stream.finish({GrpcCode::Unknown, ""});
  FieldList fields;
  fields.add(":status", status);
  fields.add("content-length", "0");
  nghttp2_submit_response(session_.get(), stream.id, fields.data(), fields.size(), nullptr);
}

int GrpcConnection::data_received(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* data,
                                  std::size_t size, void* self) {
  auto& connection = *static_cast<GrpcConnection*>(self);
  const auto stream = connection.find(id);
  if (!stream || stream->closed() || stream->status()) {
    nghttp2_session_consume(session, id, size);  // Nobody wants it, and the window must not leak.
    return 0;
  }
  stream->input.add({reinterpret_cast<const char*>(data), size});
  stream->unconsumed += size;
  connection.take(*stream);
  return 0;
}

// A stream that takes no messages now keeps its window closed. Else windows open at once: a message may be larger than
// they are.
void GrpcConnection::take(GrpcStream& stream) {
  stream.deliver(core_->grpc->max_message_bytes);
  if (!stream.paused()) nghttp2_session_consume(session_.get(), stream.id, std::exchange(stream.unconsumed, 0));
}

void GrpcConnection::deliver(GrpcStream& stream) {
  if (!session_) return;
  take(stream);
  flush();
}

int GrpcConnection::frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* self) {
  const bool carries_end = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
  if (!carries_end || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
  const auto stream = static_cast<GrpcConnection*>(self)->find(frame->hd.stream_id);
  // Answered before the client was done: the rest is not wanted (RFC 9113 8.1).
  if (stream && !stream->client_ended) {
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
  }
  return 0;
}

int GrpcConnection::stream_closed(nghttp2_session*, std::int32_t id, std::uint32_t code, void* self) {
  auto& connection = *static_cast<GrpcConnection*>(self);
  const auto stream = connection.find(id);
  if (!stream) return 0;
  nghttp2_session_consume_connection(connection.session_.get(), stream->unconsumed);
  connection.streams_.erase(id);
  stream->detach();
  if (code != NGHTTP2_NO_ERROR) stream->stop();
  stream->mark_closed();
  return 0;
}

ssize_t GrpcConnection::read_messages(nghttp2_session* session, std::int32_t id, std::uint8_t* buffer, std::size_t size,
                                      std::uint32_t* flags, nghttp2_data_source*, void* self) {
  auto& connection = *static_cast<GrpcConnection*>(self);
  const auto stream = connection.find(id);
  if (!stream) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  bool end = false;
  const std::size_t got = stream->read_output(reinterpret_cast<char*>(buffer), size, end);
  if (got > 0) connection.sending_.push_back(stream);
  if (end) {
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    const GrpcStatus status = stream->status().value_or(GrpcStatus{GrpcCode::Internal, ""});
    const std::string code = std::to_string(static_cast<int>(status.code));
    const std::string message = encode_grpc_message(status.message);
    FieldList fields;
    fields.add("grpc-status", code);
    if (!message.empty()) fields.add("grpc-message", message);
    nghttp2_submit_trailer(session, id, fields.data(), fields.size());
  }
  if (got == 0 && !end) return NGHTTP2_ERR_DEFERRED;
  return static_cast<ssize_t>(got);
}

void GrpcConnection::submit_head(GrpcStream& stream) {
  FieldList fields;
  fields.add(":status", "200");
  fields.add("content-type", kContentType);
  nghttp2_data_provider body{};
  body.read_callback = read_messages;
  nghttp2_submit_response(session_.get(), stream.id, fields.data(), fields.size(), &body);
}

// An answer without a message is one frame.
void GrpcConnection::submit_status(GrpcStream& stream, const GrpcStatus& status) {
  const std::string code = std::to_string(static_cast<int>(status.code));
  const std::string message = encode_grpc_message(status.message);
  FieldList fields;
  fields.add(":status", "200");
  fields.add("content-type", kContentType);
  fields.add("grpc-status", code);
  if (!message.empty()) fields.add("grpc-message", message);
  nghttp2_submit_response(session_.get(), stream.id, fields.data(), fields.size(), nullptr);
}

void GrpcConnection::pump(GrpcStream& stream) {
  if (!session_) return;
  const auto status = stream.status();
  if (!stream.response_begun) {
    stream.response_begun = true;
    if (status && !stream.sent_any()) {
      submit_status(stream, *status);
    } else {
      submit_head(stream);
    }
  } else if (stream.output_waiting()) {
    nghttp2_session_resume_data(session_.get(), stream.id);
  }
  // A commit answers many calls at once: their answers share a write.
  if (std::exchange(flush_waits_, true)) return;
  channel_->after_posted([this] {
    flush_waits_ = false;
    flush();
  });
}

}  // namespace

std::unique_ptr<Protocol> make_grpc_server(std::shared_ptr<ServerCore> core, std::shared_ptr<Channel> channel) {
  return std::make_unique<GrpcConnection>(std::move(core), std::move(channel));
}

}  // namespace kubernel::net
