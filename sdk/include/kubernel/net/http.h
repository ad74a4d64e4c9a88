// SPDX-License-Identifier: Apache-2.0
//
// HTTP messages, and the server side of one request.
//
// libkubernel-net speaks HTTP/1.1 and HTTP/2 over TLS (ALPN) or plain sockets. Its event loop, nghttp2 and OpenSSL stay
// inside it; what a handler sees is this: a request whose head is complete (and whose body, when it is small), and an
// Exchange it answers on. A handler runs on the blocking executor. A response that outlives the handler (a watch, a
// log) is a ResponseStream that any thread may write to.
//
// Callbacks of streams run on an I/O thread with no lock held, or on the caller's thread when what they are told has
// happened already. They must not block. They are dropped when the stream is closed, so a callback may hold its own
// stream.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kubernel/base/context.h>
#include <kubernel/base/export.h>
#include <kubernel/base/result.h>

namespace kubernel::net {

/// Header fields in order; names are compared without case and kept in lower case.
class KUBERNEL_EXPORT Headers {
 public:
  void add(std::string_view name, std::string_view value);
  void set(std::string_view name, std::string_view value);
  void remove(std::string_view name);
  /// The first value, or "".
  std::string_view get(std::string_view name) const noexcept;
  std::vector<std::string_view> all(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& fields() const noexcept { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

/// The identity a client proved in the TLS handshake.
struct PeerCertificate {
  std::string common_name;
  std::vector<std::string> organizations;
  std::string pem;
};

struct Request {
  std::string method;      ///< Upper case.
  std::string path;        ///< Percent-decoded, without the query; "." and ".." segments are refused with 400.
  std::string raw_target;  ///< As sent: "/api/v1/pods?watch=1".
  std::vector<std::pair<std::string, std::string>> query;  ///< Decoded, in order, repeated names kept.
  Headers headers;
  std::string peer_address;  ///< "127.0.0.1:40312".
  std::optional<PeerCertificate>
      peer_certificate;  ///< Present only when it was verified against the server's client CAs.
  bool http2 = false;

  /// The first value of a query parameter; absent when it was not given.
  KUBERNEL_EXPORT std::optional<std::string_view> param(std::string_view name) const noexcept;
  KUBERNEL_EXPORT std::vector<std::string_view> params(std::string_view name) const;
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
};

/// Shared immutable bytes, written to many peers without a copy.
using Bytes = std::shared_ptr<const std::string>;

/// The body of a response that is still being written.
///
/// Threads: all members may be called concurrently; writes of one thread keep their order.
class ResponseStream {
 public:
  virtual ~ResponseStream() = default;  ///< Ends the body (cleanly) when finish() was not called.

  /// Queues bytes; never blocks. Headers and the first bytes are sent at once, nothing waits for a full buffer.
  /// Returns false when the peer is gone.
  virtual bool write(Bytes bytes) = 0;
  /// Bytes queued and not yet taken by the kernel: what a writer looks at to hold back.
  virtual std::size_t backlog() const = 0;
  /// Calls `drained` each time the backlog falls to zero after a write. Must not block.
  virtual void on_drained(std::function<void()> drained) = 0;
  /// Calls `closed` once when the peer has gone or finish() completed; at once when that has happened.
  virtual void on_closed(std::function<void()> closed) = 0;
  /// Ends the body: the last chunk or END_STREAM.
  virtual void finish() = 0;
  /// Breaks the connection or resets the stream: the peer sees an error, not an end.
  virtual void abort() = 0;
};

/// A raw two-way byte stream: an upgraded HTTP/1.1 connection, or a client connection after 101.
///
/// Threads: as ResponseStream. on_data is serialized.
class ByteStream {
 public:
  virtual ~ByteStream() = default;  ///< Closes it as close() does; no data is delivered any more.
  virtual bool write(Bytes bytes) = 0;
  virtual std::size_t backlog() const = 0;
  virtual void on_drained(std::function<void()> drained) = 0;
  /// Delivers what arrives, in order, on an I/O thread; must not block. An empty view is the end of the peer's data.
  /// Data that came before is kept and delivered at once. pause(true) stops reading from the peer, for back-pressure.
  virtual void on_data(std::function<void(std::string_view)> data) = 0;
  virtual void pause(bool paused) = 0;
  virtual void on_closed(std::function<void()> closed) = 0;
  /// Sends what is queued, then closes.
  virtual void close() = 0;
};

enum class MessageKind : std::uint8_t { Text, Binary };

/// RFC 6455, either side. Pings are answered, fragments joined, UTF-8 of text checked; messages are at most 16 MiB.
/// Nothing is read, not even a close, before on_message() is called. Threads: as ByteStream.
class WebSocket {
 public:
  virtual ~WebSocket() = default;
  virtual const std::string& subprotocol() const = 0;
  virtual bool send(MessageKind kind, std::string_view payload) = 0;
  virtual std::size_t backlog() const = 0;
  virtual void on_drained(std::function<void()> drained) = 0;
  virtual void on_message(std::function<void(MessageKind, std::string_view)> message) = 0;
  virtual void pause(bool paused) = 0;
  virtual void on_closed(std::function<void(int code, std::string_view reason)> closed) = 0;
  virtual void close(int code, std::string_view reason) = 0;
};

/// One request being served. Exactly one of respond, start_stream, accept_websocket and upgrade is called, once; a
/// handler that returns without is answered with 500 and a log line.
///
/// Threads: the handler's thread; a stream made here may go to any thread and outlive the Exchange.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual const Request& request() const = 0;
  /// Stops when the client goes away or the server shuts down; its deadline is the request's.
  virtual const CallContext& context() const = 0;

  /// Reads the whole body; blocks. Errors: RequestEntityTooLarge beyond `limit_bytes`, Timeout for a slow client,
  /// BadRequest when it broke off.
  virtual Result<std::string> read_body(std::size_t limit_bytes) = 0;

  virtual void respond(Response response) = 0;
  /// Sends the head now.
  virtual std::shared_ptr<ResponseStream> start_stream(int status, Headers headers) = 0;

  /// Errors: BadRequest when the request is no WebSocket handshake or offers none of `subprotocols` (empty list: any).
  virtual Result<std::shared_ptr<WebSocket>> accept_websocket(const std::vector<std::string>& subprotocols) = 0;
  /// Answers 101 with `headers` and hands over the connection (SPDY/3.1, tunnels). Errors: BadRequest over HTTP/2.
  virtual Result<std::shared_ptr<ByteStream>> upgrade(Headers headers) = 0;
};

using Handler = std::function<void(Exchange&)>;

}  // namespace kubernel::net
