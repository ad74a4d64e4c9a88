// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/names.h>

#include <algorithm>

namespace kubernel::api {
namespace {

constexpr std::size_t kLabelLength = 63;
constexpr std::size_t kSubdomainLength = 253;

bool is_lower_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool is_alnum(char c) {
  return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

bool is_label(std::string_view text) {
  if (text.empty() || !is_lower_alnum(text.front()) || !is_lower_alnum(text.back())) return false;
  return std::ranges::all_of(text, [](char c) { return is_lower_alnum(c) || c == '-'; });
}

bool is_subdomain(std::string_view text) {
  for (;;) {
    const auto dot = text.find('.');
    if (!is_label(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

// The character rule that label values and the name part of keys share.
bool is_word(std::string_view text) {
  if (text.empty() || !is_alnum(text.front()) || !is_alnum(text.back())) return false;
  return std::ranges::all_of(text, [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

std::string too_long(std::size_t limit) {
  return "must be no more than " + std::to_string(limit) + " characters";
}

constexpr std::string_view kLabelRule =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
constexpr std::string_view kSubdomainRule =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
constexpr std::string_view kLabel1035Rule =
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')";
constexpr std::string_view kWordRule =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
constexpr std::string_view kValueRule =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

}  // namespace

std::string dns_label_problem(std::string_view text) {
  if (text.size() > kLabelLength) return too_long(kLabelLength);
  return is_label(text) ? "" : std::string(kLabelRule);
}

std::string dns_subdomain_problem(std::string_view text) {
  if (text.size() > kSubdomainLength) return too_long(kSubdomainLength);
  return is_subdomain(text) ? "" : std::string(kSubdomainRule);
}

std::string dns_1035_label_problem(std::string_view text) {
  if (text.size() > kLabelLength) return too_long(kLabelLength);
  const bool begins_well = !text.empty() && text.front() >= 'a' && text.front() <= 'z';
  return begins_well && is_label(text) ? "" : std::string(kLabel1035Rule);
}

std::string path_segment_problem(std::string_view text) {
  if (text == "." || text == "..") return "may not be '" + std::string(text) + "'";
  for (const char c : {'/', '%'}) {
    if (text.find(c) != std::string_view::npos) return std::string("may not contain '") + c + "'";
  }
  return "";
}

std::string qualified_name_problem(std::string_view text) {
  const auto slash = text.find('/');
  std::string_view name = text;
  if (slash != std::string_view::npos) {
    const std::string_view prefix = text.substr(0, slash);
    name = text.substr(slash + 1);
    if (name.find('/') != std::string_view::npos) {
      return "a qualified name " + std::string(kWordRule) +
             " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
    }
    if (prefix.empty()) return "prefix part must be non-empty";
    if (const std::string problem = dns_subdomain_problem(prefix); !problem.empty()) return "prefix part " + problem;
  }
  if (name.empty()) return "name part must be non-empty";
  if (name.size() > kLabelLength) return "name part " + too_long(kLabelLength);
  return is_word(name) ? "" : "name part " + std::string(kWordRule);
}

std::string label_value_problem(std::string_view text) {
  if (text.size() > kLabelLength) return too_long(kLabelLength);
  return text.empty() || is_word(text) ? "" : std::string(kValueRule);
}

}  // namespace kubernel::api
