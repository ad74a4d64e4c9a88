// SPDX-License-Identifier: Apache-2.0
//
// The encodings only this folder and the WebSocket handshake need.

#pragma once

#include <string>
#include <string_view>

#include <kubernel/base/result.h>
#include <kubernel/crypto/pki.h>

namespace kubernel::crypto {

/// Without padding, as in a JWS. Errors: Invalid.
Result<std::string> base64url_decode(std::string_view text);
/// The 32 raw bytes.
std::string sha256(std::string_view bytes);

}  // namespace kubernel::crypto
