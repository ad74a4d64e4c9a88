// SPDX-License-Identifier: Apache-2.0
//
// Timestamps and durations.

#include <charconv>
#include <cmath>
#include <limits>

#include <kubernel/api/time.h>

#include "functions.h"
#include "text.h"

namespace kubernel::cel {

Result<std::int64_t> parse_go_duration(std::string_view text) {
  auto parsed = api::parse_duration(text);
  if (!parsed) return problem("invalid duration " + quote(text));
  return static_cast<std::int64_t>(parsed->count());
}

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kDay = 86400;

Result<Value> same(Args args) {
  return args[0];
}

Result<Value> duration_of_string(Args args) {
  KUBERNEL_TRY(const std::int64_t nanos, parse_go_duration(args[0].as_string()));
  return Value::duration(nanos);
}

Result<Value> timestamp_of_string(Args args) {
  return make_timestamp(args[0].as_string());
}

Result<Value> timestamp_of_int(Args args) {
  const Timestamp time{args[0].as_int(), 0};
  if (time < kFirstTimestamp || time > kLastTimestamp) return problem("timestamp overflow");
  return Value::timestamp(time);
}

// Seconds east of UTC of "UTC", "+02:00" or "02:00".
Result<std::int64_t> offset_of(std::string_view zone) {
  const Error unknown = problem("unknown time zone " + std::string(zone));
  if (zone.empty() || zone == "UTC" || zone == "Z") return std::int64_t{0};
  const bool west = zone.front() == '-';
  if (west || zone.front() == '+') zone.remove_prefix(1);
  int hours = 0;
  int minutes = 0;
  const char* end = zone.data() + zone.size();
  const auto first = std::from_chars(zone.data(), end, hours);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != ':') return unknown;
  const auto second = std::from_chars(first.ptr + 1, end, minutes);
  if (second.ec != std::errc() || second.ptr != end || hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
    return unknown;
  const std::int64_t seconds = (hours * 60 + minutes) * 60;
  return west ? -seconds : seconds;
}

struct Civil {
  Date date;
  std::int64_t days = 0;    // Since 1970.
  std::int64_t second = 0;  // Of the day.
  std::int32_t nanos = 0;
};

Result<Civil> civil_of(Args args) {
  std::int64_t offset = 0;
  if (args.size() > 1) {
    KUBERNEL_TRY(offset, offset_of(args[1].as_string()));
  }
  const Timestamp time = args[0].as_timestamp();
  const std::int64_t seconds = time.seconds + offset;
  Civil out;
  out.days = (seconds >= 0 ? seconds : seconds - (kDay - 1)) / kDay;
  out.second = seconds - out.days * kDay;
  out.date = date_of(out.days);
  out.nanos = time.nanos;
  return out;
}

template <std::int64_t (*Part)(const Civil&)>
Result<Value> part(Args args) {
  KUBERNEL_TRY(const Civil civil, civil_of(args));
  return Value::integer(Part(civil));
}

std::int64_t year(const Civil& c) {
  return c.date.year;
}
std::int64_t month(const Civil& c) {
  return c.date.month - 1;
}
std::int64_t day(const Civil& c) {
  return c.date.day - 1;
}
std::int64_t day_from_one(const Civil& c) {
  return c.date.day;
}
std::int64_t day_of_year(const Civil& c) {
  return c.days - days_of({c.date.year, 1, 1});
}
std::int64_t day_of_week(const Civil& c) {
  return ((c.days + 4) % 7 + 7) % 7;
}
std::int64_t hours(const Civil& c) {
  return c.second / 3600;
}
std::int64_t minutes(const Civil& c) {
  return c.second / 60 % 60;
}
std::int64_t seconds_part(const Civil& c) {
  return c.second % 60;
}
std::int64_t millis(const Civil& c) {
  return c.nanos / 1'000'000;
}

template <std::int64_t Unit>
Result<Value> whole(Args args) {
  return Value::integer(args[0].as_duration() / Unit);
}

constexpr FunctionRow kRows[] = {
    {"duration(duration) -> duration", same},
    {"duration(string) -> duration", duration_of_string},
    {"timestamp(timestamp) -> timestamp", same},
    {"timestamp(string) -> timestamp", timestamp_of_string},
    {"timestamp(int) -> timestamp", timestamp_of_int},
    {"(timestamp).getFullYear() -> int", part<year>},
    {"(timestamp).getFullYear(string) -> int", part<year>},
    {"(timestamp).getMonth() -> int", part<month>},
    {"(timestamp).getMonth(string) -> int", part<month>},
    {"(timestamp).getDayOfMonth() -> int", part<day>},
    {"(timestamp).getDayOfMonth(string) -> int", part<day>},
    {"(timestamp).getDate() -> int", part<day_from_one>},
    {"(timestamp).getDate(string) -> int", part<day_from_one>},
    {"(timestamp).getDayOfYear() -> int", part<day_of_year>},
    {"(timestamp).getDayOfYear(string) -> int", part<day_of_year>},
    {"(timestamp).getDayOfWeek() -> int", part<day_of_week>},
    {"(timestamp).getDayOfWeek(string) -> int", part<day_of_week>},
    {"(timestamp).getHours() -> int", part<hours>},
    {"(timestamp).getHours(string) -> int", part<hours>},
    {"(timestamp).getMinutes() -> int", part<minutes>},
    {"(timestamp).getMinutes(string) -> int", part<minutes>},
    {"(timestamp).getSeconds() -> int", part<seconds_part>},
    {"(timestamp).getSeconds(string) -> int", part<seconds_part>},
    {"(timestamp).getMilliseconds() -> int", part<millis>},
    {"(timestamp).getMilliseconds(string) -> int", part<millis>},
    {"(duration).getHours() -> int", whole<3600 * kSecond>},
    {"(duration).getMinutes() -> int", whole<60 * kSecond>},
    {"(duration).getSeconds() -> int", whole<kSecond>},
    {"(duration).getMilliseconds() -> int", whole<1'000'000>},
};

}  // namespace

Result<Value> make_timestamp(std::string_view text) {
  const auto time = parse_timestamp(text);
  if (!time) return problem("invalid timestamp " + quote(text));
  return Value::timestamp(*time);
}

std::span<const FunctionRow> time_functions() {
  return kRows;
}

}  // namespace kubernel::cel
