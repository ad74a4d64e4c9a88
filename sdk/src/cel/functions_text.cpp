// SPDX-License-Identifier: Apache-2.0
//
// Strings: the standard functions, cel-go's string extensions (version 2) and Kubernetes' regular expressions.
// Positions count code points.

#include <re2/re2.h>

#include <limits>

#include "functions.h"
#include "text.h"

namespace kubernel::cel {
namespace {

std::string_view text(const Value& value) {
  return value.as_string();
}

Result<Value> contains(Args args) {
  return Value::boolean(text(args[0]).find(text(args[1])) != std::string_view::npos);
}

Result<Value> starts_with(Args args) {
  return Value::boolean(text(args[0]).starts_with(text(args[1])));
}

Result<Value> ends_with(Args args) {
  return Value::boolean(text(args[0]).ends_with(text(args[1])));
}

// RE2: time is linear in the text whatever the pattern.
Result<std::shared_ptr<const RE2>> compile(std::string_view pattern) {
  RE2::Options options;
  options.set_log_errors(false);
  auto out = std::make_shared<const RE2>(re2::StringPiece(pattern.data(), pattern.size()), options);
  if (!out->ok()) return problem("error parsing regexp: " + out->error());
  return out;
}

Result<Value> matches(Args args) {
  KUBERNEL_TRY(const auto pattern, compile(text(args[1])));
  return Value::boolean(RE2::PartialMatch(re2::StringPiece(text(args[0]).data(), text(args[0]).size()), *pattern));
}

std::vector<Value> find_up_to(std::string_view in, const RE2& pattern, std::int64_t limit) {
  std::vector<Value> out;
  const re2::StringPiece piece(in.data(), in.size());
  std::size_t at = 0;
  re2::StringPiece found;
  while (at <= in.size() && static_cast<std::int64_t>(out.size()) < limit &&
         pattern.Match(piece, at, in.size(), RE2::UNANCHORED, &found, 1)) {
    out.push_back(Value::string(std::string(found.data(), found.size())));
    const auto end = static_cast<std::size_t>(found.data() - in.data()) + found.size();
    std::string_view rest = in.substr(end);
    if (found.empty()) static_cast<void>(take_point(rest));
    at = found.empty() && rest.empty() && end == in.size() ? in.size() + 1 : in.size() - rest.size();
  }
  return out;
}

Result<Value> find(Args args) {
  KUBERNEL_TRY(const auto pattern, compile(text(args[1])));
  const auto found = find_up_to(text(args[0]), *pattern, 1);
  return found.empty() ? Value::string("") : found.front();
}

Result<Value> find_all(Args args) {
  KUBERNEL_TRY(const auto pattern, compile(text(args[1])));
  const std::int64_t limit =
      args.size() > 2 && args[2].as_int() >= 0 ? args[2].as_int() : std::numeric_limits<std::int64_t>::max();
  return Value::list(find_up_to(text(args[0]), *pattern, limit));
}

// An index beyond the end.
Error out_of_range(std::int64_t index) {
  return problem("index out of range: " + std::to_string(index));
}

Result<std::size_t> offset(std::string_view in, std::int64_t index) {
  if (index < 0) return out_of_range(index);
  const auto at = offset_of_point(in, static_cast<std::size_t>(index));
  if (!at) return out_of_range(index);
  return *at;
}

Result<Value> char_at(Args args) {
  KUBERNEL_TRY(const std::size_t at, offset(text(args[0]), args[1].as_int()));
  std::string_view rest = text(args[0]).substr(at);
  const std::size_t before = rest.size();
  if (!take_point(rest)) return Value::string("");
  return Value::string(std::string(text(args[0]).substr(at, before - rest.size())));
}

Result<Value> index_of(Args args) {
  const std::string_view in = text(args[0]);
  std::size_t from = 0;
  if (args.size() > 2) {
    KUBERNEL_TRY(from, offset(in, args[2].as_int()));
  }
  const std::size_t found = in.find(text(args[1]), from);
  return Value::integer(found == std::string_view::npos ? -1
                                                        : static_cast<std::int64_t>(count_points(in.substr(0, found))));
}

Result<Value> last_index_of(Args args) {
  const std::string_view in = text(args[0]);
  std::size_t from = std::string_view::npos;
  if (args.size() > 2) {
    KUBERNEL_TRY(from, offset(in, args[2].as_int()));
  }
  const std::size_t found = in.rfind(text(args[1]), from);
  return Value::integer(found == std::string_view::npos ? -1
                                                        : static_cast<std::int64_t>(count_points(in.substr(0, found))));
}

template <char First, char Last, int Shift>
Result<Value> shift_case(Args args) {
  std::string out(text(args[0]));
  for (char& c : out) {
    if (c >= First && c <= Last) c = static_cast<char>(c + Shift);
  }
  return Value::string(std::move(out));
}

Result<Value> replace(Args args) {
  const std::string_view in = text(args[0]);
  const std::string_view old = text(args[1]);
  std::int64_t left = args.size() > 3 ? args[3].as_int() : -1;
  if (left < 0) left = std::numeric_limits<std::int64_t>::max();
  std::string out;
  std::size_t at = 0;
  while (left > 0) {
    const std::size_t found = in.find(old, at);
    if (found == std::string_view::npos) break;
    out.append(in, at, found - at).append(text(args[2]));
    if (out.size() > kMostBytes) return problem("replace: the result is too large");
    --left;
    at = found + old.size();
    if (!old.empty()) continue;
    // As in Go an empty text is found before each code point and at the end.
    std::string_view rest = in.substr(at);
    if (!take_point(rest)) break;
    out.append(in, at, in.size() - rest.size() - at);
    at = in.size() - rest.size();
  }
  if (at < in.size()) out.append(in, at);
  return Value::string(std::move(out));
}

Result<Value> split(Args args) {
  std::string_view in = text(args[0]);
  const std::string_view by = text(args[1]);
  std::int64_t left = args.size() > 2 ? args[2].as_int() : -1;
  std::vector<Value> out;
  if (left == 0) return Value::list(std::move(out));
  if (left < 0) left = std::numeric_limits<std::int64_t>::max();
  while (--left > 0) {
    std::size_t end = 0;
    if (by.empty()) {
      std::string_view rest = in;
      static_cast<void>(take_point(rest));
      end = rest.empty() ? std::string_view::npos : in.size() - rest.size();
    } else {
      end = in.find(by);
    }
    if (end == std::string_view::npos) break;
    out.push_back(Value::string(std::string(in.substr(0, end))));
    in.remove_prefix(end + by.size());
  }
  if (!by.empty() || !in.empty()) out.push_back(Value::string(std::string(in)));
  return Value::list(std::move(out));
}

Result<Value> join(Args args) {
  std::string out;
  for (std::size_t i = 0; i < args[0].size(); ++i) {
    const Value element = args[0].at(i);
    if (!element.is(Value::Kind::String)) return no_such_overload();
    if (i > 0 && args.size() > 1) out += text(args[1]);
    out += text(element);
    if (out.size() > kMostBytes) return problem("join: the result is too large");
  }
  return Value::string(std::move(out));
}

Result<Value> substring(Args args) {
  const std::string_view in = text(args[0]);
  KUBERNEL_TRY(const std::size_t from, offset(in, args[1].as_int()));
  std::size_t to = in.size();
  if (args.size() > 2) {
    KUBERNEL_TRY(to, offset(in, args[2].as_int()));
    if (from > to) {
      return problem("invalid substring range. start: " + std::to_string(args[1].as_int()) +
                     ", end: " + std::to_string(args[2].as_int()));
    }
  }
  return Value::string(std::string(in.substr(from, to - from)));
}

bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

Result<Value> trim(Args args) {
  const std::string_view in = text(args[0]);
  std::size_t first = in.size();
  std::size_t end = 0;
  for (std::string_view rest = in; !rest.empty();) {
    const std::size_t at = in.size() - rest.size();
    if (is_space(*take_point(rest))) continue;
    first = std::min(first, at);
    end = in.size() - rest.size();
  }
  return Value::string(first >= end ? std::string() : std::string(in.substr(first, end - first)));
}

Result<Value> quoted(Args args) {
  return Value::string(quote(text(args[0])));
}

constexpr FunctionRow kRows[] = {
    {"(string).contains(string) -> bool", contains},
    {"(string).startsWith(string) -> bool", starts_with},
    {"(string).endsWith(string) -> bool", ends_with},
    {"(string).matches(string) -> bool", matches},
    {"matches(string, string) -> bool", matches},
    {"(string).find(string) -> string", find},
    {"(string).findAll(string) -> list(string)", find_all},
    {"(string).findAll(string, int) -> list(string)", find_all},
    {"(string).charAt(int) -> string", char_at},
    {"(string).indexOf(string) -> int", index_of},
    {"(string).indexOf(string, int) -> int", index_of},
    {"(string).lastIndexOf(string) -> int", last_index_of},
    {"(string).lastIndexOf(string, int) -> int", last_index_of},
    {"(string).lowerAscii() -> string", shift_case<'A', 'Z', 32>},
    {"(string).upperAscii() -> string", shift_case<'a', 'z', -32>},
    {"(string).replace(string, string) -> string", replace},
    {"(string).replace(string, string, int) -> string", replace},
    {"(string).split(string) -> list(string)", split},
    {"(string).split(string, int) -> list(string)", split},
    {"(list(string)).join() -> string", join},
    {"(list(string)).join(string) -> string", join},
    {"(string).substring(int) -> string", substring},
    {"(string).substring(int, int) -> string", substring},
    {"(string).trim() -> string", trim},
    {"strings.quote(string) -> string", quoted},
};

}  // namespace

std::span<const FunctionRow> text_functions() {
  return kRows;
}

}  // namespace kubernel::cel
