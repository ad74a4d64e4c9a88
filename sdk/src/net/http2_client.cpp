// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "net/client_call.h"
#include "net/http2_session.h"
#include "net/http_text.h"

namespace kubernel::net {
namespace {

constexpr std::uint32_t kStreamWindow = 256 * 1024;
constexpr std::int32_t kConnectionWindow = 25 * 1024 * 1024;
// As client-go: a silent connection with open streams is asked whether it still lives.
constexpr std::chrono::milliseconds kPingAfter{30'000};
constexpr std::chrono::milliseconds kPingPatience{15'000};

struct OpenCall {
  std::shared_ptr<ClientCall> call;
  Headers headers;
  int status = 0;
  std::size_t header_bytes = 0;
  std::size_t sent = 0;        // Of the request's body.
  std::size_t unconsumed = 0;  // Received, and not yet given back to the connection's window.
  bool head_told = false;
};

class Http2Client final : public ClientProtocol, public ClientLink {
 public:
  Http2Client(std::shared_ptr<ClientConnection> connection, const ClientOptions& options)
      : connection_(std::move(connection)),
        channel_(connection_->channel),
        idle_timeout_(options.idle_timeout),
        max_header_bytes_(options.max_header_bytes) {}

  void on_open() override;
  void submit(std::shared_ptr<ClientCall> call) override;
  void on_input(std::string_view bytes) override;
  void on_sent() override { flush(); }
  void on_peer_closed() override;
  void on_timeout() override;
  void on_closed(const Error* why) override;
  void taken(ClientCall& call, std::size_t size) override;
  void cancel(ClientCall& call) override;

 private:
  static int header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                    const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* self);
  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* self);
  static int data_received(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size,
                           void* self);
  static int stream_closed(nghttp2_session*, std::int32_t id, std::uint32_t code, void* self);
  static ssize_t read_body(nghttp2_session*, std::int32_t id, std::uint8_t* buffer, std::size_t size,
                           std::uint32_t* flags, nghttp2_data_source*, void* self);

  void head_complete(OpenCall& open);
  void flush();
  void update_deadline();
  void retire();
  std::int32_t id_of(const ClientCall& call) const;

  const std::shared_ptr<ClientConnection> connection_;
  const std::shared_ptr<Channel> channel_;
  const std::chrono::milliseconds idle_timeout_;
  const std::size_t max_header_bytes_;
  Nghttp2Session session_;
  std::unordered_map<std::int32_t, OpenCall> calls_;
  bool flushing_ = false;
  bool receiving_ = false;
  bool pinging_ = false;
  bool retired_ = false;
};

void Http2Client::on_open() {
  nghttp2_session_callbacks* raw_callbacks = nullptr;
  nghttp2_option* raw_option = nullptr;
  nghttp2_session* raw_session = nullptr;
  const bool made = nghttp2_session_callbacks_new(&raw_callbacks) == 0 && nghttp2_option_new(&raw_option) == 0;
  const Nghttp2Callbacks callbacks(raw_callbacks);
  const Nghttp2Option option(raw_option);
  if (made) {
    nghttp2_session_callbacks_set_on_header_callback(raw_callbacks, header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(raw_callbacks, frame_received);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(raw_callbacks, data_received);
    nghttp2_session_callbacks_set_on_stream_close_callback(raw_callbacks, stream_closed);
    nghttp2_option_set_no_auto_window_update(raw_option, 1);
    nghttp2_option_set_no_closed_streams(raw_option, 1);
    nghttp2_option_set_max_send_header_block_length(raw_option, 4 * max_header_bytes_);
    nghttp2_session_client_new2(&raw_session, raw_callbacks, this, raw_option);
  }
  session_.reset(raw_session);
  if (!session_) return channel_->abort(Error(Reason::Internal, "cannot make an HTTP/2 session"));
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(max_header_bytes_)},
  };
  nghttp2_submit_settings(session_.get(), NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_.get(), NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  update_deadline();
  flush();
}

void Http2Client::submit(std::shared_ptr<ClientCall> call) {
  if (call->cancelled()) {
    if (const auto pool = connection_->pool.lock()) pool->release(*connection_);
    return;
  }
  const OutgoingRequest& request = call->request;
  FieldList fields;
  const std::string scheme = request.target.secure ? "https" : "http";
  const std::string length = std::to_string(request.body.size());
  const std::string_view host = request.headers.get("host");
  Headers headers = request.headers;
  headers.remove("host");
  fields.add(":method", request.method);
  fields.add(":scheme", scheme);
  fields.add(":authority", host.empty() ? std::string_view(request.target.authority) : host);
  fields.add(":path", request.target.path);
  fields.add(headers);
  if (!request.body.empty() && headers.get("content-length").empty()) fields.add("content-length", length);
  nghttp2_data_provider body{};
  body.read_callback = read_body;
  const std::int32_t id = nghttp2_submit_request(session_.get(), nullptr, fields.data(), fields.size(),
                                                 request.body.empty() ? nullptr : &body, nullptr);
  if (id < 0) {
    if (id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE) retire();
    if (const auto pool = connection_->pool.lock()) pool->release(*connection_);
    return call->fail(Error(Reason::ServiceUnavailable, nghttp2_strerror(id)), Retry::Always);
  }
  call->attach(this, channel_);
  calls_[id].call = std::move(call);
  update_deadline();
  flush();
}

void Http2Client::on_input(std::string_view bytes) {
  if (!session_) return;
  pinging_ = false;
  receiving_ = true;
  const ssize_t used =
      nghttp2_session_mem_recv(session_.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  receiving_ = false;
  if (used < 0) return channel_->abort(Error(Reason::BadRequest, nghttp2_strerror(static_cast<int>(used))));
  update_deadline();
  flush();
}

void Http2Client::flush() {
  if (flushing_ || receiving_ || !session_ || channel_->closed()) return;
  flushing_ = true;
  const bool alive = send_frames(session_.get(), *channel_);
  flushing_ = false;
  if (!alive) return channel_->abort(Error(Reason::Internal, "HTTP/2 session failed"));
  const bool over = nghttp2_session_want_read(session_.get()) == 0 && nghttp2_session_want_write(session_.get()) == 0;
  if (over || (retired_ && calls_.empty() && nghttp2_session_want_write(session_.get()) == 0)) {
    retire();
    channel_->close_after_sending();
  }
}

void Http2Client::update_deadline() {
  channel_->set_deadline(channel_->clock().now() + (calls_.empty() ? idle_timeout_ : kPingAfter));
}

void Http2Client::on_timeout() {
  if (calls_.empty()) {
    retire();
    nghttp2_session_terminate_session(session_.get(), NGHTTP2_NO_ERROR);
  } else if (pinging_) {
    return channel_->abort(Error(Reason::ServiceUnavailable, "the server does not answer"));
  } else {
    pinging_ = true;
    nghttp2_submit_ping(session_.get(), NGHTTP2_FLAG_NONE, nullptr);
    channel_->set_deadline(channel_->clock().now() + kPingPatience);
  }
  flush();
}

void Http2Client::retire() {
  if (std::exchange(retired_, true)) return;
  connection_->closed = true;
  if (const auto pool = connection_->pool.lock()) pool->forget(*connection_);
}

void Http2Client::on_peer_closed() {
  channel_->abort(Error(Reason::ServiceUnavailable, "the server closed the connection"));
}

void Http2Client::on_closed(const Error* why) {
  retire();
  connection_->protocol = nullptr;
  const Error lost = why != nullptr ? *why : Error(Reason::ServiceUnavailable, "the connection was closed");
  for (auto& [id, open] : std::exchange(calls_, {})) {
    const Retry retry = connection_->reused && !open.head_told ? Retry::IfIdempotent : Retry::Never;
    open.call->fail(Error(lost).wrap(open.call->request.target.authority), retry);
  }
}

std::int32_t Http2Client::id_of(const ClientCall& call) const {
  const auto found =
      std::find_if(calls_.begin(), calls_.end(), [&](const auto& entry) { return entry.second.call.get() == &call; });
  return found == calls_.end() ? -1 : found->first;
}

void Http2Client::taken(ClientCall& call, std::size_t size) {
  const std::int32_t id = id_of(call);
  if (id < 0) return;
  OpenCall& open = calls_.at(id);
  open.unconsumed -= std::min(size, open.unconsumed);
  nghttp2_session_consume(session_.get(), id, size);
  flush();
}

void Http2Client::cancel(ClientCall& call) {
  const std::int32_t id = id_of(call);
  if (id < 0) return;
  call.detach();
  nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
  flush();
}

int Http2Client::header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                        const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* self) {
  auto& client = *static_cast<Http2Client*>(self);
  const auto found = client.calls_.find(frame->hd.stream_id);
  if (frame->hd.type != NGHTTP2_HEADERS || found == client.calls_.end() || found->second.head_told) return 0;
  OpenCall& open = found->second;
  open.header_bytes += name_size + value_size + 32;
  if (open.header_bytes > client.max_header_bytes_) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  const std::string_view key(reinterpret_cast<const char*>(name), name_size);
  const std::string_view text(reinterpret_cast<const char*>(value), value_size);
  if (key == ":status") {
    open.status = static_cast<int>(parse_decimal(text).value_or(0));
    open.headers = {};
  } else if (!key.starts_with(':')) {
    open.headers.add(key, text);
  }
  return 0;
}

void Http2Client::head_complete(OpenCall& open) {
  if (open.head_told || open.status < 200) return;  // 100 Continue: the real one follows.
  open.head_told = true;
  open.call->head(open.status, std::move(open.headers));
}

int Http2Client::frame_received(nghttp2_session* session, const nghttp2_frame* frame, void* self) {
  auto& client = *static_cast<Http2Client*>(self);
  if (frame->hd.type == NGHTTP2_GOAWAY) {
    client.retire();
  } else if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
    const std::uint32_t most = nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    if (const auto pool = client.connection_->pool.lock()) pool->set_max_calls(*client.connection_, most);
  } else if (frame->hd.type == NGHTTP2_HEADERS) {
    if (const auto found = client.calls_.find(frame->hd.stream_id); found != client.calls_.end()) {
      client.head_complete(found->second);
    }
  }
  return 0;
}

int Http2Client::data_received(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* data,
                               std::size_t size, void* self) {
  auto& client = *static_cast<Http2Client*>(self);
  const auto found = client.calls_.find(id);
  if (found == client.calls_.end() || found->second.call->cancelled()) {
    nghttp2_session_consume(session, id, size);
    return 0;
  }
  found->second.unconsumed += size;
  // The callback may end in cancel() or another call: the entry is not touched after it.
  const std::shared_ptr<ClientCall> call = found->second.call;
  call->data({reinterpret_cast<const char*>(data), size});
  return 0;
}

int Http2Client::stream_closed(nghttp2_session* session, std::int32_t id, std::uint32_t code, void* self) {
  auto& client = *static_cast<Http2Client*>(self);
  const auto found = client.calls_.find(id);
  if (found == client.calls_.end()) return 0;
  const OpenCall open = std::move(found->second);
  client.calls_.erase(found);
  nghttp2_session_consume_connection(session, open.unconsumed);
  if (const auto pool = client.connection_->pool.lock()) pool->release(*client.connection_);
  // RFC 9113 8.1: NO_ERROR after a complete response only says that the rest of the request is not wanted.
  if (code == NGHTTP2_NO_ERROR && open.head_told) {
    open.call->finish();
  } else {
    const bool refused = code == NGHTTP2_REFUSED_STREAM;
    open.call->fail(Error(Reason::ServiceUnavailable, open.call->request.target.authority +
                                                          ": the stream was reset: " + nghttp2_http2_strerror(code)),
                    refused ? Retry::Always : Retry::Never);
  }
  return 0;
}

ssize_t Http2Client::read_body(nghttp2_session*, std::int32_t id, std::uint8_t* buffer, std::size_t size,
                               std::uint32_t* flags, nghttp2_data_source*, void* self) {
  auto& client = *static_cast<Http2Client*>(self);
  const auto found = client.calls_.find(id);
  if (found == client.calls_.end()) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  OpenCall& open = found->second;
  const std::string& body = open.call->request.body;
  const std::size_t part = std::min(size, body.size() - open.sent);
  std::memcpy(buffer, body.data() + open.sent, part);
  open.sent += part;
  if (open.sent == body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return static_cast<ssize_t>(part);
}

}  // namespace

std::unique_ptr<ClientProtocol> make_http2_client(std::shared_ptr<ClientConnection> connection,
                                                  const ClientOptions& options) {
  return std::make_unique<Http2Client>(std::move(connection), options);
}

}  // namespace kubernel::net
