// SPDX-License-Identifier: Apache-2.0
//
// string.format of cel-go's string extensions.

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "functions.h"
#include "text.h"

namespace kubernel::cel {
namespace {

using Kind = Value::Kind;

Error wrong(const std::string& what) {
  return problem("error during formatting: " + what);
}

std::string special(double value) {
  return std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}

// %s of anything; what has no text of its own is an error.
Result<std::string> text_of(const Value& value) {
  switch (value.kind()) {
    case Kind::String:
    case Kind::Bytes:
    case Kind::Type: return std::string(value.as_string());
    case Kind::Uint: return std::to_string(value.as_uint());
    case Kind::Double:
      return std::isfinite(value.as_double()) ? format_double(value.as_double()) : special(value.as_double());
    case Kind::Timestamp: return format_timestamp(value.as_timestamp());
    case Kind::Duration: return format_seconds(value.as_duration());
    case Kind::Null:
    case Kind::Bool:
    case Kind::Int: return value.to_text();
    case Kind::List: {
      std::string out = "[";
      for (std::size_t i = 0; i < value.size(); ++i) {
        KUBERNEL_TRY(const std::string element, text_of(value.at(i)));
        out += (i == 0 ? "" : ", ") + element;
        if (out.size() > kMostBytes) return wrong("the result is too large");
      }
      return out + "]";
    }
    case Kind::Map: {
      std::vector<std::pair<std::string, Value>> entries;
      Result<void> outcome;
      value.each([&](const Value& key, const Value& entry) {
        auto written = text_of(key);
        if (written) entries.emplace_back(*std::move(written), entry);
        if (!written) outcome = std::move(written).error();
        return outcome.has_value();
      });
      KUBERNEL_CHECK_OK(std::move(outcome));
      std::ranges::sort(entries, {}, &std::pair<std::string, Value>::first);
      std::string out = "{";
      for (const auto& [key, entry] : entries) {
        KUBERNEL_TRY(const std::string written, text_of(entry));
        out += (out.size() == 1 ? "" : ", ") + key + ": " + written;
        if (out.size() > kMostBytes) return wrong("the result is too large");
      }
      return out + "}";
    }
    default:
      return wrong(
          "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and "
          "timestamps, was given " +
          std::string(value.type_name()));
  }
}

std::string in_base(std::uint64_t number, bool negative, int base) {
  std::array<char, 72> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, base).ptr;
  return (negative ? "-" : "") + std::string(buffer.data(), end);
}

// Absent when it is no whole number.
std::optional<std::string> integer_in_base(const Value& value, int base) {
  if (value.is(Kind::Uint)) return in_base(value.as_uint(), false, base);
  if (!value.is(Kind::Int)) return std::nullopt;
  const auto bits = static_cast<std::uint64_t>(value.as_int());
  return in_base(value.as_int() < 0 ? 0 - bits : bits, value.as_int() < 0, base);
}

Result<std::string> decimal(const Value& value) {
  if (auto digits = integer_in_base(value, 10)) return *std::move(digits);
  if (value.is(Kind::Double) && !std::isfinite(value.as_double())) return special(value.as_double());
  return wrong("decimal clause can only be used on integers, was given " + std::string(value.type_name()));
}

Result<std::string> hexadecimal(const Value& value, bool upper) {
  std::string out;
  if (auto digits = integer_in_base(value, 16)) {
    out = *std::move(digits);
  } else if (value.is(Kind::String) || value.is(Kind::Bytes)) {
    for (const char c : value.as_string()) {
      const auto byte = static_cast<unsigned char>(c);
      out += (byte < 16 ? "0" : "") + in_base(byte, false, 16);
    }
  } else {
    return wrong("only integers, byte buffers, and strings can be formatted as hex, was given " +
                 std::string(value.type_name()));
  }
  if (upper)
    std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

Result<std::string> fixed_point(const Value& value, std::chars_format form, int precision) {
  const double number = value.is(Kind::Double) ? value.as_double()
                        : value.is(Kind::Int)  ? static_cast<double>(value.as_int())
                        : value.is(Kind::Uint) ? static_cast<double>(value.as_uint())
                                               : std::numeric_limits<double>::quiet_NaN();
  if (!value.is(Kind::Double) && !value.is(Kind::Int) && !value.is(Kind::Uint)) {
    return wrong(std::string(form == std::chars_format::fixed ? "fixed-point" : "scientific") +
                 " clause can only be used on doubles, was given " + std::string(value.type_name()));
  }
  if (!std::isfinite(number)) return special(number);
  std::array<char, 512> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, form, precision).ptr;
  return std::string(buffer.data(), end);
}

Result<std::string> clause(char verb, int precision, const Value& value) {
  switch (verb) {
    case 's': return text_of(value);
    case 'd': return decimal(value);
    case 'f': return fixed_point(value, std::chars_format::fixed, precision);
    case 'e': return fixed_point(value, std::chars_format::scientific, precision);
    case 'x':
    case 'X': return hexadecimal(value, verb == 'X');
    case 'o':
      if (auto digits = integer_in_base(value, 8)) return *std::move(digits);
      return wrong("octal clause can only be used on integers, was given " + std::string(value.type_name()));
    case 'b':
      if (value.is(Kind::Bool)) return std::string(value.as_bool() ? "1" : "0");
      if (auto digits = integer_in_base(value, 2)) return *std::move(digits);
      return wrong("only integers and bools can be formatted as binary, was given " + std::string(value.type_name()));
    default:
      return problem(std::string("could not parse formatting clause: unrecognized formatting clause \"") + verb + "\"");
  }
}

// ".3" of "%.3f"; 6 when it is not there.
Result<int> take_precision(std::string_view& format) {
  constexpr int kDefault = 6;
  constexpr int kMost = 100;
  if (!format.starts_with('.')) return kDefault;
  format.remove_prefix(1);
  int out = 0;
  const auto [end, error] = std::from_chars(format.data(), format.data() + format.size(), out);
  if (error != std::errc() || out > kMost)
    return problem("could not parse formatting clause: error while parsing precision: invalid precision");
  format.remove_prefix(static_cast<std::size_t>(end - format.data()));
  return out;
}

Result<Value> format(Args args) {
  std::string_view rest = args[0].as_string();
  std::string out;
  for (std::size_t index = 0; !rest.empty();) {
    const std::size_t percent = rest.find('%');
    out += rest.substr(0, percent);
    if (percent == std::string_view::npos) break;
    rest.remove_prefix(percent + 1);
    if (rest.empty()) return problem("unexpected end of string");
    if (rest.front() == '%') {
      out += '%';
      rest.remove_prefix(1);
      continue;
    }
    if (index >= args[1].size()) return problem("index " + std::to_string(index) + " out of range");
    KUBERNEL_TRY(const int precision, take_precision(rest));
    if (rest.empty()) return problem("unexpected end of string");
    KUBERNEL_TRY(const std::string written, clause(rest.front(), precision, args[1].at(index++)));
    rest.remove_prefix(1);
    out += written;
    if (out.size() > kMostBytes) return wrong("the result is too large");
  }
  return Value::string(std::move(out));
}

constexpr FunctionRow kRows[] = {{"(string).format(list(dyn)) -> string", format}};

}  // namespace

std::span<const FunctionRow> format_functions() {
  return kRows;
}

}  // namespace kubernel::cel
