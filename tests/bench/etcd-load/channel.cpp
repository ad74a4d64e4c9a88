// SPDX-License-Identifier: Apache-2.0
#include "channel.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace kubernel::bench {
namespace {

constexpr std::size_t kPrefix = 5;                  // A byte for compression and four of the size.
constexpr std::int32_t kWindow = 64 * 1024 * 1024;  // The server is never to wait for us.

[[noreturn]] void fail(const std::string& address, const std::string& why) {
  std::fprintf(stderr, "etcd-load: %s: %s\n", address.c_str(), why.c_str());
  std::exit(1);
}

nghttp2_nv field(std::string_view name, std::string_view value) {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NONE};
}

int connect_to(const std::string& address) {
  const auto colon = address.rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  if (colon == std::string::npos || ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) != 1)
    fail(address, "is not an IPv4 address and a port");
  to.sin_port = htons(static_cast<std::uint16_t>(std::strtoul(address.c_str() + colon + 1, nullptr, 10)));
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
    fail(address, std::strerror(errno));
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

}  // namespace

struct Channel::Call {
  Receiver& receiver;
  std::string out;
  bool open = false;
  std::size_t sent = 0;
  std::string in;
  std::string status, text;  // grpc-status and grpc-message.

  // The messages that are whole.
  void deliver() {
    std::size_t at = 0;
    while (in.size() - at >= kPrefix) {
      std::uint32_t size = 0;
      std::memcpy(&size, in.data() + at + 1, sizeof size);
      size = ntohl(size);
      if (in.size() - at - kPrefix < size) break;
      receiver.message(std::string_view(in).substr(at + kPrefix, size));
      at += kPrefix + size;
    }
    in.erase(0, at);
  }
};

Channel::Channel(const std::string& address) : address_(address), fd_(connect_to(address)) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
  nghttp2_session_client_new(&session_, callbacks, this);
  nghttp2_session_callbacks_del(callbacks);
  const nghttp2_settings_entry window{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<std::uint32_t>(kWindow)};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, &window, 1);
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kWindow);
  flush();
}

Channel::~Channel() {
  nghttp2_session_del(session_);
  ::close(fd_);
}

void Channel::call(const std::string& path, std::string_view message, Receiver& receiver, bool open) {
  auto* call = new Call{receiver, {}, open, 0, {}, {}, {}};  // Its stream's, until on_close().
  const std::uint32_t size = htonl(static_cast<std::uint32_t>(message.size()));
  call->out.reserve(kPrefix + message.size());
  call->out.push_back('\0');
  call->out.append(reinterpret_cast<const char*>(&size), sizeof size);
  call->out.append(message);
  const std::array fields = {field(":method", "POST"),
                             field(":scheme", "http"),
                             field(":path", path),
                             field(":authority", address_),
                             field("content-type", "application/grpc"),
                             field("te", "trailers")};
  nghttp2_data_provider provider{};
  provider.source.ptr = call;
  provider.read_callback = body;
  if (nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), &provider, call) < 0)
    fail(address_, "the connection has no more streams");
}

ssize_t Channel::body(nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t size, std::uint32_t* flags,
                      nghttp2_data_source* source, void*) {
  auto& call = *static_cast<Call*>(source->ptr);
  const std::size_t part = std::min(size, call.out.size() - call.sent);
  if (part == 0 && call.open) return NGHTTP2_ERR_DEFERRED;
  std::memcpy(to, call.out.data() + call.sent, part);
  call.sent += part;
  if (call.sent == call.out.size() && !call.open) *flags = NGHTTP2_DATA_FLAG_EOF;
  return static_cast<ssize_t>(part);
}

Channel::Call* Channel::find(std::int32_t stream) const {
  return static_cast<Call*>(nghttp2_session_get_stream_user_data(session_, stream));
}

int Channel::on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* self) {
  Call* call = static_cast<Channel*>(self)->find(frame->hd.stream_id);
  if (call == nullptr) return 0;
  const std::string_view field(reinterpret_cast<const char*>(name), name_size);
  if (field == "grpc-status") call->status.assign(reinterpret_cast<const char*>(value), value_size);
  if (field == "grpc-message") call->text.assign(reinterpret_cast<const char*>(value), value_size);
  return 0;
}

int Channel::on_data(nghttp2_session*, std::uint8_t, std::int32_t stream, const std::uint8_t* data, std::size_t size,
                     void* self) {
  Call* call = static_cast<Channel*>(self)->find(stream);
  if (call == nullptr) return 0;
  call->in.append(reinterpret_cast<const char*>(data), size);
  call->deliver();
  return 0;
}

int Channel::on_close(nghttp2_session*, std::int32_t stream, std::uint32_t code, void* self) {
  Call* call = static_cast<Channel*>(self)->find(stream);
  if (call == nullptr) return 0;
  std::string error;
  if (code != NGHTTP2_NO_ERROR) {
    error = "the stream was reset";
  } else if (call->status != "0") {
    error = "status " + call->status + ": " + call->text;
  }
  call->receiver.end(error);
  delete call;
  return 0;
}

void Channel::read() {
  std::array<std::uint8_t, 64 * 1024> buffer;
  for (;;) {
    const ssize_t size = ::recv(fd_, buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) fail(address_, size == 0 ? "the server closed the connection" : std::strerror(errno));
    if (nghttp2_session_mem_recv(session_, buffer.data(), static_cast<std::size_t>(size)) < 0)
      fail(address_, "not HTTP/2");
    if (static_cast<std::size_t>(size) < buffer.size()) return;
  }
}

void Channel::flush() {
  std::string out;
  for (;;) {
    const std::uint8_t* part = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &part);
    if (size < 0) fail(address_, nghttp2_strerror(static_cast<int>(size)));
    if (size == 0) break;
    out.append(reinterpret_cast<const char*>(part), static_cast<std::size_t>(size));
  }
  for (std::string_view rest = out; !rest.empty();) {
    const ssize_t sent = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      rest.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      pollfd room{fd_, POLLOUT, 0};
      ::poll(&room, 1, -1);
    } else {
      fail(address_, std::strerror(errno));
    }
  }
}

}  // namespace kubernel::bench
