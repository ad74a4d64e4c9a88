// SPDX-License-Identifier: Apache-2.0
//
// The API over HTTPS, for processes without an API server. Part of libkubernel-net.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <kubernel/base/export.h>
#include <kubernel/base/random.h>
#include <kubernel/client/client.h>
#include <kubernel/net/client.h>

namespace kubernel::client {

struct HttpApiOptions {
  std::string server;  ///< "https://127.0.0.1:6443", without a path or with one.
  /// The bearer token for the next request, or "" for none; asked each time, so that a file may be read anew when it
  /// changed.
  std::function<Result<std::string>(const CallContext&)> token;
  /// connect() with a user "system:serviceaccount:NAMESPACE:NAME" makes a client that acts as that account, with tokens
  /// asked of the API by the process's own credentials. Otherwise all clients act by the process's own credentials.
  bool service_account_tokens = false;
  std::string user_agent = "kubernel";
  std::chrono::milliseconds request_timeout{60'000};  ///< For calls whose context has no deadline; watches have none.
};

/// Speaks JSON. Watches ask for bookmarks and end in good order after five to ten minutes, as client-go's.
///
/// Lifetime: the context, `random` and `http` outlive the connector, and the connector its clients.
/// Threads: as Connector and ApiClient; a slow reader of a watch makes the server wait, nobody else.
[[nodiscard]] KUBERNEL_EXPORT std::unique_ptr<Connector> make_http_connector(const net::NetContext& context,
                                                                             Random& random, net::HttpClient& http,
                                                                             HttpApiOptions options);

/// A response of the API that says what went wrong (metav1.Status), as an Error; made up from the status code when the
/// body is none.
KUBERNEL_EXPORT Error read_status_error(int http_status, std::string_view body);

}  // namespace kubernel::client
