// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/time.h>

#include <array>
#include <cstdint>
#include <cstdio>

namespace kubernel::api {
namespace {

using std::chrono::days;
using std::chrono::duration_cast;
using std::chrono::floor;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

std::string format_seconds(WallTime time) {
  const auto day = floor<days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(floor<seconds>(time - day));
  std::array<char, 40> out{};
  std::snprintf(out.data(), out.size(), "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return out.data();
}

// Reads exactly `count` digits at `at`; -1 when they are not digits.
int digits(std::string_view text, std::size_t at, std::size_t count) {
  if (at + count > text.size()) return -1;
  int out = 0;
  for (const char c : text.substr(at, count)) {
    if (c < '0' || c > '9') return -1;
    out = out * 10 + (c - '0');
  }
  return out;
}

// The fraction after the seconds, with its dot; advances `at`.
std::optional<nanoseconds> parse_fraction(std::string_view text, std::size_t& at) {
  if (at >= text.size() || text[at] != '.') return nanoseconds(0);
  std::int64_t value = 0;
  std::int64_t unit = 1'000'000'000;
  const std::size_t first = ++at;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    unit /= 10;  // Digits past the ninth add nothing.
    value += unit * (text[at] - '0');
  }
  if (at == first) return std::nullopt;
  return nanoseconds(value);
}

std::optional<seconds> parse_offset(std::string_view text, std::size_t at) {
  if (text.substr(at) == "Z" || text.substr(at) == "z") return seconds(0);
  if (text.size() != at + 6 || (text[at] != '+' && text[at] != '-') || text[at + 3] != ':') return std::nullopt;
  const int h = digits(text, at + 1, 2);
  const int m = digits(text, at + 4, 2);
  if (h < 0 || h > 23 || m < 0 || m > 59) return std::nullopt;
  const seconds offset = hours(h) + minutes(m);
  return text[at] == '+' ? offset : -offset;
}

std::optional<WallTime> parse(std::string_view text) {
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't')) return std::nullopt;
  if (text[13] != ':' || text[16] != ':') return std::nullopt;
  const int year = digits(text, 0, 4);
  const int month = digits(text, 5, 2);
  const int day = digits(text, 8, 2);
  const int hour = digits(text, 11, 2);
  const int minute = digits(text, 14, 2);
  const int second = digits(text, 17, 2);
  if (year < 0 || month < 1 || day < 1 || hour < 0 || minute < 0 || second < 0) return std::nullopt;
  if (hour > 23 || minute > 59 || second > 59) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)));
  if (!date.ok()) return std::nullopt;
  // system_clock counts nanoseconds in 64 bits here: 1678 to 2261.
  if (year < 1700 || year > 2260) return std::nullopt;

  std::size_t at = 19;
  const auto fraction = parse_fraction(text, at);
  if (!fraction || at >= text.size()) return std::nullopt;
  const auto offset = parse_offset(text, at);
  if (!offset) return std::nullopt;
  const auto whole = std::chrono::sys_days(date) + hours(hour) + minutes(minute) + seconds(second) - *offset;
  return WallTime(whole) + duration_cast<WallTime::duration>(*fraction);
}

// "1.5" for 1500 thousandths: Go trims trailing zeros of a duration's fraction.
std::string trimmed(std::int64_t whole, std::int64_t fraction, int width) {
  std::string out = std::to_string(whole);
  if (fraction == 0) return out;
  std::string tail = std::to_string(fraction);
  tail.insert(0, static_cast<std::size_t>(width) - tail.size(), '0');
  tail.erase(tail.find_last_not_of('0') + 1);
  return out + "." + tail;
}

struct DurationUnit {
  std::string_view name;
  double nanos;
};
constexpr std::array kUnits = {DurationUnit{"ns", 1},   DurationUnit{"us", 1e3},  DurationUnit{"µs", 1e3},
                               DurationUnit{"μs", 1e3}, DurationUnit{"ms", 1e6},  DurationUnit{"s", 1e9},
                               DurationUnit{"m", 60e9}, DurationUnit{"h", 3600e9}};

std::string with_rest(std::int64_t whole, const char* unit, std::int64_t rest, const char* rest_unit) {
  std::string out = std::to_string(whole) + unit;
  return rest == 0 ? out : out + std::to_string(rest) + rest_unit;
}

}  // namespace

std::string format_time(WallTime time) {
  return format_seconds(time) + "Z";
}

std::string format_micro_time(WallTime time) {
  const auto micros = floor<microseconds>(time - floor<seconds>(time)).count();
  std::array<char, 16> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%06dZ", static_cast<int>(micros));
  return format_seconds(time) + fraction.data();
}

Result<WallTime> parse_time(std::string_view text) {
  const auto parsed = parse(text);
  if (!parsed) return Error(Reason::Invalid, "parsing time \"" + std::string(text) + "\": not an RFC 3339 time");
  return *parsed;
}

std::optional<WallTime> read_time(Value value) {
  if (!value.is_string()) return std::nullopt;
  return parse(value.string());
}

std::string format_duration(nanoseconds duration) {
  const std::int64_t total = duration.count();
  if (total == 0) return "0s";
  const std::string sign = total < 0 ? "-" : "";
  const std::int64_t n = total < 0 ? -total : total;
  if (n < 1'000) return sign + std::to_string(n) + "ns";
  if (n < 1'000'000) return sign + trimmed(n / 1'000, n % 1'000, 3) + "µs";
  if (n < 1'000'000'000) return sign + trimmed(n / 1'000'000, n % 1'000'000, 6) + "ms";
  const std::int64_t s = n / 1'000'000'000;
  std::string out = sign;
  if (s >= 3600) out += std::to_string(s / 3600) + "h";
  if (s >= 60) out += std::to_string(s / 60 % 60) + "m";
  return out + trimmed(s % 60, n % 1'000'000'000, 9) + "s";
}

Result<nanoseconds> parse_duration(std::string_view text) {
  const Error invalid(Reason::Invalid, "time: invalid duration \"" + std::string(text) + "\"");
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return nanoseconds(0);
  if (rest.empty()) return invalid;

  double total = 0;
  while (!rest.empty()) {
    double number = 0;
    double place = 0;  // Zero before the dot, then 0.1, 0.01, …
    std::size_t used = 0;
    bool any = false;
    for (; used < rest.size(); ++used) {
      const char c = rest[used];
      if (c == '.' && place == 0) {
        place = 1;
        continue;
      }
      if (c < '0' || c > '9') break;
      any = true;
      if (place == 0) {
        number = number * 10 + (c - '0');
      } else {
        place /= 10;
        number += place * (c - '0');
      }
    }
    if (!any) return invalid;
    rest.remove_prefix(used);
    const DurationUnit* unit = nullptr;
    for (const DurationUnit& candidate : kUnits) {
      if (rest.starts_with(candidate.name) && (unit == nullptr || candidate.name.size() > unit->name.size())) {
        unit = &candidate;
      }
    }
    if (unit == nullptr) return invalid;
    rest.remove_prefix(unit->name.size());
    total += number * unit->nanos;
  }
  if (total > 9.2e18) return invalid;
  return nanoseconds(static_cast<std::int64_t>(negative ? -total - 0.5 : total + 0.5));
}

std::string human_duration(nanoseconds duration) {
  const std::int64_t s = duration_cast<seconds>(duration).count();
  if (s < -1) return "<invalid>";
  if (s < 0) return "0s";
  if (s < 120) return std::to_string(s) + "s";
  const std::int64_t m = s / 60;
  if (m < 10) return with_rest(m, "m", s % 60, "s");
  if (m < 180) return std::to_string(m) + "m";
  const std::int64_t h = m / 60;
  if (h < 8) return with_rest(h, "h", m % 60, "m");
  if (h < 48) return std::to_string(h) + "h";
  if (h < 24 * 8) return with_rest(h / 24, "d", h % 24, "h");
  if (h < 24 * 365 * 2) return std::to_string(h / 24) + "d";
  if (h < 24 * 365 * 8) return with_rest(h / 24 / 365, "y", h / 24 % 365, "d");
  return std::to_string(h / 24 / 365) + "y";
}

}  // namespace kubernel::api
