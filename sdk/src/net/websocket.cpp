// SPDX-License-Identifier: Apache-2.0
#include "net/websocket.h"

#include <algorithm>
#include <deque>

#include <openssl/sha.h>

#include <kubernel/crypto/pki.h>

#include "net/http_text.h"

namespace kubernel::net {
namespace {

constexpr std::size_t kMaxMessage = 16 * 1024 * 1024;
constexpr std::size_t kMaxControl = 125;
// A peer that asks for pongs and does not read them gets no more.
constexpr std::size_t kMaxPongBacklog = 256 * 1024;
constexpr int kAbnormal = 1006;
constexpr int kNoStatus = 1005;

enum Opcode : std::uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

struct Frame {
  std::uint8_t opcode = 0;
  bool final = false;
  std::string payload;
};

enum class Parsed : std::uint8_t { More, Frame, Malformed, TooLarge };

bool sendable_code(int code) {
  return (code >= 1000 && code <= 1014 && code != 1004 && code != kNoStatus && code != kAbnormal) ||
         (code >= 3000 && code <= 4999);
}

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char c : bytes) value = value << 8U | static_cast<unsigned char>(c);
  return value;
}

void mask(std::string& payload, std::string_view key) {
  for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(payload[i] ^ key[i % 4]);
}

// Takes one frame from the front of `bytes`.
Parsed parse_frame(std::string_view& bytes, bool masked, Frame& frame) {
  if (bytes.size() < 2) return Parsed::More;
  const auto first = static_cast<unsigned char>(bytes[0]);
  const auto second = static_cast<unsigned char>(bytes[1]);
  frame.final = (first & 0x80U) != 0;
  frame.opcode = first & 0x0fU;
  const bool control = (frame.opcode & 8U) != 0;
  if ((first & 0x70U) != 0 || ((second & 0x80U) != 0) != masked) return Parsed::Malformed;
  if (frame.opcode > kPong || (frame.opcode > kBinary && frame.opcode < kClose)) return Parsed::Malformed;
  std::uint64_t size = second & 0x7fU;
  if (control && (size > kMaxControl || !frame.final)) return Parsed::Malformed;
  std::size_t head = 2;
  if (size >= 126) {
    const std::size_t width = size == 126 ? 2 : 8;
    head += width;
    if (bytes.size() < head) return Parsed::More;
    size = big_endian(bytes.substr(2, width));
    if (size < (width == 2 ? 126U : 65536U)) return Parsed::Malformed;  // Not the shortest form.
  }
  if (size > kMaxMessage) return Parsed::TooLarge;
  const std::size_t key = head;
  head += masked ? 4 : 0;
  if (bytes.size() < head + size) return Parsed::More;
  frame.payload = bytes.substr(head, static_cast<std::size_t>(size));
  if (masked) mask(frame.payload, bytes.substr(key, 4));
  bytes.remove_prefix(head + static_cast<std::size_t>(size));
  return Parsed::Frame;
}

std::string make_frame(std::uint8_t opcode, std::string_view payload, bool masked) {
  std::string out;
  out.reserve(payload.size() + 14);
  out += static_cast<char>(0x80U | opcode);
  const std::uint8_t mask_bit = masked ? 0x80U : 0;
  const auto put_size = [&](std::uint8_t marker, int width) {
    out += static_cast<char>(mask_bit | marker);
    for (int shift = 8 * (width - 1); shift >= 0; shift -= 8) {
      out += static_cast<char>(static_cast<std::uint64_t>(payload.size()) >> static_cast<unsigned>(shift) & 0xffU);
    }
  };
  if (payload.size() < 126) {
    out += static_cast<char>(mask_bit | payload.size());
  } else if (payload.size() < 65536) {
    put_size(126, 2);
  } else {
    put_size(127, 8);
  }
  if (!masked) return out.append(payload);
  const std::uint64_t bits = crypto::system_random().next();
  std::string key;
  for (unsigned i = 0; i < 4; ++i) key += static_cast<char>(bits >> (8 * i) & 0xffU);
  std::string body(payload);
  mask(body, key);
  return out + key + body;
}

std::string close_payload(int code, std::string_view reason) {
  if (!sendable_code(code)) return {};
  std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  std::string_view text = reason.substr(0, kMaxControl - 2);
  while (!text.empty() && !is_utf8(text)) text.remove_suffix(1);  // Cut inside a character.
  return payload.append(text);
}

class WebSocketSession final : public WebSocket, public std::enable_shared_from_this<WebSocketSession> {
 public:
  WebSocketSession(std::shared_ptr<RawStream> stream, WebSocketRole role, std::string subprotocol)
      : stream_(std::move(stream)), role_(role), subprotocol_(std::move(subprotocol)) {}
  ~WebSocketSession() override { stream_->finish(); }

  void attach();

  const std::string& subprotocol() const override { return subprotocol_; }
  bool send(MessageKind kind, std::string_view payload) override;
  std::size_t backlog() const override { return stream_->backlog(); }
  void on_drained(std::function<void()> drained) override { stream_->on_drained(std::move(drained)); }
  void on_message(std::function<void(MessageKind, std::string_view)> message) override;
  void pause(bool paused) override;
  void on_closed(std::function<void(int code, std::string_view reason)> closed) override;
  void close(int code, std::string_view reason) override;

 private:
  // Loop thread.
  void input(std::string_view bytes);
  void process();
  bool take_frame(Frame frame);
  bool take_data(Frame frame);
  void take_close(const std::string& payload);
  void fail(int code, std::string_view reason);
  void closed();

  bool send_frame(std::uint8_t opcode, std::string_view payload);
  void record_close(int code, std::string_view reason);

  const std::shared_ptr<RawStream> stream_;
  const WebSocketRole role_;
  const std::string subprotocol_;

  // Loop thread only.
  std::string buffer_;
  std::string message_;
  std::uint8_t message_opcode_ = 0;
  bool processing_ = false;
  bool over_ = false;  // No frame is read any more.

  std::mutex mutex_;
  std::function<void(MessageKind, std::string_view)> on_message_;
  std::function<void(int, std::string_view)> on_closed_;
  bool paused_ = false;
  bool close_sent_ = false;
  bool closed_ = false;
  bool recorded_ = false;
  int code_ = kAbnormal;
  std::string reason_;
};

void WebSocketSession::attach() {
  stream_->on_data([weak = weak_from_this()](std::string_view bytes) {
    if (const auto self = weak.lock()) self->input(bytes);
  });
  stream_->on_closed([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->closed();
  });
}

bool WebSocketSession::send_frame(std::uint8_t opcode, std::string_view payload) {
  // Under the lock, so that nothing follows a close frame.
  const std::lock_guard lock(mutex_);
  if (close_sent_ || closed_) return false;
  close_sent_ = opcode == kClose;
  return stream_->write(
      std::make_shared<const std::string>(make_frame(opcode, payload, role_ == WebSocketRole::Client)));
}

bool WebSocketSession::send(MessageKind kind, std::string_view payload) {
  return send_frame(kind == MessageKind::Text ? kText : kBinary, payload);
}

void WebSocketSession::on_message(std::function<void(MessageKind, std::string_view)> message) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    std::swap(on_message_, message);
  }
  stream_->post([self = shared_from_this()] { self->process(); });
}

void WebSocketSession::pause(bool paused) {
  {
    const std::lock_guard lock(mutex_);
    paused_ = paused;
  }
  stream_->pause(paused);
  if (!paused) stream_->post([self = shared_from_this()] { self->process(); });
}

void WebSocketSession::on_closed(std::function<void(int, std::string_view)> closed) {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) {
      std::swap(on_closed_, closed);
      return;
    }
  }
  if (closed) closed(code_, reason_);
}

void WebSocketSession::record_close(int code, std::string_view reason) {
  const std::lock_guard lock(mutex_);
  if (std::exchange(recorded_, true)) return;
  code_ = code;
  reason_ = reason;
}

void WebSocketSession::close(int code, std::string_view reason) {
  if (send_frame(kClose, close_payload(code, reason))) stream_->close_soon();
}

void WebSocketSession::input(std::string_view bytes) {
  if (over_) return;
  if (bytes.empty()) {
    over_ = true;
    stream_->finish();
    return;
  }
  buffer_.append(bytes);
  process();
}

void WebSocketSession::process() {
  if (processing_) return;
  processing_ = true;
  std::string_view rest = buffer_;
  while (!over_) {
    {
      const std::lock_guard lock(mutex_);
      if (paused_ || !on_message_) break;
    }
    Frame frame;
    const Parsed parsed = parse_frame(rest, role_ == WebSocketRole::Server, frame);
    if (parsed == Parsed::More) break;
    if (parsed == Parsed::Malformed) {
      fail(1002, "protocol error");
    } else if (parsed == Parsed::TooLarge) {
      fail(1009, "message too large");
    } else if (!take_frame(std::move(frame))) {
      break;
    }
  }
  buffer_.erase(0, buffer_.size() - rest.size());
  if (over_) buffer_.clear();
  if (buffer_.empty()) buffer_.shrink_to_fit();
  processing_ = false;
  bool waiting = false;
  {
    const std::lock_guard lock(mutex_);
    waiting = paused_ || (!on_message_ && !buffer_.empty());
  }
  if (!over_) stream_->pause(waiting);
}

bool WebSocketSession::take_frame(Frame frame) {
  switch (frame.opcode) {
    case kPing:
      if (stream_->backlog() <= kMaxPongBacklog) send_frame(kPong, frame.payload);
      return true;
    case kPong: return true;
    case kClose: take_close(frame.payload); return false;
    default: return take_data(std::move(frame));
  }
}

bool WebSocketSession::take_data(Frame frame) {
  const bool continues = frame.opcode == kContinuation;
  if (continues != (message_opcode_ != 0)) {
    fail(1002, "protocol error");
    return false;
  }
  if (message_.size() + frame.payload.size() > kMaxMessage) {
    fail(1009, "message too large");
    return false;
  }
  if (!continues) message_opcode_ = frame.opcode;
  message_ += frame.payload;
  if (!frame.final) return true;
  const std::string message = std::exchange(message_, {});
  const bool text = std::exchange(message_opcode_, std::uint8_t{0}) == kText;
  if (text && !is_utf8(message)) {
    fail(1007, "text is not UTF-8");
    return false;
  }
  std::function<void(MessageKind, std::string_view)> callback;
  {
    const std::lock_guard lock(mutex_);
    callback = on_message_;
  }
  if (callback) callback(text ? MessageKind::Text : MessageKind::Binary, message);
  return true;
}

void WebSocketSession::take_close(const std::string& payload) {
  int code = kNoStatus;
  const std::string_view reason = std::string_view(payload).substr(std::min<std::size_t>(2, payload.size()));
  if (!payload.empty()) {
    code = payload.size() < 2 ? 0 : static_cast<int>(big_endian(std::string_view(payload).substr(0, 2)));
    if (!sendable_code(code) || !is_utf8(reason)) return fail(1002, "protocol error");
  }
  record_close(code, reason);
  over_ = true;
  send_frame(kClose, close_payload(code, ""));
  stream_->finish();
}

void WebSocketSession::fail(int code, std::string_view reason) {
  record_close(code, reason);
  over_ = true;
  send_frame(kClose, close_payload(code, reason));
  stream_->finish();
}

void WebSocketSession::closed() {
  over_ = true;
  std::function<void(MessageKind, std::string_view)> message;
  std::function<void(int, std::string_view)> callback;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return;
    std::swap(message, on_message_);
    std::swap(callback, on_closed_);
  }
  if (callback) callback(code_, reason_);
}

}  // namespace

std::string websocket_accept(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::string digest(SHA_DIGEST_LENGTH, '\0');
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
       reinterpret_cast<unsigned char*>(digest.data()));
  return crypto::base64_encode(digest);
}

Result<WebSocketAnswer> answer_websocket(const Request& request, const std::vector<std::string>& subprotocols) {
  const Headers& headers = request.headers;
  const std::string_view key = headers.get("sec-websocket-key");
  const auto nonce = crypto::base64_decode(key);
  if (request.method != "GET" || !has_word(headers, "upgrade", "websocket") ||
      !has_word(headers, "connection", "upgrade") || !nonce || nonce->size() != 16) {
    return Error(Reason::BadRequest, "the request is not a WebSocket handshake");
  }
  if (headers.get("sec-websocket-version") != "13") {
    return Error(Reason::BadRequest, "only version 13 of the WebSocket protocol is supported");
  }
  WebSocketAnswer answer;
  answer.headers.add("upgrade", "websocket");
  answer.headers.add("connection", "Upgrade");
  answer.headers.add("sec-websocket-accept", websocket_accept(key));
  if (subprotocols.empty()) return answer;
  for (std::string_view offered : headers.all("sec-websocket-protocol")) {
    while (!offered.empty()) {
      const std::size_t end = std::min(offered.find(','), offered.size());
      const std::string_view name = trim(offered.substr(0, end));
      offered.remove_prefix(std::min(end + 1, offered.size()));
      if (std::ranges::find(subprotocols, name) == subprotocols.end()) continue;
      answer.subprotocol = name;
      answer.headers.add("sec-websocket-protocol", name);
      return answer;
    }
  }
  return Error(Reason::BadRequest, "none of the offered WebSocket subprotocols is supported");
}

std::shared_ptr<WebSocket> make_websocket(std::shared_ptr<RawStream> stream, WebSocketRole role,
                                          std::string subprotocol) {
  auto session = std::make_shared<WebSocketSession>(std::move(stream), role, std::move(subprotocol));
  session->attach();
  return session;
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
      ++i;
      continue;
    }
    const std::size_t length = byte >= 0xf0 ? 4 : (byte >= 0xe0 ? 3 : 2);
    if (byte < 0xc2 || byte > 0xf4 || text.size() - i < length) return false;
    std::uint32_t point = byte & (0x7fU >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0U) != 0x80U) return false;
      point = point << 6U | (next & 0x3fU);
    }
    const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    if (overlong || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
    i += length;
  }
  return true;
}

}  // namespace kubernel::net
