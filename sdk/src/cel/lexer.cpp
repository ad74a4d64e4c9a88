// SPDX-License-Identifier: Apache-2.0

#include "lexer.h"

#include <array>
#include <cctype>

#include "ast.h"
#include "text.h"

namespace kubernel::cel {
namespace {

bool is_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}
bool is_hex(char c) {
  return std::isxdigit(static_cast<unsigned char>(c)) != 0;
}
bool begins_name(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_';
}

}  // namespace

Error Lexer::fail(std::size_t offset, const std::string& message) const {
  return error_at(text_, offset, "syntax error: " + message);
}

void Lexer::skip_blank() {
  for (;;) {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
    if (peek() != '/' || peek(1) != '/') return;
    while (at_ < text_.size() && text_[at_] != '\n') ++at_;
  }
}

Result<Token> Lexer::next() {
  skip_blank();
  const std::size_t start = at_;
  if (at_ >= text_.size()) return Token{TokenKind::End, at_, {}, {}, false};
  const char c = peek();
  // Prefixes r, b, rb, br in either case.
  std::size_t prefix = 0;
  bool raw = false;
  bool bytes = false;
  for (; prefix < 2; ++prefix) {
    const char p = static_cast<char>(std::tolower(static_cast<unsigned char>(peek(prefix))));
    if (p == 'r' && !raw) {
      raw = true;
    } else if (p == 'b' && !bytes) {
      bytes = true;
    } else {
      break;
    }
  }
  if (peek(prefix) == '"' || peek(prefix) == '\'') {
    at_ += prefix;
    return string_literal(start, raw, bytes);
  }
  if (begins_name(c)) return name();
  if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return number();
  if (c == '`') return quoted_name();
  return symbol();
}

Token Lexer::name() {
  const std::size_t start = at_;
  while (begins_name(peek()) || is_digit(peek())) ++at_;
  const std::string_view text = text_.substr(start, at_ - start);
  return {TokenKind::Name, start, text, std::string(text), false};
}

Result<Token> Lexer::quoted_name() {
  const std::size_t start = at_++;
  while (at_ < text_.size() && text_[at_] != '`' && text_[at_] != '\n') ++at_;
  if (peek() != '`' || at_ == start + 1) return fail(start, "unterminated `name`");
  ++at_;
  const std::string_view text = text_.substr(start, at_ - start);
  return Token{TokenKind::Name, start, text, std::string(text.substr(1, text.size() - 2)), true};
}

Result<Token> Lexer::number() {
  const std::size_t start = at_;
  TokenKind kind = TokenKind::Int;
  if (peek() == '0' && (peek(1) == 'x' || peek(1) == 'X') && is_hex(peek(2))) {
    at_ += 2;
    while (is_hex(peek())) ++at_;
  } else {
    while (is_digit(peek())) ++at_;
    if (peek() == '.' && is_digit(peek(1))) {
      kind = TokenKind::Double;
      ++at_;
      while (is_digit(peek())) ++at_;
    }
    const std::size_t sign = peek(1) == '+' || peek(1) == '-' ? 2 : 1;
    if ((peek() == 'e' || peek() == 'E') && is_digit(peek(sign))) {
      kind = TokenKind::Double;
      at_ += sign;
      while (is_digit(peek())) ++at_;
    }
  }
  const std::string_view text = text_.substr(start, at_ - start);
  if (kind == TokenKind::Int && (peek() == 'u' || peek() == 'U')) {
    kind = TokenKind::Uint;
    ++at_;
  }
  if (begins_name(peek()) || is_digit(peek())) return fail(start, "malformed number");
  return Token{kind, start, text, {}, false};
}

Result<Token> Lexer::string_literal(std::size_t start, bool raw, bool bytes) {
  const char quote = peek();
  const bool triple = peek(1) == quote && peek(2) == quote;
  at_ += triple ? 3 : 1;
  std::string out;
  for (;;) {
    if (at_ >= text_.size() || (!triple && (peek() == '\n' || peek() == '\r')))
      return fail(start, "unterminated string");
    if (peek() == quote && (!triple || (peek(1) == quote && peek(2) == quote))) break;
    if (peek() == '\\' && !raw) {
      KUBERNEL_CHECK_OK(escape(out, bytes));
    } else {
      out += text_[at_++];
    }
  }
  at_ += triple ? 3 : 1;
  return Token{bytes ? TokenKind::Bytes : TokenKind::String, start, text_.substr(start, at_ - start), std::move(out),
               false};
}

Result<char32_t> Lexer::digits(std::size_t count, unsigned base) {
  char32_t out = 0;
  for (std::size_t i = 0; i < count; ++i, ++at_) {
    const char c = peek();
    if (!is_hex(c) || (base == 8 && (c < '0' || c > '7'))) return fail(at_, "malformed escape sequence");
    const int digit = is_digit(c) ? c - '0' : std::tolower(static_cast<unsigned char>(c)) - 'a' + 10;
    out = out * base + static_cast<unsigned>(digit);
  }
  return out;
}

Result<void> Lexer::escape(std::string& out, bool bytes) {
  static constexpr std::array<std::pair<char, char>, 12> kSimple = {{{'a', '\a'},
                                                                     {'b', '\b'},
                                                                     {'f', '\f'},
                                                                     {'n', '\n'},
                                                                     {'r', '\r'},
                                                                     {'t', '\t'},
                                                                     {'v', '\v'},
                                                                     {'\\', '\\'},
                                                                     {'\'', '\''},
                                                                     {'"', '"'},
                                                                     {'`', '`'},
                                                                     {'?', '?'}}};
  const std::size_t start = at_;
  const char c = peek(1);
  at_ += 2;
  for (const auto& [name, meaning] : kSimple) {
    if (c != name) continue;
    out += meaning;
    return {};
  }
  char32_t point = 0;
  bool is_byte = false;
  if (c == 'x' || c == 'X') {
    KUBERNEL_TRY(point, digits(2, 16));
    is_byte = bytes;
  } else if (c >= '0' && c <= '3') {
    --at_;
    KUBERNEL_TRY(point, digits(3, 8));
    is_byte = bytes;
  } else if ((c == 'u' || c == 'U') && !bytes) {
    KUBERNEL_TRY(point, digits(c == 'u' ? 4 : 8, 16));
    if (point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return fail(start, "escape of what is no code point");
  } else {
    return fail(start, "unknown escape sequence");
  }
  if (is_byte) {
    out += static_cast<char>(static_cast<unsigned char>(point));
  } else {
    append_point(out, point);
  }
  return {};
}

Result<Token> Lexer::symbol() {
  static constexpr std::array<std::string_view, 6> kPairs = {"&&", "||", "==", "!=", "<=", ">="};
  const std::size_t start = at_;
  for (const std::string_view pair : kPairs) {
    if (text_.substr(at_, 2) != pair) continue;
    at_ += 2;
    return Token{TokenKind::Symbol, start, pair, {}, false};
  }
  if (std::string_view("()[]{}.,:?+-*/%!<>").find(peek()) == std::string_view::npos) {
    std::string_view rest = text_.substr(at_);
    static_cast<void>(take_point(rest));
    return fail(start, "token recognition error at: '" +
                           std::string(text_.substr(at_, text_.size() - at_ - rest.size())) + "'");
  }
  ++at_;
  return Token{TokenKind::Symbol, start, text_.substr(start, 1), {}, false};
}

}  // namespace kubernel::cel
