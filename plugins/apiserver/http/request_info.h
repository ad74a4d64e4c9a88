// SPDX-License-Identifier: Apache-2.0
//
// What a URL path asks for: /api/v1/namespaces/default/pods/web-0/log.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kubernel::apiserver {

struct ResourcePath {
  std::string group;
  std::string version;
  std::string ns;
  std::string plural;
  std::string name;
  std::string subresource;  ///< "log", or "proxy/some/path": everything after the name.
  bool watch = false;       ///< The deprecated /watch/ form.
};

/// Absent when the path names no resource (discovery, health, …).
std::optional<ResourcePath> parse_resource_path(std::string_view path);

}  // namespace kubernel::apiserver
