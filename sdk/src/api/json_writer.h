// SPDX-License-Identifier: Apache-2.0
//
// Writing JSON as Go's encoding/json does: what the API puts on the wire and into the store.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace kubernel::api::detail {

/// Quotes and escapes; <, > and & become \u003c, \u003e and \u0026; a byte that is no UTF-8 becomes \ufffd.
void write_json_string(std::string_view text, std::string& out);
void write_json_integer(std::int64_t value, std::string& out);
/// The shortest text that reads back as the same value; an exponent below 1e-6 and from 1e21 on. Not finite: null.
void write_json_double(double value, std::string& out);
/// Compact; members in the document's order (sorted by name).
void write_json(const nlohmann::json& value, std::string& out);

}  // namespace kubernel::api::detail
