// SPDX-License-Identifier: Apache-2.0
#include "http/request_info.h"

#include <vector>

namespace kubernel::apiserver {

namespace {

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> out;
  while (!path.empty()) {
    if (path.front() == '/') {
      path.remove_prefix(1);
      continue;
    }
    const std::size_t slash = path.find('/');
    out.push_back(path.substr(0, slash));
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash);
  }
  return out;
}

std::string join(const std::vector<std::string_view>& parts, std::size_t from) {
  std::string out;
  for (std::size_t i = from; i < parts.size(); ++i) out.append(i == from ? "" : "/").append(parts[i]);
  return out;
}

}  // namespace

std::optional<ResourcePath> parse_resource_path(std::string_view path) {
  const std::vector<std::string_view> parts = split(path);
  ResourcePath out;
  std::size_t at = 0;
  if (parts.size() >= 3 && parts[0] == "api") {
    out.version = parts[1];
    at = 2;
  } else if (parts.size() >= 4 && parts[0] == "apis") {
    out.group = parts[1];
    out.version = parts[2];
    at = 3;
  } else {
    return std::nullopt;
  }
  if (parts[at] == "watch" && at + 1 < parts.size()) {
    out.watch = true;
    ++at;
  }
  // "namespaces/x" alone, and its own subresources, are about the namespace; what follows otherwise is in it.
  if (parts[at] == "namespaces" && at + 2 < parts.size()) {
    const std::string_view next = parts[at + 2];
    const bool own = at + 3 == parts.size() && (next == "status" || next == "finalize");
    if (!own) {
      out.ns = parts[at + 1];
      at += 2;
    }
  }
  out.plural = parts[at];
  if (at + 1 < parts.size()) out.name = parts[at + 1];
  if (at + 2 < parts.size()) out.subresource = join(parts, at + 2);
  return out;
}

}  // namespace kubernel::apiserver
