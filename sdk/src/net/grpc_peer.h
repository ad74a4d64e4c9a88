// SPDX-License-Identifier: Apache-2.0
//
// For tests: gRPC's client side, down to single frames, on a plain socket.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nghttp2/nghttp2.h>

#include "net/grpc_wire.h"
#include "net_fixture.h"

namespace kubernel::net {

struct GrpcAnswer {
  std::string http_status;
  std::map<std::string, std::string> fields;  // Of the head and the trailers.
  std::vector<std::string> messages;
  bool reset = false;

  std::string status() const {
    const auto code = fields.find("grpc-status");
    const auto message = fields.find("grpc-message");
    return (code == fields.end() ? "none" : code->second) + (message == fields.end() ? "" : " " + message->second);
  }
};

class GrpcPeer {
 public:
  using Fields = std::vector<std::pair<std::string, std::string>>;

  explicit GrpcPeer(const std::string& address) : socket_(address) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, closed);
    nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
    flush();
  }
  ~GrpcPeer() { nghttp2_session_del(session_); }
  GrpcPeer(const GrpcPeer&) = delete;
  GrpcPeer& operator=(const GrpcPeer&) = delete;

  /// Sends a request's head. `more` replaces fields of the same name.
  std::int32_t open(const std::string& path, const Fields& more = {}) {
    std::map<std::string, std::string> fields = {{":method", "POST"},
                                                 {":scheme", "http"},
                                                 {":path", path},
                                                 {":authority", "test"},
                                                 {"content-type", "application/grpc"},
                                                 {"te", "trailers"}};
    for (const auto& [name, value] : more) fields[name] = value;
    std::vector<nghttp2_nv> list;
    for (const auto& [name, value] : fields) {
      list.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), 0});
    }
    nghttp2_data_provider body{};
    body.read_callback = read;
    const std::int32_t id = nghttp2_submit_request(session_, nullptr, list.data(), list.size(), &body, nullptr);
    flush();
    return id;
  }
  /// Sends bytes of a request's body as they are.
  void send(std::int32_t id, std::string_view bytes, bool end = false) {
    out_[id].bytes.append(bytes);
    out_[id].end |= end;
    nghttp2_session_resume_data(session_, id);
    flush();
  }
  void message(std::int32_t id, std::string_view text) { send(id, *grpc_frame(text)); }
  void end(std::int32_t id) { send(id, "", true); }
  void cancel(std::int32_t id) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    flush();
  }
  void close() { socket_.close(); }

  /// A whole call of one message.
  GrpcAnswer call(const std::string& path, std::string_view text, const Fields& more = {}) {
    const std::int32_t id = open(path, more);
    send(id, *grpc_frame(text), true);
    return answer(id);
  }
  /// The next message of a call that goes on.
  std::string next(std::int32_t id) {
    while (in_[id].answer.messages.size() <= in_[id].read && receive()) continue;
    Incoming& call = in_[id];
    return call.read < call.answer.messages.size() ? call.answer.messages[call.read++] : "<none>";
  }
  /// What a call ended with.
  GrpcAnswer answer(std::int32_t id) {
    while (!in_[id].over && receive()) continue;
    return in_[id].answer;
  }

 private:
  struct Outgoing {
    std::string bytes;
    bool end = false;
  };
  struct Incoming {
    GrpcAnswer answer;
    GrpcDeframer frames;
    std::size_t read = 0;
    bool over = false;
  };

  static int header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                    const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* self) {
    GrpcAnswer& answer = static_cast<GrpcPeer*>(self)->in_[frame->hd.stream_id].answer;
    const std::string field(reinterpret_cast<const char*>(name), name_size);
    const std::string text(reinterpret_cast<const char*>(value), value_size);
    if (field == ":status") {
      answer.http_status = text;
    } else {
      answer.fields[field] = text;
    }
    return 0;
  }
  static int data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* bytes, std::size_t size,
                  void* self) {
    Incoming& call = static_cast<GrpcPeer*>(self)->in_[id];
    call.frames.add({reinterpret_cast<const char*>(bytes), size});
    while (const auto message = call.frames.next(1U << 30U)) call.answer.messages.emplace_back(*message);
    call.frames.compact();
    return 0;
  }
  static int closed(nghttp2_session*, std::int32_t id, std::uint32_t code, void* self) {
    Incoming& call = static_cast<GrpcPeer*>(self)->in_[id];
    call.over = true;
    call.answer.reset = code != NGHTTP2_NO_ERROR;
    return 0;
  }
  static ssize_t read(nghttp2_session*, std::int32_t id, std::uint8_t* buffer, std::size_t size, std::uint32_t* flags,
                      nghttp2_data_source*, void* self) {
    Outgoing& out = static_cast<GrpcPeer*>(self)->out_[id];
    const std::size_t part = std::min(size, out.bytes.size());
    std::copy_n(out.bytes.data(), part, buffer);
    out.bytes.erase(0, part);
    if (out.bytes.empty() && out.end) *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (part == 0 && !out.end) return NGHTTP2_ERR_DEFERRED;
    return static_cast<ssize_t>(part);
  }

  void flush() {
    const std::uint8_t* bytes = nullptr;
    for (ssize_t size = 0; (size = nghttp2_session_mem_send(session_, &bytes)) > 0;) {
      socket_.send({reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)});
    }
  }
  // False when the connection has ended.
  bool receive() {
    const std::string bytes = socket_.some();
    if (bytes.empty()) return false;
    nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    flush();
    return true;
  }

  RawPeer socket_;
  nghttp2_session* session_ = nullptr;
  std::map<std::int32_t, Outgoing> out_;
  std::map<std::int32_t, Incoming> in_;
};

}  // namespace kubernel::net
