// SPDX-License-Identifier: Apache-2.0
#include "net/http_text.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

namespace kubernel::net {
namespace {

char lower_char(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char l = lower_char(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

bool is_token_char(char c) {
  if ((c >= '0' && c <= '9') || (lower_char(c) >= 'a' && lower_char(c) <= 'z')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// "." and ".." would name another resource than the one that was authorized, wherever the path is used next.
bool has_dot_segment(std::string_view path) {
  std::size_t begin = 0;
  while (begin <= path.size()) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    if (segment == "." || segment == "..") return true;
    begin = end + 1;
  }
  return false;
}

bool parse_query(std::string_view text, Request& request) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    auto name = percent_decode(pair.substr(0, equals), true);
    auto value = percent_decode(equals < pair.size() ? pair.substr(equals + 1) : std::string_view(), true);
    if (!name || !value) return false;
    request.query.emplace_back(*std::move(name), *std::move(value));
  }
  return true;
}

struct Phrase {
  int status;
  std::string_view text;
};

constexpr std::array kPhrases = {Phrase{100, "Continue"},
                                 Phrase{101, "Switching Protocols"},
                                 Phrase{200, "OK"},
                                 Phrase{201, "Created"},
                                 Phrase{202, "Accepted"},
                                 Phrase{204, "No Content"},
                                 Phrase{206, "Partial Content"},
                                 Phrase{301, "Moved Permanently"},
                                 Phrase{302, "Found"},
                                 Phrase{303, "See Other"},
                                 Phrase{304, "Not Modified"},
                                 Phrase{307, "Temporary Redirect"},
                                 Phrase{308, "Permanent Redirect"},
                                 Phrase{400, "Bad Request"},
                                 Phrase{401, "Unauthorized"},
                                 Phrase{403, "Forbidden"},
                                 Phrase{404, "Not Found"},
                                 Phrase{405, "Method Not Allowed"},
                                 Phrase{406, "Not Acceptable"},
                                 Phrase{408, "Request Timeout"},
                                 Phrase{409, "Conflict"},
                                 Phrase{410, "Gone"},
                                 Phrase{411, "Length Required"},
                                 Phrase{412, "Precondition Failed"},
                                 Phrase{413, "Request Entity Too Large"},
                                 Phrase{415, "Unsupported Media Type"},
                                 Phrase{416, "Requested Range Not Satisfiable"},
                                 Phrase{417, "Expectation Failed"},
                                 Phrase{422, "Unprocessable Entity"},
                                 Phrase{426, "Upgrade Required"},
                                 Phrase{429, "Too Many Requests"},
                                 Phrase{431, "Request Header Fields Too Large"},
                                 Phrase{500, "Internal Server Error"},
                                 Phrase{501, "Not Implemented"},
                                 Phrase{502, "Bad Gateway"},
                                 Phrase{503, "Service Unavailable"},
                                 Phrase{504, "Gateway Timeout"},
                                 Phrase{505, "HTTP Version Not Supported"}};

}  // namespace

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower_char);
  return out;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, [](char x, char y) { return lower_char(x) == lower_char(y); });
}

std::string_view trim(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_char);
}

bool is_field_value(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return c == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

bool has_word(const Headers& headers, std::string_view name, std::string_view word) {
  for (std::string_view value : headers.all(name)) {
    while (!value.empty()) {
      const std::size_t end = std::min(value.find(','), value.size());
      if (equal_ignoring_case(trim(value.substr(0, end)), word)) return true;
      value.remove_prefix(std::min(end + 1, value.size()));
    }
  }
  return false;
}

std::optional<std::uint64_t> parse_decimal(std::string_view text) {
  // 18 digits cannot overflow, and no body is that large.
  if (text.empty() || text.size() > 18) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

std::optional<std::string> percent_decode(std::string_view text, bool plus) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus) {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

bool parse_target(std::string_view target, Request& request) {
  for (const char c : target) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte == 0x7f) return false;
  }
  if (target == "*") {
    request.raw_target = request.path = "*";
    return true;
  }
  if (const std::size_t scheme = target.find("://"); scheme != std::string_view::npos && target.front() != '/') {
    const std::size_t slash = target.find('/', scheme + 3);
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  if (!target.starts_with('/')) return false;
  target = target.substr(0, target.find('#'));
  request.raw_target = target;
  const std::size_t question = std::min(target.find('?'), target.size());
  auto path = percent_decode(target.substr(0, question), false);
  if (!path || path->find('\0') != std::string::npos || has_dot_segment(*path)) return false;
  request.path = *std::move(path);
  return question == target.size() || parse_query(target.substr(question + 1), request);
}

std::string_view reason_phrase(int status) {
  const auto found = std::ranges::find(kPhrases, status, &Phrase::status);
  return found == kPhrases.end() ? std::string_view() : found->text;
}

std::string http_date(Clock::WallTime time) {
  static constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  const int size = std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                                 kDays[static_cast<std::size_t>(parts.tm_wday)], parts.tm_mday,
                                 kMonths[static_cast<std::size_t>(parts.tm_mon)], parts.tm_year + 1900, parts.tm_hour,
                                 parts.tm_min, parts.tm_sec);
  return {text.data(), static_cast<std::size_t>(size)};
}

bool is_connection_field(std::string_view lower_name) {
  return lower_name == "connection" || lower_name == "keep-alive" || lower_name == "transfer-encoding" ||
         lower_name == "upgrade" || lower_name == "proxy-connection";
}

Error status_error(int status, std::string_view body) {
  static constexpr std::array kReasons = {std::pair{400, Reason::BadRequest},
                                          std::pair{401, Reason::Unauthorized},
                                          std::pair{403, Reason::Forbidden},
                                          std::pair{404, Reason::NotFound},
                                          std::pair{405, Reason::MethodNotAllowed},
                                          std::pair{406, Reason::NotAcceptable},
                                          std::pair{409, Reason::Conflict},
                                          std::pair{410, Reason::Gone},
                                          std::pair{413, Reason::RequestEntityTooLarge},
                                          std::pair{415, Reason::UnsupportedMediaType},
                                          std::pair{422, Reason::Invalid},
                                          std::pair{429, Reason::TooManyRequests},
                                          std::pair{503, Reason::ServiceUnavailable},
                                          std::pair{504, Reason::Timeout}};
  Reason reason = status < 500 ? Reason::BadRequest : Reason::Internal;
  for (const auto& [code, named] : kReasons) {
    if (code == status) reason = named;
  }
  constexpr std::size_t kLongest = 1024;
  std::string message = "the server answered " + std::to_string(status);
  if (!reason_phrase(status).empty()) message += " " + std::string(reason_phrase(status));
  while (!body.empty() && (body.back() == '\n' || body.back() == '\r')) body.remove_suffix(1);
  if (!body.empty()) message += ": " + std::string(body.substr(0, kLongest));
  return {reason, std::move(message)};
}

}  // namespace kubernel::net
