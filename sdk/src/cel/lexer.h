// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <kubernel/base/result.h>

namespace kubernel::cel {

enum class TokenKind : std::uint8_t { End, Name, Int, Uint, Double, String, Bytes, Symbol };

struct Token {
  TokenKind kind = TokenKind::End;
  std::size_t offset = 0;
  std::string_view text;  // As written.
  std::string value;      // Of strings, bytes and `names` in back quotes: without quotes and escapes.
  bool quoted = false;    // A name in back quotes.
};

// Threads: none shares one. Lifetime: the text outlives it.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}
  Result<Token> next();

 private:
  void skip_blank();
  Token name();
  Result<Token> number();
  Result<Token> quoted_name();
  Result<Token> string_literal(std::size_t start, bool raw, bool bytes);
  Result<void> escape(std::string& out, bool bytes);
  Result<char32_t> digits(std::size_t count, unsigned base);
  Result<Token> symbol();
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  Error fail(std::size_t offset, const std::string& message) const;

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace kubernel::cel
