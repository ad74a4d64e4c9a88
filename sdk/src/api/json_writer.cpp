// SPDX-License-Identifier: Apache-2.0
#include "api/json_writer.h"

#include <array>
#include <charconv>
#include <cmath>

#include <nlohmann/json.hpp>

#include "api/json_scanner.h"

namespace kubernel::api::detail {
namespace {

constexpr char kHex[] = "0123456789abcdef";

constexpr std::array<bool, 256> make_plain() {
  std::array<bool, 256> plain{};
  for (int c = 0x20; c < 0x80; ++c) plain[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
  return plain;
}
constexpr std::array<bool, 256> kPlain = make_plain();

void write_ascii_escape(unsigned char c, std::string& out) {
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\b': out += "\\b"; return;
    case '\f': out += "\\f"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: break;
  }
  out += "\\u00";
  out.push_back(kHex[c >> 4]);
  out.push_back(kHex[c & 15]);
}

/// Writes the character at the start of `rest`, which is not plain; returns its length.
std::size_t write_special(std::string_view rest, std::string& out) {
  const auto c = static_cast<unsigned char>(rest.front());
  if (c < 0x80) {
    write_ascii_escape(c, out);
    return 1;
  }
  const std::size_t length = utf8_sequence(rest);
  if (length == 0) {
    out += "\\ufffd";
    return 1;
  }
  const std::string_view sequence = rest.substr(0, length);
  if (sequence == "\xe2\x80\xa8") {
    out += "\\u2028";  // Go escapes the two line separators that JavaScript does not allow in strings.
  } else if (sequence == "\xe2\x80\xa9") {
    out += "\\u2029";
  } else {
    out += sequence;
  }
  return length;
}

}  // namespace

void write_json_string(std::string_view text, std::string& out) {
  out.push_back('"');
  std::size_t start = 0;
  std::size_t i = 0;
  while (i < text.size()) {
    if (kPlain[static_cast<unsigned char>(text[i])]) {
      ++i;
      continue;
    }
    out.append(text, start, i - start);
    i += write_special(text.substr(i), out);
    start = i;
  }
  out.append(text, start);
  out.push_back('"');
}

void write_json_integer(std::int64_t value, std::string& out) {
  std::array<char, 24> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  out.append(buffer.data(), end);
}

void write_json_double(double value, std::string& out) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  const double magnitude = std::abs(value);
  const bool exponent = magnitude != 0 && (magnitude < 1e-6 || magnitude >= 1e21);
  std::array<char, 400> buffer;
  const auto format = exponent ? std::chars_format::scientific : std::chars_format::fixed;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format).ptr;
  std::string_view text(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  // Go writes e-7 where C++ writes e-07.
  const std::size_t size = text.size();
  if (exponent && size > 4 && text[size - 4] == 'e' && text[size - 3] == '-' && text[size - 2] == '0') {
    out.append(text.substr(0, size - 2));
    out.push_back(text.back());
    return;
  }
  out += text;
}

void write_json(const nlohmann::json& value, std::string& out) {
  using Type = nlohmann::json::value_t;
  switch (value.type()) {
    case Type::object: {
      char separator = '{';
      for (const auto& [key, member] : value.get_ref<const nlohmann::json::object_t&>()) {
        out.push_back(separator);
        separator = ',';
        write_json_string(key, out);
        out.push_back(':');
        write_json(member, out);
      }
      if (separator == '{') out.push_back('{');
      out.push_back('}');
      return;
    }
    case Type::array: {
      char separator = '[';
      for (const auto& element : value) {
        out.push_back(separator);
        separator = ',';
        write_json(element, out);
      }
      if (separator == '[') out.push_back('[');
      out.push_back(']');
      return;
    }
    case Type::string: write_json_string(value.get_ref<const std::string&>(), out); return;
    case Type::boolean: out += value.get<bool>() ? "true" : "false"; return;
    case Type::number_integer: write_json_integer(value.get<std::int64_t>(), out); return;
    case Type::number_unsigned: out += std::to_string(value.get<std::uint64_t>()); return;
    case Type::number_float: write_json_double(value.get<double>(), out); return;
    default: out += "null"; return;
  }
}

}  // namespace kubernel::api::detail
