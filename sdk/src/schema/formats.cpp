// SPDX-License-Identifier: Apache-2.0
#include "schema/formats.h"

#include <algorithm>

#include <kubernel/api/names.h>

namespace kubernel::schema {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return result;
}

std::string caseless_name_problem(std::string_view text) {
  return api::dns_subdomain_problem(lower(text));
}

std::string uuid_problem(std::string_view text) {
  bool good = text.size() == 36;
  for (std::size_t i = 0; good && i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const char c = text[i];
    good = dash ? c == '-' : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  }
  return good ? "" : "must be a lowercase UUID in 8-4-4-4-12 format";
}

/// Subdomains joined by slashes.
std::string pool_name_problem(std::string_view text) {
  if (text.size() > 253) return "must be no more than 253 characters";
  while (true) {
    const std::size_t slash = text.find('/');
    if (std::string problem = api::dns_subdomain_problem(text.substr(0, slash)); !problem.empty()) return problem;
    if (slash == std::string_view::npos) return {};
    text.remove_prefix(slash + 1);
  }
}

bool is_c_identifier(std::string_view text) {
  if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}

/// "domain/identifier", with both parts.
std::string fully_qualified_problem(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return "a fully qualified name must be a domain and a name separated by a slash";
  if (std::string problem = api::dns_subdomain_problem(text.substr(0, slash)); !problem.empty()) return problem;
  const std::string_view name = text.substr(slash + 1);
  if (name.size() > 32) return "the name must be no more than 32 characters";
  return is_c_identifier(name) ? ""
                               : "a valid C identifier must start with alphabetic character or '_', followed by a "
                                 "string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or "
                                 "'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
}

std::string extended_resource_problem(std::string_view text) {
  if (text.find('/') == std::string_view::npos || text.find("kubernetes.io/") != std::string_view::npos) {
    return "must be a resource name with a domain outside kubernetes.io";
  }
  if (text.substr(0, 9) == "requests.") return "must not begin with \"requests.\"";
  return api::qualified_name_problem(text);
}

struct Format {
  std::string_view name;
  std::string (*problem)(std::string_view);
};
constexpr Format kFormats[] = {
    {"k8s-short-name", api::dns_label_problem},
    {"k8s-long-name", api::dns_subdomain_problem},
    {"k8s-long-name-caseless", caseless_name_problem},
    {"k8s-uuid", uuid_problem},
    {"k8s-label-key", api::qualified_name_problem},
    {"k8s-path-segment-name", api::path_segment_problem},
    {"k8s-resource-pool-name", pool_name_problem},
    {"k8s-resource-fully-qualified-name", fully_qualified_problem},
    {"k8s-extended-resource-name", extended_resource_problem},
};

}  // namespace

std::string format_problem(std::string_view format, std::string_view text) {
  for (const Format& known : kFormats) {
    if (known.name == format) return known.problem(text);
  }
  return {};
}

}  // namespace kubernel::schema
