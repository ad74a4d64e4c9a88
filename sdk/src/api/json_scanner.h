// SPDX-License-Identifier: Apache-2.0
//
// The lexical half of our JSON reading: strict RFC 8259, with the error texts of Go's encoding/json, which API users
// know.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace kubernel::api::detail {

/// Nesting deeper than this is refused, so that no document can exhaust a thread's stack.
inline constexpr int kMaxJsonDepth = 512;

struct ScannedString {
  std::string_view raw;  ///< Between the quotes, as written.
  bool escaped = false;  ///< `raw` has escapes; unescape() makes the value.
};

struct ScannedNumber {
  std::string_view raw;
  bool integral = false;  ///< Fits int64 and was written without fraction and exponent.
  std::int64_t integer = 0;
  double number = 0;  ///< Set in either case.
};

/// Walks over one text. Each function that returns bool has noted the error when it returns false; nothing may be
/// called after that but error() and offset().
class JsonScanner {
 public:
  explicit JsonScanner(std::string_view text) noexcept
      : begin_(text.data()), at_(text.data()), end_(text.data() + text.size()) {}

  /// Skips white space; the next character, or '\0' at the end.
  char peek() noexcept {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
    return at_ != end_ ? *at_ : '\0';
  }
  /// Takes the character peek() showed.
  void advance() noexcept { ++at_; }
  bool at_end() noexcept { return peek() == '\0' && at_ == end_; }
  const char* position() const noexcept { return at_; }

  /// Precondition: peek() == '"'.
  bool string(ScannedString& out);
  /// Precondition: peek() is '-' or a digit.
  bool number(ScannedNumber& out);
  /// Precondition: peek() is the first character of `word`: true, false or null.
  bool literal(std::string_view word);
  /// Checks and skips one whole value.
  bool skip_value(int depth);

  /// Notes "invalid character 'x' <context>", or "unexpected end of JSON input" at the end of the text. Returns false.
  bool fail_at_character(std::string_view context);
  bool fail(std::string message);

  const std::string& error() const noexcept { return error_; }
  std::size_t offset() const noexcept { return static_cast<std::size_t>(at_ - begin_); }

 private:
  bool string_tail(ScannedString& out, const char* start);
  bool escape();
  bool digits(std::string_view context);
  bool skip_container(int depth, bool object);

  const char* begin_;
  const char* at_;
  const char* end_;
  std::string error_;
};

/// Appends the value of a string with escapes. A lone surrogate becomes U+FFFD, as in Go.
/// Precondition: JsonScanner::string() accepted it.
void unescape(std::string_view raw, std::string& out);

/// Length of the valid UTF-8 sequence at the start of `text`, 0 when there is none.
std::size_t utf8_sequence(std::string_view text) noexcept;

}  // namespace kubernel::api::detail
