// SPDX-License-Identifier: Apache-2.0
//
// size, type, dyn and the conversions (cel-spec, "Standard definitions").

#include <charconv>
#include <cmath>
#include <limits>

#include "functions.h"
#include "text.h"

namespace kubernel::cel {
namespace {

Result<Value> size_of(Args args) {
  if (args[0].is(Value::Kind::String))
    return Value::integer(static_cast<std::int64_t>(count_points(args[0].as_string())));
  return Value::integer(static_cast<std::int64_t>(args[0].size()));
}

Result<Value> same(Args args) {
  return args[0];
}

Result<Value> type_of(Args args) {
  return Value::type(std::string(args[0].type_name()));
}

Error conversion_error(const Value& from, std::string_view to) {
  return problem("type conversion error from '" + std::string(from.type_name()) + "' to '" + std::string(to) + "'");
}

// The whole text as a number.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  T out{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

Result<Value> int_of_uint(Args args) {
  if (args[0].as_uint() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    return problem("integer overflow");
  return Value::integer(static_cast<std::int64_t>(args[0].as_uint()));
}

// cel-go's bounds: what lies strictly between the limits.
Result<Value> int_of_double(Args args) {
  const double value = args[0].as_double();
  if (std::isnan(value) || value <= -9223372036854775808.0 || value >= 9223372036854775807.0)
    return problem("integer overflow");
  return Value::integer(static_cast<std::int64_t>(value));
}

Result<Value> int_of_string(Args args) {
  if (const auto value = parse_number<std::int64_t>(args[0].as_string())) return Value::integer(*value);
  return conversion_error(args[0], "int");
}

Result<Value> int_of_timestamp(Args args) {
  return Value::integer(args[0].as_timestamp().seconds);
}

Result<Value> uint_of_int(Args args) {
  if (args[0].as_int() < 0) return problem("unsigned integer overflow");
  return Value::uinteger(static_cast<std::uint64_t>(args[0].as_int()));
}

Result<Value> uint_of_double(Args args) {
  const double value = args[0].as_double();
  if (std::isnan(value) || value < 0 || value >= 18446744073709551615.0) return problem("unsigned integer overflow");
  return Value::uinteger(static_cast<std::uint64_t>(value));
}

Result<Value> uint_of_string(Args args) {
  if (const auto value = parse_number<std::uint64_t>(args[0].as_string())) return Value::uinteger(*value);
  return conversion_error(args[0], "uint");
}

Result<Value> double_of_int(Args args) {
  return Value::number(static_cast<double>(args[0].as_int()));
}

Result<Value> double_of_uint(Args args) {
  return Value::number(static_cast<double>(args[0].as_uint()));
}

Result<Value> double_of_string(Args args) {
  if (const auto value = parse_number<double>(args[0].as_string())) return Value::number(*value);
  return conversion_error(args[0], "double");
}

Result<Value> string_of_int(Args args) {
  return Value::string(std::to_string(args[0].as_int()));
}

Result<Value> string_of_uint(Args args) {
  return Value::string(std::to_string(args[0].as_uint()));
}

Result<Value> string_of_double(Args args) {
  return Value::string(format_double(args[0].as_double()));
}

Result<Value> string_of_bool(Args args) {
  return Value::string(args[0].as_bool() ? "true" : "false");
}

Result<Value> string_of_bytes(Args args) {
  if (!is_valid_utf8(args[0].as_string())) return problem("invalid UTF-8 in bytes, cannot convert to string");
  return Value::string(std::string(args[0].as_string()));
}

Result<Value> string_of_timestamp(Args args) {
  return Value::string(format_timestamp(args[0].as_timestamp()));
}

Result<Value> string_of_duration(Args args) {
  return Value::string(format_seconds(args[0].as_duration()));
}

Result<Value> bytes_of_string(Args args) {
  return Value::bytes(std::string(args[0].as_string()));
}

Result<Value> bool_of_string(Args args) {
  const std::string_view text = args[0].as_string();
  for (const std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == yes) return Value::boolean(true);
  }
  for (const std::string_view no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == no) return Value::boolean(false);
  }
  return conversion_error(args[0], "bool");
}

constexpr FunctionRow kRows[] = {
    {"size(string) -> int", size_of},
    {"size(bytes) -> int", size_of},
    {"size(list(A)) -> int", size_of},
    {"size(map(A, B)) -> int", size_of},
    {"(string).size() -> int", size_of},
    {"(bytes).size() -> int", size_of},
    {"(list(A)).size() -> int", size_of},
    {"(map(A, B)).size() -> int", size_of},
    {"type(A) -> type", type_of},
    {"dyn(A) -> dyn", same},
    {"int(int) -> int", same},
    {"int(uint) -> int", int_of_uint},
    {"int(double) -> int", int_of_double},
    {"int(string) -> int", int_of_string},
    {"int(timestamp) -> int", int_of_timestamp},
    {"uint(uint) -> uint", same},
    {"uint(int) -> uint", uint_of_int},
    {"uint(double) -> uint", uint_of_double},
    {"uint(string) -> uint", uint_of_string},
    {"double(double) -> double", same},
    {"double(int) -> double", double_of_int},
    {"double(uint) -> double", double_of_uint},
    {"double(string) -> double", double_of_string},
    {"string(string) -> string", same},
    {"string(int) -> string", string_of_int},
    {"string(uint) -> string", string_of_uint},
    {"string(double) -> string", string_of_double},
    {"string(bool) -> string", string_of_bool},
    {"string(bytes) -> string", string_of_bytes},
    {"string(timestamp) -> string", string_of_timestamp},
    {"string(duration) -> string", string_of_duration},
    {"bytes(bytes) -> bytes", same},
    {"bytes(string) -> bytes", bytes_of_string},
    {"bool(bool) -> bool", same},
    {"bool(string) -> bool", bool_of_string},
};

}  // namespace

std::span<const FunctionRow> core_functions() {
  return kRows;
}

}  // namespace kubernel::cel
