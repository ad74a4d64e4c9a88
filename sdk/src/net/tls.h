// SPDX-License-Identifier: Apache-2.0
//
// TLS contexts of servers and clients, and one connection's TLS state over a non-blocking socket.
//
// OpenSSL reads the socket itself (through a BIO that never raises SIGPIPE) and gives its buffers back when idle.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <openssl/ssl.h>

#include <kubernel/base/result.h>
#include <kubernel/net/client.h>
#include <kubernel/net/server.h>

namespace kubernel::net {

enum class IoStatus : std::uint8_t { Ok, Again, Eof, Failed };

struct IoResult {
  IoStatus status = IoStatus::Again;
  std::size_t size = 0;
};

/// Shared by all connections made while it was current.
using TlsContext = std::shared_ptr<SSL_CTX>;

/// Errors: Invalid, naming what cannot be used.
Result<TlsContext> make_server_context(const ServerTls& tls);
/// `tls` null: the system's roots. `http2`: offer it.
Result<TlsContext> make_client_context(const ClientTls* tls, bool http2);

class TlsSession {
 public:
  TlsSession(TlsContext context, int fd, bool server);
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;
  ~TlsSession();

  /// The name (or address) the server must prove; also sent as SNI when it is a name.
  bool expect_server(const std::string& name);

  IoStatus handshake();
  IoResult read(char* data, std::size_t size);
  IoResult write(const char* data, std::size_t size);
  /// Sends close_notify if it fits.
  void close();

  /// "h2", "http/1.1" or "".
  std::string_view alpn() const;
  /// The client's certificate when it was verified. Server side.
  std::optional<PeerCertificate> verified_peer() const;
  /// Why the last call returned Failed. Unauthorized when a certificate was not accepted.
  const Error& error() const { return error_; }
  /// The peer spoke plain HTTP.
  bool plain_http() const { return plain_http_; }

 private:
  IoStatus failed(int result, const char* what);

  TlsContext context_;  // Keeps the context of replace_identity() alive.
  SSL* ssl_;
  Error error_;
  bool plain_http_ = false;
  bool broken_ = false;
};

}  // namespace kubernel::net
