// SPDX-License-Identifier: Apache-2.0
//
// tunnel(): forwards an upgrade (exec, attach, port-forward) to another server, byte for byte.

#pragma once

#include <kubernel/base/export.h>
#include <kubernel/base/result.h>
#include <kubernel/net/client.h>
#include <kubernel/net/http.h>

namespace kubernel::net {

/// Sends `request` with the upgrade's headers of `exchange` (Connection, Upgrade, Sec-WebSocket-*,
/// X-Stream-Protocol-Version) added and answers the exchange with what comes back: a 101 with the backend's headers,
/// after which bytes flow both ways until either side closes, held back when the other side is slow; or any other
/// response, unchanged. Returns when the answer has been sent; the bytes flow on without a thread. `request` gives the
/// URL and what authenticates this process to the backend; nothing else of the client's request is passed on.
///
/// Precondition: `exchange` has not been answered; `client` was made by make_http_client().
/// Threads: blocks until the backend answers; a handler's thread.
/// Errors: BadRequest when the exchange asks for no upgrade; what HttpClient reports when the backend cannot be
/// reached. The exchange is then not answered. Lifetime: destroying the client or the server ends the tunnel.
[[nodiscard]] KUBERNEL_EXPORT Result<void> tunnel(Exchange& exchange, HttpClient& client, ClientRequest request);

}  // namespace kubernel::net
