// SPDX-License-Identifier: Apache-2.0
//
// Manifest: which plugins a process loads, in which order, and with what configuration. This folder is the only user of
// yaml-cpp.

#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/log.h>
#include <kubernel/base/result.h>

#include "core/base/log_sink.h"
#include "core/config/manifest_file.h"

namespace kubernel::config {

struct PluginEntry {
  std::string name;
  std::string config_json = "{}";
  bool required = true;
  std::string when_component;  // Empty: always.

  std::shared_ptr<const ManifestFile> file;  // Where it is listed.
  std::string path;                          // "plugins[2]" there.

  // One line out of several problems below `member`, with their places.
  Error error(std::string_view member, const std::vector<Problem>& problems) const;
};

struct Manifest {
  std::vector<std::filesystem::path> plugin_path;  // In order of search; of the environment first.
  LogLevel log_level = LogLevel::Info;
  core::LogFormat log_format = core::LogFormat::Text;
  std::size_t blocking_threads = 16;
  std::size_t blocking_queue = 4096;
  std::size_t compute_threads = 0;  // 0: one per core.
  std::vector<PluginEntry> plugins;
};

// Reads and checks a manifest. ${VAR} and ${VAR:-default} in scalars are replaced; $${ stands for a plain ${. A scalar
// without quotes gets its type after that, so `port: ${PORT}` is a number. Relative directories in pluginPath are
// relative to the manifest. `default_plugin_dir` is searched last, unless KUBERNEL_PLUGIN_PATH names directories.
//
// `include: [FILE, …]` takes in other manifests, by paths relative to the one that names them, before its own entries.
// What stands later wins: an entry replaces an earlier file's one of the same name, in its place; `enabled: false`
// takes it out; `log` and `process` are merged member by member. Directories of pluginPath are all searched, the own
// ones first.
//
// Errors: NotFound when the file cannot be read; Invalid, with file:line:column and all problems, for everything else.
Result<Manifest> load_manifest(const std::filesystem::path& file, const Environment& environment,
                               const std::filesystem::path& default_plugin_dir);
// The same for text; `file` is its name.
Result<Manifest> parse_manifest(const std::string& text, const std::filesystem::path& file,
                                const Environment& environment, const std::filesystem::path& default_plugin_dir);

}  // namespace kubernel::config
