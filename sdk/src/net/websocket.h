// SPDX-License-Identifier: Apache-2.0
//
// WebSocket (RFC 6455) over a raw stream, either side.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include <kubernel/net/http.h>

#include "net/raw_stream.h"

namespace kubernel::net {

enum class WebSocketRole : std::uint8_t { Server, Client };

/// The response headers of an accepted handshake.
struct WebSocketAnswer {
  Headers headers;
  std::string subprotocol;
};

/// The first of the client's subprotocols that is in `subprotocols`. Errors: BadRequest.
Result<WebSocketAnswer> answer_websocket(const Request& request, const std::vector<std::string>& subprotocols);
/// Sec-WebSocket-Accept for a key.
std::string websocket_accept(std::string_view key);

/// Takes the stream over.
std::shared_ptr<WebSocket> make_websocket(std::shared_ptr<RawStream> stream, WebSocketRole role,
                                          std::string subprotocol);

/// Strict UTF-8: no surrogates, no overlong forms, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

}  // namespace kubernel::net
