// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/base/result.h>

namespace kubernel::schema {

/// Strict JSON without a schema, in the form decode_json() gives members that may be anything. Errors: BadRequest.
Result<nlohmann::json> parse_any_json(std::string_view text);

}  // namespace kubernel::schema
