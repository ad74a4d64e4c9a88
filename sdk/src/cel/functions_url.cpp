// SPDX-License-Identifier: Apache-2.0
//
// Kubernetes' URL library: absolute URIs and absolute paths, as Go's url.ParseRequestURI reads them.

#include <algorithm>
#include <cctype>
#include <map>

#include "functions.h"
#include "text.h"

namespace kubernel::cel {
namespace {

struct Url {
  std::string text, scheme, host, path, query;  // The host with its port; path and query as written.
};

class UrlValue final : public Opaque {
 public:
  explicit UrlValue(Url parsed) : url(std::move(parsed)) {}
  std::string_view type_name() const override { return "kubernetes.URL"; }
  bool equals(const Opaque& other) const override { return url.text == static_cast<const UrlValue&>(other).url.text; }

  const Url url;
};

const Url& url_of(const Value& value) {
  return static_cast<const UrlValue*>(value.as_opaque())->url;
}

bool is_scheme(std::string_view text) {
  return !text.empty() && std::isalpha(static_cast<unsigned char>(text.front())) != 0 &&
         std::ranges::all_of(text, [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '-' || c == '.';
         });
}

bool has_broken_escape(std::string_view text) {
  for (std::size_t at = text.find('%'); at != std::string_view::npos; at = text.find('%', at + 1)) {
    if (at + 2 >= text.size() || std::isxdigit(static_cast<unsigned char>(text[at + 1])) == 0 ||
        std::isxdigit(static_cast<unsigned char>(text[at + 2])) == 0) {
      return true;
    }
  }
  return false;
}

bool is_port(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// Where ":port" begins; npos without one.
std::size_t port_at(std::string_view host) {
  const std::size_t colon = host.rfind(':');
  return colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos ? colon
                                                                                            : std::string_view::npos;
}

bool is_host(std::string_view host) {
  if (host.find_first_of(" <>\"") != std::string_view::npos) return false;
  if (host.starts_with('[') && host.find(']') == std::string_view::npos) return false;
  const std::size_t colon = port_at(host);
  if (colon == std::string_view::npos) return true;
  const bool another = !host.starts_with('[') && host.substr(0, colon).find(':') != std::string_view::npos;
  return !another && is_port(host.substr(colon + 1));
}

Result<Url> parse_url(std::string_view text) {
  const Error malformed =
      problem("URL parse error during conversion from string: parse " + quote(text) + ": invalid URI for request");
  const bool control =
      std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
  if (text.empty() || control) return malformed;
  Url out{std::string(text), {}, {}, {}, {}};
  std::string_view rest = text;
  if (!rest.starts_with('/')) {
    const std::size_t colon = rest.find(':');
    if (colon == std::string_view::npos || !is_scheme(rest.substr(0, colon))) return malformed;
    out.scheme = rest.substr(0, colon);
    std::ranges::transform(out.scheme, out.scheme.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    rest.remove_prefix(colon + 1);
  }
  const std::size_t question = rest.find('?');
  if (question != std::string_view::npos) out.query = rest.substr(question + 1);
  rest = rest.substr(0, question);
  if (!out.scheme.empty() && rest.starts_with("//")) {
    const std::size_t slash = rest.find('/', 2);
    std::string_view authority = rest.substr(2, slash == std::string_view::npos ? slash : slash - 2);
    if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
    if (!is_host(authority)) return malformed;
    out.host = authority;
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash);
  } else if (!rest.starts_with('/') && !out.scheme.empty()) {
    return out;  // Opaque, as in "mailto:a@b".
  }
  if (has_broken_escape(rest)) return malformed;
  out.path = rest;
  return out;
}

std::string decoded(std::string_view text) {
  std::string out;
  const auto digit = [](char c) { return c <= '9' ? c - '0' : std::tolower(static_cast<unsigned char>(c)) - 'a' + 10; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::string escaped_path(std::string_view path) {
  static constexpr std::string_view kPlain = "-_.~$&+,/:;=@!'()*%";
  std::string out;
  for (const char c : path) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || kPlain.find(c) != std::string_view::npos) {
      out += c;
    } else {
      static constexpr std::string_view kHex = "0123456789ABCDEF";
      out += '%';
      out += kHex[static_cast<unsigned char>(c) >> 4U];
      out += kHex[static_cast<unsigned char>(c) & 15U];
    }
  }
  return out;
}

Result<Value> parse(Args args) {
  KUBERNEL_TRY(Url parsed, parse_url(args[0].as_string()));
  return Value::opaque(std::make_shared<const UrlValue>(std::move(parsed)));
}

Result<Value> is_url(Args args) {
  return Value::boolean(parse_url(args[0].as_string()).has_value());
}

Result<Value> scheme(Args args) {
  return Value::string(url_of(args[0]).scheme);
}

Result<Value> host(Args args) {
  return Value::string(url_of(args[0]).host);
}

Result<Value> hostname(Args args) {
  std::string_view name = url_of(args[0]).host;
  name = name.substr(0, port_at(name));
  if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
  return Value::string(std::string(name));
}

Result<Value> port(Args args) {
  const std::string_view name = url_of(args[0]).host;
  const std::size_t colon = port_at(name);
  return Value::string(colon == std::string_view::npos ? std::string() : std::string(name.substr(colon + 1)));
}

Result<Value> path(Args args) {
  return Value::string(escaped_path(url_of(args[0]).path));
}

// By name, in order; what is malformed is left out, as in Go.
Result<Value> query(Args args) {
  std::map<std::string, std::vector<Value>> values;
  std::string_view rest = url_of(args[0]).query;
  while (!rest.empty()) {
    const std::size_t end = rest.find('&');
    const std::string_view part = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (part.empty() || part.find(';') != std::string_view::npos || has_broken_escape(part)) continue;
    const std::size_t equals = part.find('=');
    const std::string value = equals == std::string_view::npos ? std::string() : decoded(part.substr(equals + 1));
    values[decoded(part.substr(0, equals))].push_back(Value::string(value));
  }
  std::vector<std::pair<Value, Value>> entries;
  for (auto& [name, list] : values) entries.emplace_back(Value::string(name), Value::list(std::move(list)));
  return Value::map(std::move(entries));
}

constexpr FunctionRow kRows[] = {
    {"url(string) -> kubernetes.URL", parse},
    {"isURL(string) -> bool", is_url},
    {"(kubernetes.URL).getScheme() -> string", scheme},
    {"(kubernetes.URL).getHost() -> string", host},
    {"(kubernetes.URL).getHostname() -> string", hostname},
    {"(kubernetes.URL).getPort() -> string", port},
    {"(kubernetes.URL).getEscapedPath() -> string", path},
    {"(kubernetes.URL).getQuery() -> map(string, list(string))", query},
};

}  // namespace

std::span<const FunctionRow> url_functions() {
  return kRows;
}

}  // namespace kubernel::cel
