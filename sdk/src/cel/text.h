// SPDX-License-Identifier: Apache-2.0
//
// Texts of numbers, times and strings as CEL writes and reads them.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <kubernel/cel/value.h>

namespace kubernel::cel {

// Go's shortest form: "1", "1.5", "1e+21".
std::string format_double(double value);
// RFC 3339 in UTC, as many digits of a second as are needed.
std::string format_timestamp(Timestamp time);
// "3600s", "0.5s".
std::string format_seconds(std::int64_t nanoseconds);
// With quotes and escapes.
std::string quote(std::string_view text);

// RFC 3339. Absent when malformed or outside the years 1 to 9999.
std::optional<Timestamp> parse_timestamp(std::string_view text);

// Code points. The text is valid UTF-8, or its bad bytes count as one each.
std::size_t count_points(std::string_view text);
std::optional<char32_t> take_point(std::string_view& text);
void append_point(std::string& out, char32_t point);
bool is_valid_utf8(std::string_view text);
// Where the code point number `index` begins; text.size() when there are just that many.
std::optional<std::size_t> offset_of_point(std::string_view text, std::size_t index);

// Days since 1970-01-01 of the proleptic Gregorian calendar, and back.
struct Date {
  std::int64_t year = 1970;
  int month = 1, day = 1;
};
std::int64_t days_of(Date date);
Date date_of(std::int64_t days);

inline constexpr Timestamp kFirstTimestamp{-62135596800, 0};
inline constexpr Timestamp kLastTimestamp{253402300799, 999'999'999};

}  // namespace kubernel::cel
