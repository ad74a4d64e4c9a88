// SPDX-License-Identifier: Apache-2.0
//
// Server: HTTP/1.1, HTTP/2 and gRPC over TLS 1.2/1.3 on one or more sockets.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/export.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>
#include <kubernel/net/grpc.h>
#include <kubernel/net/http.h>

namespace kubernel::net {

/// PEM texts. A private key never appears in a log or an error.
struct TlsIdentity {
  std::string certificate_chain_pem;
  std::string private_key_pem;
};

struct ServerTls {
  TlsIdentity identity;
  std::string client_ca_pem;  ///< Certificates clients may prove; asked for, not required. Empty: not asked.
  /// Nobody gets through the handshake without a certificate of client_ca_pem.
  bool require_client_certificate = false;
};

struct Limits {
  std::size_t max_header_bytes = 64 * 1024;
  std::chrono::milliseconds header_timeout{
      10'000};  ///< From accept, or from the first byte of a later request, to a complete head.
  std::chrono::milliseconds body_idle_timeout{30'000};
  std::chrono::milliseconds idle_timeout{
      180'000};  ///< Without a request; also without progress of a response the peer does not read.
  std::size_t max_connections = 10'000;
  std::uint32_t max_concurrent_streams = 250;  ///< HTTP/2, per connection.
  std::uint32_t stream_window_bytes = 256 * 1024;
  std::uint32_t connection_window_bytes = 25 * 1024 * 1024;
};

struct ServerOptions {
  /// "127.0.0.1:6443", "[::1]:0", "0.0.0.0:6443"; port 0 lets the kernel choose.
  std::vector<std::string> listen;
  /// Listening sockets opened by someone else (systemd's LISTEN_FDS, or a parent that opened them in another
  /// network namespace). The server takes them over.
  std::vector<int> inherited_fds;
  std::unique_ptr<ServerTls> tls;  ///< Null: plain text, for loopback diagnostics and tests only.
  Limits limits;
  /// When set, HTTP/2 is gRPC's: calls go to these methods, and only HTTP/1.1 to the handler.
  std::shared_ptr<const GrpcMethods> grpc;
};

/// Lent for the server's life.
struct NetContext {
  Logger& log;
  Metrics& metrics;
  Clock& clock;
  Executor& blocking;
};

/// Threads: all members may be called concurrently. The I/O threads belong to libkubernel-net (one; two above four
/// cores), shared by all servers and clients of the process.
class KUBERNEL_EXPORT Server {
 public:
  virtual ~Server() = default;

  /// The addresses really bound, "127.0.0.1:43127", in the order of ServerOptions.
  virtual std::vector<std::string> addresses() const = 0;
  /// New handshakes use `identity` from now on; connections live on.
  virtual Result<void> replace_identity(const TlsIdentity& identity) = 0;
  /// Stops accepting, sends GOAWAY / Connection: close, lets requests finish until ctx.deadline, then breaks the rest.
  /// Returns when no handler runs and no stream is open.
  virtual void shutdown(const CallContext& ctx) = 0;
};

/// Errors: ServiceUnavailable "address 127.0.0.1:6443 is already in use", Invalid for unusable TLS material.
[[nodiscard]] KUBERNEL_EXPORT Result<std::unique_ptr<Server>> open_server(const NetContext& context,
                                                                          ServerOptions options, Handler handler);

}  // namespace kubernel::net
