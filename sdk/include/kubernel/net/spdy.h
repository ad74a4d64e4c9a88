// SPDX-License-Identifier: Apache-2.0
//
// SPDY/3.1, the server's side: what kubectl speaks for exec, attach and port-forward when it does not use a WebSocket.
//
// An upgraded connection carries streams the client opens; their headers say what they are for ("streamtype": stdin,
// stdout, stderr, error, resize, data). There is no window per stream, as in the only clients there are: back-pressure
// is the connection's.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include <kubernel/base/export.h>
#include <kubernel/net/http.h>

namespace kubernel::net {

/// Threads: all members may be called concurrently. Callbacks come one at a time, on an I/O thread, or on the caller's
/// when what they are told has happened already; they must not block. They are dropped when the stream is closed.
class SpdyStream {
 public:
  virtual ~SpdyStream() = default;
  virtual std::uint32_t id() const = 0;
  virtual const Headers& headers() const = 0;
  /// Queues bytes; false when our half or the connection is closed.
  virtual bool write(std::string_view data) = 0;
  /// Ends our half.
  virtual void close_half() = 0;
  /// Delivers what the client sends, in order; an empty view is the end of its half. What came before is kept and
  /// delivered at once.
  virtual void on_data(std::function<void(std::string_view)> data) = 0;
  /// Calls `closed` once: both halves have ended, the stream was reset, or the connection is gone.
  virtual void on_closed(std::function<void()> closed) = 0;
  virtual void reset() = 0;
};

/// Threads: as SpdyStream.
class SpdyConnection {
 public:
  virtual ~SpdyConnection() = default;  ///< Closes the connection. Its streams may live on, closed.
  /// Calls `stream` for each stream the client opened, also for those opened before. Each has been accepted; reset()
  /// what is not wanted.
  virtual void on_stream(std::function<void(std::shared_ptr<SpdyStream>)> stream) = 0;
  virtual void on_closed(std::function<void()> closed) = 0;
  /// Of all streams together; as ByteStream.
  virtual std::size_t backlog() const = 0;
  virtual void on_drained(std::function<void()> drained) = 0;
  virtual void pause(bool paused) = 0;
  /// Sends what is queued, says GOAWAY and closes.
  virtual void close() = 0;
};

struct SpdyLimits {
  std::size_t max_streams = 1'000;           ///< Open at once; more are refused.
  std::size_t max_header_bytes = 64 * 1024;  ///< Of one stream, decompressed; more is a protocol error.
  std::size_t max_kept_bytes = 1024 * 1024;  ///< Waiting for somebody to call on_data(); then the client is held back.
};

/// Takes over a connection that answered 101 with "upgrade: SPDY/3.1" (and x-stream-protocol-version). A client that
/// breaks the protocol is disconnected.
[[nodiscard]] KUBERNEL_EXPORT std::shared_ptr<SpdyConnection> make_spdy_server(std::shared_ptr<ByteStream> stream,
                                                                               SpdyLimits limits = {});

/// A WebSocket whose binary messages are pieces of one byte stream: how kubectl carries SPDY for port-forward
/// (subprotocol "SPDY/3.1+portforward.k8s.io"); give the result to make_spdy_server(). Takes the socket over.
[[nodiscard]] KUBERNEL_EXPORT std::shared_ptr<ByteStream> make_byte_stream(std::shared_ptr<WebSocket> socket);

}  // namespace kubernel::net
