// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include <kubernel/base/result.h>
#include <kubernel/net/http.h>

namespace kubernel::apiserver {

/// `text` in the gzip format.
std::string gzip(std::string_view text);
/// The reverse of gzip(). Errors: BadRequest when `bytes` is no gzip stream.
Result<std::string> gunzip(std::string_view bytes);
/// Whether the client takes gzip as a content encoding.
bool accepts_gzip(const net::Request& request);

}  // namespace kubernel::apiserver
