// SPDX-License-Identifier: Apache-2.0
//
// HttpClient: HTTP/1.1 and HTTP/2 requests with pooled connections, streaming responses and upgrades.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <kubernel/base/export.h>
#include <kubernel/net/http.h>
#include <kubernel/net/server.h>

namespace kubernel::net {

struct ClientTls {
  std::string ca_pem;                     ///< Trusted roots; empty: the system's.
  std::string server_name;                ///< Name to verify instead of the URL's host; empty: the URL's host.
  std::unique_ptr<TlsIdentity> identity;  ///< Client certificate; null: none.
  bool verify =
      true;  ///< False: whoever answers is taken for the server, for probes of it only. Nothing secret may be sent.
};

struct ClientOptions {
  std::unique_ptr<ClientTls> tls;  ///< Null: system roots for https:// URLs.
  bool http2 = true;               ///< Offer it by ALPN.
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds idle_timeout{90'000};
  std::size_t max_header_bytes = 64 * 1024;
};

struct ClientRequest {
  std::string method = "GET";
  std::string url;  ///< "https://host:port/path?query"; also "unix:///run/x.sock:/path".
  Headers headers;
  std::string body;
};

/// A response whose body arrives piece by piece. Threads: as ByteStream; destroy to abandon.
class ClientStream {
 public:
  virtual ~ClientStream() = default;
  virtual int status() const = 0;
  virtual const Headers& headers() const = 0;
  /// Delivers the body in order on an I/O thread; must not block. `error` is set once if the body broke off; an
  /// empty view without error is its end. What came before is delivered at once.
  virtual void on_data(std::function<void(std::string_view data, const Error* error)> data) = 0;
  virtual void pause(bool paused) = 0;
};

/// Threads: all members may be called concurrently. All block until a response head (or body) is there, so never call
/// them on an I/O thread.
///
/// Errors: ServiceUnavailable (cannot connect, connection lost before a response; says the address), Timeout
/// (ctx.deadline), Cancelled, Unauthorized for a certificate that does not verify (the message says why), BadRequest
/// for a malformed URL or response.
class KUBERNEL_EXPORT HttpClient {
 public:
  virtual ~HttpClient() = default;

  /// `limit_bytes`: RequestEntityTooLarge when the body is larger.
  virtual Result<Response> request(const CallContext& ctx, const ClientRequest& request, std::size_t limit_bytes) = 0;
  /// Returns when the response head is there.
  virtual Result<std::unique_ptr<ClientStream>> stream(const CallContext& ctx, const ClientRequest& request) = 0;
  /// HTTP/1.1 with Upgrade; the request's headers say to what. Error: the response's status as an Error when it is not
  /// 101.
  virtual Result<std::shared_ptr<ByteStream>> upgrade(const CallContext& ctx, const ClientRequest& request,
                                                      Headers* response_headers) = 0;
  virtual Result<std::shared_ptr<WebSocket>> websocket(const CallContext& ctx, const ClientRequest& request,
                                                       const std::vector<std::string>& subprotocols) = 0;
};

/// Errors: Invalid for unusable TLS material.
[[nodiscard]] KUBERNEL_EXPORT Result<std::unique_ptr<HttpClient>> make_http_client(const NetContext& context,
                                                                                   ClientOptions options);

}  // namespace kubernel::net
