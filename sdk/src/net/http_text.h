// SPDX-License-Identifier: Apache-2.0
//
// The small grammars of HTTP: tokens, lists, targets, dates, status lines.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <kubernel/base/clock.h>
#include <kubernel/net/http.h>

namespace kubernel::net {

std::string lower(std::string_view text);
bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;
std::string_view trim(std::string_view text);

/// RFC 9110 5.6.2.
bool is_token(std::string_view text);
/// No control characters but the tab.
bool is_field_value(std::string_view text);
/// True when one of the comma-separated words of any field `name` is `word`, without case.
bool has_word(const Headers& headers, std::string_view name, std::string_view word);

/// Digits only, no sign, no overflow.
std::optional<std::uint64_t> parse_decimal(std::string_view text);

/// Absent for a broken escape. `plus`: '+' is a space, as in a query.
std::optional<std::string> percent_decode(std::string_view text, bool plus);

/// Fills path, raw_target and query from an origin-form, absolute-form or "*" target. False: answer 400.
bool parse_target(std::string_view target, Request& request);

/// "Not Found"; "" for a status without a name.
std::string_view reason_phrase(int status);
/// "Sun, 06 Nov 1994 08:49:37 GMT".
std::string http_date(Clock::WallTime time);

/// Fields that speak about the connection: never sent over HTTP/2, never set by a handler.
bool is_connection_field(std::string_view lower_name);

/// The error a client reports for a status it did not want.
Error status_error(int status, std::string_view body);

}  // namespace kubernel::net
