// SPDX-License-Identifier: Apache-2.0
#include "api/json_scanner.h"

#include <charconv>
#include <system_error>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace kubernel::api::detail {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Skips what a string may hold literally and needs no further look: ASCII but quote, backslash and control characters.
const char* skip_plain(const char* at, const char* end) {
#if defined(__SSE2__)
  const __m128i quote = _mm_set1_epi8('"');
  const __m128i backslash = _mm_set1_epi8('\\');
  const __m128i space = _mm_set1_epi8(0x20);
  while (end - at >= 16) {
    const __m128i chunk = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    // Signed comparison: bytes from 0x80 on are negative, so they are found together with control characters.
    const __m128i special = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(chunk, quote), _mm_cmpeq_epi8(chunk, backslash)),
                                         _mm_cmplt_epi8(chunk, space));
    const int mask = _mm_movemask_epi8(special);
    if (mask != 0) return at + __builtin_ctz(static_cast<unsigned>(mask));
    at += 16;
  }
#endif
  while (at != end && static_cast<signed char>(*at) >= 0x20 && *at != '"' && *at != '\\') ++at;
  return at;
}

std::string in_quotes(char c) {
  if (c == '\'') return "'\\''";
  if (c == '"') return "'\"'";
  if (c == '\n') return "'\\n'";
  if (c == '\t') return "'\\t'";
  if (c == '\r') return "'\\r'";
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0x20 && byte < 0x7f) return {'\'', c, '\''};
  static constexpr char kHex[] = "0123456789abcdef";
  if (byte < 0x80) return {'\'', '\\', 'x', kHex[byte >> 4], kHex[byte & 15], '\''};
  // Go prints the byte as the code point of that number.
  return {'\'', static_cast<char>(0xc0 | byte >> 6), static_cast<char>(0x80 | (byte & 0x3f)), '\''};
}

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::uint32_t four_hex(std::string_view text) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 4 | static_cast<std::uint32_t>(hex_value(text[i]));
  return value;
}

void append_utf8(std::uint32_t code, std::string& out) {
  const auto put = [&](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  }
}

/// Decodes the \uXXXX at the start of `raw`, with its second half if it is a surrogate; returns how much was read.
std::size_t append_unicode_escape(std::string_view raw, std::string& out) {
  std::uint32_t code = four_hex(raw.substr(2));
  std::size_t used = 6;
  if (code >= 0xd800 && code < 0xe000) {
    const bool paired = code < 0xdc00 && raw.size() >= 12 && raw[6] == '\\' && raw[7] == 'u';
    const std::uint32_t low = paired ? four_hex(raw.substr(8)) : 0;
    if (low >= 0xdc00 && low < 0xe000) {
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      used = 12;
    } else {
      code = 0xfffd;
    }
  }
  append_utf8(code, out);
  return used;
}

}  // namespace

std::size_t utf8_sequence(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto tail = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xc0) == 0x80; };
  if (text.empty()) return 0;
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  if (!tail(1)) return 0;
  if (first < 0xe0) return 2;
  const unsigned second = byte(1);
  if (first < 0xf0) {
    // Neither overlong forms nor surrogates.
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f)) return 0;
    return tail(2) ? 3 : 0;
  }
  if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) return 0;
  return tail(2) && tail(3) ? 4 : 0;
}

bool JsonScanner::fail(std::string message) {
  error_ = std::move(message);
  return false;
}

bool JsonScanner::fail_at_character(std::string_view context) {
  if (at_ == end_) return fail("unexpected end of JSON input");
  return fail("invalid character " + in_quotes(*at_) + " " + std::string(context));
}

bool JsonScanner::string(ScannedString& out) {
  const char* const start = ++at_;
  at_ = skip_plain(at_, end_);
  if (at_ != end_ && *at_ == '"') {
    out = {{start, static_cast<std::size_t>(at_ - start)}, false};
    ++at_;
    return true;
  }
  return string_tail(out, start);
}

bool JsonScanner::string_tail(ScannedString& out, const char* start) {
  out.escaped = false;
  while (true) {
    at_ = skip_plain(at_, end_);
    if (at_ == end_) return fail_at_character("");
    if (*at_ == '"') break;
    if (*at_ == '\\') {
      out.escaped = true;
      if (!escape()) return false;
      continue;
    }
    if (static_cast<unsigned char>(*at_) < 0x20) return fail_at_character("in string literal");
    const std::size_t length = utf8_sequence({at_, static_cast<std::size_t>(end_ - at_)});
    if (length == 0) return fail("invalid UTF-8 in string literal");
    at_ += length;
  }
  out.raw = {start, static_cast<std::size_t>(at_ - start)};
  ++at_;
  return true;
}

bool JsonScanner::escape() {
  ++at_;
  if (at_ == end_) return fail_at_character("");
  if (*at_ != 'u') {
    if (std::string_view("\"\\/bfnrt").find(*at_) == std::string_view::npos) {
      return fail_at_character("in string escape code");
    }
    ++at_;
    return true;
  }
  ++at_;
  for (int i = 0; i < 4; ++i, ++at_) {
    if (at_ == end_ || hex_value(*at_) < 0) return fail_at_character("in \\u hexadecimal character escape");
  }
  return true;
}

bool JsonScanner::digits(std::string_view context) {
  if (at_ == end_ || !is_digit(*at_)) return fail_at_character(context);
  while (at_ != end_ && is_digit(*at_)) ++at_;
  return true;
}

bool JsonScanner::number(ScannedNumber& out) {
  const char* const start = at_;
  out = {};
  if (*at_ == '-') ++at_;
  if (at_ != end_ && *at_ == '0') {
    ++at_;
  } else if (!digits("in numeric literal")) {
    return false;
  }
  bool integral = true;
  if (at_ != end_ && *at_ == '.') {
    integral = false;
    ++at_;
    if (!digits("after decimal point in numeric literal")) return false;
  }
  if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
    integral = false;
    ++at_;
    if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
    if (!digits("in exponent of numeric literal")) return false;
  }
  out.raw = {start, static_cast<std::size_t>(at_ - start)};
  if (integral && std::from_chars(start, at_, out.integer).ec == std::errc()) {
    out.integral = true;
    out.number = static_cast<double>(out.integer);
    return true;
  }
  if (std::from_chars(start, at_, out.number).ec == std::errc::result_out_of_range) {
    return fail("json: cannot unmarshal number " + std::string(out.raw) + " into Go value of type float64");
  }
  return true;
}

bool JsonScanner::literal(std::string_view word) {
  for (const char expected : word) {
    if (at_ == end_ || *at_ != expected) {
      return fail_at_character("in literal " + std::string(word) + " (expecting '" + expected + "')");
    }
    ++at_;
  }
  return true;
}

bool JsonScanner::skip_value(int depth) {
  ScannedString text;
  ScannedNumber number_value;
  switch (const char c = peek()) {
    case '"': return string(text);
    case '{': return skip_container(depth, true);
    case '[': return skip_container(depth, false);
    case 't': return literal("true");
    case 'f': return literal("false");
    case 'n': return literal("null");
    default:
      if (c == '-' || is_digit(c)) return number(number_value);
      return fail_at_character("looking for beginning of value");
  }
}

bool JsonScanner::skip_container(int depth, bool object) {
  if (depth >= kMaxJsonDepth) return fail("exceeded max depth");
  const char close = object ? '}' : ']';
  advance();
  if (peek() == close) {
    advance();
    return true;
  }
  while (true) {
    if (object) {
      ScannedString key;
      if (peek() != '"') return fail_at_character("looking for beginning of object key string");
      if (!string(key)) return false;
      if (peek() != ':') return fail_at_character("after object key");
      advance();
    }
    if (!skip_value(depth + 1)) return false;
    const char next = peek();
    if (next != ',' && next != close) {
      return fail_at_character(object ? "after object key:value pair" : "after array element");
    }
    advance();
    if (next == close) return true;
  }
}

void unescape(std::string_view raw, std::string& out) {
  while (!raw.empty()) {
    const std::size_t plain = raw.find('\\');
    out.append(raw.substr(0, plain));
    if (plain == std::string_view::npos) return;
    raw.remove_prefix(plain);
    std::size_t used = 2;
    switch (raw[1]) {
      case 'b': out.push_back('\b'); break;
      case 'f': out.push_back('\f'); break;
      case 'n': out.push_back('\n'); break;
      case 'r': out.push_back('\r'); break;
      case 't': out.push_back('\t'); break;
      case 'u': used = append_unicode_escape(raw, out); break;
      default: out.push_back(raw[1]); break;
    }
    raw.remove_prefix(used);
  }
}

}  // namespace kubernel::api::detail
