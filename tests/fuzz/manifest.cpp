// SPDX-License-Identifier: Apache-2.0
//
// The plugin manifest: YAML with variables.

#include <nlohmann/json.hpp>

#include "core/config/config_schema.h"
#include "core/config/manifest.h"
#include "target.h"

KUBERNEL_FUZZ(input) {
  const auto environment = [](const std::string& name) -> std::optional<std::string> {
    return name == "A" ? std::optional<std::string>("one: [two, 3]") : std::nullopt;
  };
  const auto manifest = kubernel::config::parse_manifest(std::string(input), "m.yaml", environment, "/plugins");
  if (manifest) {
    for (const auto& plugin : manifest->plugins) static_cast<void>(plugin.error(".config", {{"a", "is odd"}}));
  } else {
    kubernel::fuzz::must(manifest.error().message().starts_with("m.yaml"), "an error begins with the file");
    kubernel::fuzz::must(manifest.error().message().find('\n') == std::string::npos, "an error is one line");
  }
  static_cast<void>(kubernel::config::ConfigSchema::parse(std::string(input)));
}
