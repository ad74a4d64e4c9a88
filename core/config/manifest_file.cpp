// SPDX-License-Identifier: Apache-2.0
#include "core/config/manifest_file.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/config/yaml_reader.h"

namespace kubernel::config {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kManifestSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["apiVersion", "kind"],
  "properties": {
    "apiVersion": {"type": "string", "enum": ["kubernel/v1alpha1"]},
    "kind": {"type": "string", "enum": ["PluginManifest"]},
    "include": {"type": "array", "items": {"type": "string", "minLength": 1}},
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
      "default": [],
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "properties": {
          "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
          "enabled": {"type": "boolean", "default": true},
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

// In one file a name stands once; another file's entry of that name is replaced.
std::vector<Problem> repeated_names(const json& document) {
  std::vector<Problem> out;
  std::set<std::string> seen;
  const json entries = document.value("plugins", json::array());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto name = entries[i].at("name").get<std::string>();
    if (seen.insert(name).second) continue;
    out.push_back({"plugins[" + std::to_string(i) + "].name", "plugin \"" + name + "\" is listed twice"});
  }
  return out;
}

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
}

void complete_manifest(json& document) {
  manifest_schema().check(document);
}

std::string ManifestFile::locate(std::string_view path) const {
  std::string_view nearest = path;
  for (;;) {
    if (const auto found = positions_.find(nearest); found != positions_.end()) {
      const auto& [line, column] = found->second;
      return file_.string() + ":" + std::to_string(line) + ":" + std::to_string(column) + (path.empty() ? "" : ": ") +
             std::string(path);
    }
    if (nearest.empty()) return file_.string() + (path.empty() ? "" : ": ") + std::string(path);
    const auto last = nearest.find_last_of(".[");
    nearest = nearest.substr(0, last == std::string_view::npos ? 0 : last);
  }
}

Error ManifestFile::error(std::string_view parent, const std::vector<Problem>& problems) const {
  std::string message;
  for (const Problem& problem : problems) {
    const std::string path = join_path(parent, problem.path);
    message += message.empty() ? locate(path) + ": " : "; " + path + ": ";
    message += problem.message;
  }
  return Error(Reason::Invalid, std::move(message));
}

fs::path ManifestFile::beside(const std::string& path) const {
  return fs::absolute(file_).parent_path() / path;
}

Result<std::shared_ptr<const ManifestFile>> ManifestFile::parse(const std::string& text, const fs::path& file,
                                                                const Environment& environment) {
  const std::shared_ptr<ManifestFile> out(new ManifestFile);
  out->file_ = file;
  json document;
  if (auto read = read_yaml(text, environment, document, out->positions_); !read) {
    return Error(Reason::Invalid, file.string() + ":" + read.error().message());
  }
  json checked = document;
  if (const auto problems = manifest_schema().check(checked); !problems.empty()) return out->error("", problems);
  if (const auto problems = repeated_names(document); !problems.empty()) return out->error("", problems);
  out->document_ = std::make_shared<const json>(std::move(document));
  return std::shared_ptr<const ManifestFile>(out);
}

Result<std::shared_ptr<const ManifestFile>> ManifestFile::load(const fs::path& file, const Environment& environment) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return Error(Reason::NotFound, "manifest " + file.string() + ": " + std::strerror(errno));
  std::error_code unknown;
  if (fs::is_directory(file, unknown)) return Error(Reason::NotFound, "manifest " + file.string() + ": is a directory");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return parse(text, file, environment);
}

}  // namespace kubernel::config
