// SPDX-License-Identifier: Apache-2.0
//
// Base64 as Go's encoding/base64 StdEncoding reads and writes it: the JSON form of bytes.

#pragma once

#include <string>
#include <string_view>

namespace kubernel::schema {

std::string base64_encode(std::string_view bytes);
/// Appends the bytes to `out`. Returns "" or Go's message about what is wrong.
std::string base64_decode(std::string_view text, std::string& out);

}  // namespace kubernel::schema
