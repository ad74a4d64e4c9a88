// SPDX-License-Identifier: Apache-2.0
//
// Manifest: which plugins a process loads, in which order, and with what configuration. This folder is the only user of
// yaml-cpp.

#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/log.h>
#include <kubernel/base/result.h>

#include "core/base/log_sink.h"
#include "core/config/config_schema.h"

namespace kubernel::config {

// A variable of the environment, or nothing. Injected, so that a test's environment is its own.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();

struct Position {
  int line = 0;  // From 1.
  int column = 0;
};

struct PluginEntry {
  std::string name;
  std::string config_json = "{}";
  bool required = true;
  std::string when_component;  // Empty: always.
  std::string path;            // "plugins[2]", for messages.
};

struct Manifest {
  std::string file;
  std::vector<std::filesystem::path> plugin_path;  // In order of search; of the environment first.
  LogLevel log_level = LogLevel::Info;
  core::LogFormat log_format = core::LogFormat::Text;
  std::size_t blocking_threads = 16;
  std::size_t blocking_queue = 4096;
  std::size_t compute_threads = 0;  // 0: one per core.
  std::vector<PluginEntry> plugins;
  std::map<std::string, Position, std::less<>> positions;

  // "kernel.yaml:12:9: plugins[2].config.listen" for a path in the document, or for the nearest of its parents.
  std::string locate(std::string_view path) const;
  // One line out of several problems below `parent`.
  Error error(std::string_view parent, const std::vector<Problem>& problems) const;
};

// Reads and checks a manifest. ${VAR} and ${VAR:-default} in scalars are replaced; $${ stands for a plain ${. A scalar
// without quotes gets its type after that, so `port: ${PORT}` is a number. Relative directories in pluginPath are
// relative to the manifest. `default_plugin_dir` serves when neither the manifest nor KUBERNEL_PLUGIN_PATH names a
// directory.
//
// Errors: NotFound when the file cannot be read; Invalid, with file:line:column and all problems, for everything else.
Result<Manifest> load_manifest(const std::filesystem::path& file, const Environment& environment,
                               const std::filesystem::path& default_plugin_dir);
// The same for text; `file` is its name.
Result<Manifest> parse_manifest(const std::string& text, const std::filesystem::path& file,
                                const Environment& environment, const std::filesystem::path& default_plugin_dir);

}  // namespace kubernel::config
