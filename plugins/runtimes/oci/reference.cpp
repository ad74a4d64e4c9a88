// SPDX-License-Identifier: Apache-2.0
#include "reference.h"

#include <algorithm>
#include <cctype>

#include "files.h"

namespace kubernel::runtime::oci {
namespace {

constexpr std::size_t kMaxNameLength = 255;
constexpr std::size_t kMaxTagLength = 128;

bool lower_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool word(char c) {
  return lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

// [a-z0-9]+ joined by one of ".", "_", "__" or any number of "-" (the distribution specification's path component).
bool valid_component(std::string_view part) {
  if (part.empty() || !lower_or_digit(part.front()) || !lower_or_digit(part.back())) return false;
  for (std::size_t i = 0; i < part.size();) {
    if (lower_or_digit(part[i])) {
      ++i;
      continue;
    }
    const std::size_t end = static_cast<std::size_t>(
        std::find_if(part.begin() + static_cast<std::ptrdiff_t>(i), part.end(), lower_or_digit) - part.begin());
    const std::string_view separator = part.substr(i, end - i);
    const bool dashes = std::ranges::all_of(separator, [](char c) { return c == '-'; });
    if (!dashes && separator != "." && separator != "_" && separator != "__") return false;
    i = end;
  }
  return true;
}

bool valid_repository(std::string_view repository) {
  for (;;) {
    const std::size_t slash = repository.find('/');
    if (!valid_component(repository.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    repository.remove_prefix(slash + 1);
  }
}

bool valid_tag(std::string_view tag) {
  return !tag.empty() && tag.size() <= kMaxTagLength && word(tag.front()) &&
         std::ranges::all_of(tag, [](char c) { return word(c) || c == '.' || c == '-'; });
}

bool valid_registry(std::string_view registry) {
  if (registry.empty()) return false;
  std::string_view host = registry;
  if (!registry.starts_with('[')) {
    const std::size_t colon = registry.find(':');
    host = registry.substr(0, colon);
    if (colon != std::string_view::npos) {
      const std::string_view port = registry.substr(colon + 1);
      if (port.empty() || !std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; })) return false;
    }
    return !host.empty() &&
           std::ranges::all_of(host, [](char c) { return (word(c) && c != '_') || c == '.' || c == '-'; });
  }
  const std::size_t end = registry.find(']');
  return end != std::string_view::npos && (end + 1 == registry.size() || registry[end + 1] == ':');
}

Error invalid(std::string_view text) {
  return {Reason::Invalid, "couldn't parse image name \"" + std::string(text) + "\": invalid reference format"};
}

}  // namespace

Result<Reference> parse_reference(std::string_view text) {
  Reference out;
  std::string_view rest = text;
  if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
    out.digest = rest.substr(at + 1);
    if (!valid_digest(out.digest)) return invalid(text);
    rest = rest.substr(0, at);
  }
  const std::size_t slash = rest.find('/');
  const std::string_view first = rest.substr(0, slash);
  if (slash != std::string_view::npos &&
      (first.find_first_of(".:") != std::string_view::npos || first == "localhost")) {
    out.registry = first == "index.docker.io" ? "docker.io" : first;
    rest.remove_prefix(slash + 1);
  } else {
    out.registry = "docker.io";
  }
  if (const std::size_t colon = rest.rfind(':'); colon != std::string_view::npos) {
    out.tag = rest.substr(colon + 1);
    if (!valid_tag(out.tag)) return invalid(text);
    rest = rest.substr(0, colon);
  } else if (out.digest.empty()) {
    out.tag = "latest";
  }
  if (!out.digest.empty()) out.tag.clear();
  out.repository = rest;
  if (out.registry == "docker.io" && rest.find('/') == std::string_view::npos)
    out.repository = "library/" + out.repository;
  if (!valid_registry(out.registry) || !valid_repository(out.repository) || out.name().size() > kMaxNameLength) {
    return invalid(text);
  }
  return out;
}

}  // namespace kubernel::runtime::oci
