// SPDX-License-Identifier: Apache-2.0
#include "core/config/manifest.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <system_error>

#include <nlohmann/json.hpp>

#include "core/config/yaml_reader.h"

namespace kubernel::config {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kManifestSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["apiVersion", "kind", "plugins"],
  "properties": {
    "apiVersion": {"type": "string", "enum": ["kubernel/v1alpha1"]},
    "kind": {"type": "string", "enum": ["PluginManifest"]},
    "pluginPath": {"type": "array", "items": {"type": "string", "minLength": 1}},
    "log": {
      "type": "object",
      "additionalProperties": false,
      "default": {},
      "properties": {
        "level": {"type": "string", "enum": ["debug", "info", "warning", "error"], "default": "info"},
        "format": {"type": "string", "enum": ["text", "json"], "default": "text"}
      }
    },
    "process": {
      "type": "object",
      "additionalProperties": false,
      "default": {},
      "properties": {
        "blockingThreads": {"type": "integer", "minimum": 2, "maximum": 256, "default": 16},
        "blockingQueue": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 4096},
        "computeThreads": {"type": "integer", "minimum": 0, "maximum": 256, "default": 0}
      }
    },
    "plugins": {
      "type": "array",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "properties": {
          "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
          "config": {"type": "object"},
          "required": {"type": "boolean", "default": true},
          "when": {
            "type": "object",
            "additionalProperties": false,
            "required": ["component"],
            "properties": {"component": {"type": "string", "minLength": 1}}
          }
        }
      }
    }
  }
})json";

const ConfigSchema& manifest_schema() {
  static const ConfigSchema kSchema = *ConfigSchema::parse(kManifestSchema);
  return kSchema;
}

LogLevel level_named(const std::string& name) {
  for (const LogLevel level : {LogLevel::Debug, LogLevel::Info, LogLevel::Warning}) {
    if (core::to_string(level) == name) return level;
  }
  return LogLevel::Error;
}

std::vector<fs::path> search_path(const json& document, const fs::path& file, const Environment& environment,
                                  const fs::path& default_plugin_dir) {
  std::vector<fs::path> out;
  std::string list = environment("KUBERNEL_PLUGIN_PATH").value_or("");
  while (!list.empty()) {
    const auto colon = list.find(':');
    if (colon != 0) out.emplace_back(fs::absolute(list.substr(0, colon)));
    list = colon == std::string::npos ? "" : list.substr(colon + 1);
  }
  if (const auto path = document.find("pluginPath"); path != document.end()) {
    for (const json& dir : *path) out.push_back(fs::absolute(file).parent_path() / dir.get<std::string>());
  }
  if (out.empty()) out.push_back(default_plugin_dir);
  return out;
}

// `document` fits the schema, so nothing below can be missing or of another type.
void take(const json& document, Manifest& manifest) {
  manifest.log_level = level_named(document.at("log").at("level").get<std::string>());
  manifest.log_format = document.at("log").at("format") == "json" ? core::LogFormat::Json : core::LogFormat::Text;
  const json& process = document.at("process");
  manifest.blocking_threads = process.at("blockingThreads").get<std::size_t>();
  manifest.blocking_queue = process.at("blockingQueue").get<std::size_t>();
  manifest.compute_threads = process.at("computeThreads").get<std::size_t>();
  for (const json& entry : document.at("plugins")) {
    PluginEntry plugin;
    plugin.name = entry.at("name").get<std::string>();
    if (const auto config = entry.find("config"); config != entry.end()) plugin.config_json = config->dump();
    plugin.required = entry.at("required").get<bool>();
    if (const auto when = entry.find("when"); when != entry.end()) {
      plugin.when_component = when->at("component").get<std::string>();
    }
    plugin.path = "plugins[" + std::to_string(manifest.plugins.size()) + "]";
    manifest.plugins.push_back(std::move(plugin));
  }
}

Result<void> check_names(const Manifest& manifest) {
  std::set<std::string> seen;
  for (const PluginEntry& plugin : manifest.plugins) {
    if (seen.insert(plugin.name).second) continue;
    return manifest.error(plugin.path, {{"name", "plugin \"" + plugin.name + "\" is listed twice"}});
  }
  return {};
}

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
}

std::string Manifest::locate(std::string_view path) const {
  std::string_view nearest = path;
  for (;;) {
    if (const auto found = positions.find(nearest); found != positions.end()) {
      const auto& [line, column] = found->second;
      return file + ":" + std::to_string(line) + ":" + std::to_string(column) + (path.empty() ? "" : ": ") +
             std::string(path);
    }
    if (nearest.empty()) return file + (path.empty() ? "" : ": ") + std::string(path);
    const auto last = nearest.find_last_of(".[");
    nearest = nearest.substr(0, last == std::string_view::npos ? 0 : last);
  }
}

Error Manifest::error(std::string_view parent, const std::vector<Problem>& problems) const {
  std::string message;
  for (const Problem& problem : problems) {
    const std::string path = join_path(parent, problem.path);
    message += message.empty() ? locate(path) + ": " : "; " + path + ": ";
    message += problem.message;
  }
  return Error(Reason::Invalid, std::move(message));
}

Result<Manifest> parse_manifest(const std::string& text, const fs::path& file, const Environment& environment,
                                const fs::path& default_plugin_dir) {
  Manifest manifest;
  manifest.file = file.string();
  json document;
  if (auto read = read_yaml(text, environment, document, manifest.positions); !read) {
    return Error(Reason::Invalid, manifest.file + ":" + read.error().message());
  }
  if (const auto problems = manifest_schema().check(document); !problems.empty()) return manifest.error("", problems);
  manifest.plugin_path = search_path(document, file, environment, default_plugin_dir);
  take(document, manifest);
  KUBERNEL_CHECK_OK(check_names(manifest));
  return manifest;
}

Result<Manifest> load_manifest(const fs::path& file, const Environment& environment,
                               const fs::path& default_plugin_dir) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return Error(Reason::NotFound, "manifest " + file.string() + ": " + std::strerror(errno));
  std::error_code unknown;
  if (fs::is_directory(file, unknown)) return Error(Reason::NotFound, "manifest " + file.string() + ": is a directory");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return parse_manifest(text, file, environment, default_plugin_dir);
}

}  // namespace kubernel::config
