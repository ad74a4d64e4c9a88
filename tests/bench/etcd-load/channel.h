// SPDX-License-Identifier: Apache-2.0
//
// Channel: calls of one connection to a gRPC server, on the caller's only thread. A load generator shares its machine
// with what it measures: it must cost little, and need not survive a server that goes away.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include <nghttp2/nghttp2.h>

namespace kubernel::bench {

/// Threads: one. Errors: the process ends with one line when the connection cannot be made or breaks.
class Channel {
 public:
  /// `message` comes for each whole message of the answer, `end` when there are no more, with what gRPC says went
  /// wrong, or nothing. Both may make calls.
  struct Receiver {
    virtual ~Receiver() = default;
    virtual void message(std::string_view bytes) = 0;
    virtual void end(const std::string& error) = 0;
  };

  /// `address`: host:port, IPv4.
  explicit Channel(const std::string& address);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  int fd() const { return fd_; }
  /// Sends one message; what comes back goes to `receiver`, which lives until its end() or the channel's end.
  /// `open`: more messages might follow, so that the server does not take this one for the last.
  void call(const std::string& path, std::string_view message, Receiver& receiver, bool open = false);
  /// The socket may be read.
  void read();
  /// Sends what calls left to be sent. To be called once all that could be read has been.
  void flush();

 private:
  struct Call;
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* self);
  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t stream, const std::uint8_t* data, std::size_t size,
                     void* self);
  static int on_close(nghttp2_session*, std::int32_t stream, std::uint32_t code, void* self);
  static ssize_t body(nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t size, std::uint32_t* flags,
                      nghttp2_data_source* source, void*);
  Call* find(std::int32_t stream) const;

  const std::string address_;
  int fd_ = -1;
  nghttp2_session* session_ = nullptr;
};

}  // namespace kubernel::bench
