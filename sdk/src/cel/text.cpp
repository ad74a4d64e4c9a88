// SPDX-License-Identifier: Apache-2.0

#include "text.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>

namespace kubernel::cel {
namespace {

// The length of the sequence a byte begins; 0 for none.
std::size_t sequence_length(unsigned char byte) {
  if (byte < 0x80) return 1;
  if (byte >= 0xC2 && byte <= 0xDF) return 2;
  if (byte >= 0xE0 && byte <= 0xEF) return 3;
  if (byte >= 0xF0 && byte <= 0xF4) return 4;
  return 0;
}

bool is_point(char32_t point, std::size_t length) {
  if (point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return false;
  return length == 1 || (length == 2 && point >= 0x80) || (length == 3 && point >= 0x800) ||
         (length == 4 && point >= 0x10000);
}

// Absent when the text does not begin with a well-formed sequence.
std::optional<char32_t> well_formed(std::string_view text, std::size_t& length) {
  const auto first = static_cast<unsigned char>(text.front());
  length = sequence_length(first);
  if (length == 0 || length > text.size()) return std::nullopt;
  if (length == 1) return first;
  char32_t point = first & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xC0U) != 0x80U) return std::nullopt;
    point = (point << 6) | (next & 0x3FU);
  }
  return is_point(point, length) ? std::optional(point) : std::nullopt;
}

// Exactly `digits` digits.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int out = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    out = out * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return out;
}

bool take(std::string_view& text, char wanted, char other = '\0') {
  if (text.empty() || (text.front() != wanted && (other == '\0' || text.front() != other))) return false;
  text.remove_prefix(1);
  return true;
}

// "Z" or "+hh:mm", in seconds.
std::optional<int> take_offset(std::string_view& text) {
  if (take(text, 'Z', 'z')) return 0;
  const bool west = !text.empty() && text.front() == '-';
  if (!take(text, '+', '-')) return std::nullopt;
  const auto hours = take_number(text, 2);
  if (!hours || *hours > 23 || !take(text, ':')) return std::nullopt;
  const auto minutes = take_number(text, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  const int seconds = (*hours * 60 + *minutes) * 60;
  return west ? -seconds : seconds;
}

std::optional<std::int32_t> take_fraction(std::string_view& text) {
  if (!take(text, '.', ',')) return 0;
  std::int32_t nanos = 0;
  std::int32_t unit = 100'000'000;
  std::size_t digits = 0;
  for (; !text.empty() && text.front() >= '0' && text.front() <= '9'; text.remove_prefix(1), ++digits) {
    nanos += unit * (text.front() - '0');
    unit /= 10;
  }
  return digits == 0 ? std::nullopt : std::optional(nanos);
}

std::string trimmed_fraction(std::int32_t nanos) {
  if (nanos == 0) return {};
  std::array<char, 16> buffer{};
  std::snprintf(buffer.data(), buffer.size(), ".%09d", nanos);
  std::string out = buffer.data();
  out.erase(out.find_last_not_of('0') + 1);
  return out;
}

}  // namespace

std::string format_double(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 400> buffer{};
  const double size = std::fabs(value);
  const auto form =
      value == 0 || (size >= 1e-4 && size < 1e21) ? std::chars_format::fixed : std::chars_format::scientific;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, form).ptr;
  return {buffer.data(), end};
}

std::int64_t days_of(Date date) {
  const std::chrono::year_month_day written{std::chrono::year(static_cast<int>(date.year)),
                                            std::chrono::month(static_cast<unsigned>(date.month)),
                                            std::chrono::day(static_cast<unsigned>(date.day))};
  return std::chrono::sys_days(written).time_since_epoch().count();
}

Date date_of(std::int64_t days) {
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(days))};
  return {static_cast<int>(date.year()), static_cast<int>(static_cast<unsigned>(date.month())),
          static_cast<int>(static_cast<unsigned>(date.day()))};
}

std::string format_timestamp(Timestamp time) {
  constexpr std::int64_t kDay = 86400;
  const std::int64_t days = (time.seconds >= 0 ? time.seconds : time.seconds - (kDay - 1)) / kDay;
  const auto rest = static_cast<int>(time.seconds - days * kDay);
  const Date date = date_of(days);
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%04d-%02d-%02dT%02d:%02d:%02d", static_cast<int>(date.year), date.month,
                date.day, rest / 3600, rest / 60 % 60, rest % 60);
  return buffer.data() + trimmed_fraction(time.nanos) + "Z";
}

std::string format_seconds(std::int64_t nanoseconds) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  const std::int64_t seconds = nanoseconds / kSecond;
  const auto nanos = static_cast<std::int32_t>(nanoseconds % kSecond);
  const std::string sign = nanoseconds < 0 && seconds == 0 ? "-" : "";
  return sign + std::to_string(seconds) + trimmed_fraction(nanos < 0 ? -nanos : nanos) + "s";
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '\a': out += "\\a"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\v': out += "\\v"; break;
      case '\\': out += "\\\\"; break;
      case '"': out += "\\\""; break;
      default: out += c;
    }
  }
  return out + '"';
}

std::optional<Timestamp> parse_timestamp(std::string_view text) {
  const auto year = take_number(text, 4);
  if (!year || *year == 0 || !take(text, '-')) return std::nullopt;
  const auto month = take_number(text, 2);
  if (!month || !take(text, '-')) return std::nullopt;
  const auto day = take_number(text, 2);
  if (!day || !take(text, 'T', 't')) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  const auto hour = take_number(text, 2);
  if (!date.ok() || !hour || *hour > 23 || !take(text, ':')) return std::nullopt;
  const auto minute = take_number(text, 2);
  if (!minute || *minute > 59 || !take(text, ':')) return std::nullopt;
  const auto second = take_number(text, 2);
  if (!second || *second > 59) return std::nullopt;
  const auto nanos = take_fraction(text);
  const auto offset = nanos ? take_offset(text) : std::nullopt;
  if (!offset || !text.empty()) return std::nullopt;
  const Timestamp out{days_of({*year, *month, *day}) * 86400 + *hour * 3600 + *minute * 60 + *second - *offset, *nanos};
  if (out < kFirstTimestamp || out > kLastTimestamp) return std::nullopt;
  return out;
}

std::optional<char32_t> take_point(std::string_view& text) {
  if (text.empty()) return std::nullopt;
  std::size_t length = 0;
  const auto point = well_formed(text, length);
  text.remove_prefix(point ? length : 1);
  return point ? *point : char32_t{0xFFFD};
}

std::size_t count_points(std::string_view text) {
  std::size_t count = 0;
  while (take_point(text)) ++count;
  return count;
}

std::optional<std::size_t> offset_of_point(std::string_view text, std::size_t index) {
  const std::size_t whole = text.size();
  for (std::size_t i = 0; i < index; ++i) {
    if (!take_point(text)) return std::nullopt;
  }
  return whole - text.size();
}

void append_point(std::string& out, char32_t point) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xC0 | (point >> 6));
    put(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    put(0xE0 | (point >> 12));
    put(0x80 | ((point >> 6) & 0x3F));
    put(0x80 | (point & 0x3F));
  } else {
    put(0xF0 | (point >> 18));
    put(0x80 | ((point >> 12) & 0x3F));
    put(0x80 | ((point >> 6) & 0x3F));
    put(0x80 | (point & 0x3F));
  }
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    std::size_t length = 0;
    if (!well_formed(text, length)) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace kubernel::cel
