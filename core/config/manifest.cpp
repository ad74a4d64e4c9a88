// SPDX-License-Identifier: Apache-2.0
#include "core/config/manifest.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

namespace kubernel::config {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;
using File = std::shared_ptr<const ManifestFile>;

LogLevel level_named(const std::string& name) {
  for (const LogLevel level : {LogLevel::Debug, LogLevel::Info, LogLevel::Warning}) {
    if (core::to_string(level) == name) return level;
  }
  return LogLevel::Error;
}

std::vector<fs::path> directories_of(const std::string& colon_list) {
  std::vector<fs::path> out;
  for (std::size_t begin = 0; begin < colon_list.size();) {
    const auto end = std::min(colon_list.find(':', begin), colon_list.size());
    if (end != begin) out.push_back(fs::absolute(colon_list.substr(begin, end - begin)));
    begin = end + 1;
  }
  return out;
}

// Puts the files of a manifest together, in the order in which they are read: what is included first.
class Reader {
 public:
  explicit Reader(const Environment& environment) : environment_(environment) {}

  Result<void> add(const File& file) {
    open_.push_back(fs::weakly_canonical(file->file()));
    const json include = file->document().value("include", json::array());
    for (std::size_t i = 0; i < include.size(); ++i) {
      const fs::path path = file->beside(include[i].get<std::string>());
      const std::string place = "include[" + std::to_string(i) + "]";
      if (std::find(open_.begin(), open_.end(), fs::weakly_canonical(path)) != open_.end()) {
        return file->error(place, {{"", "manifest " + path.string() + " includes itself"}});
      }
      auto included = ManifestFile::load(path, environment_);
      if (!included && included.error().reason() == Reason::NotFound)
        return file->error(place, {{"", included.error().message()}});
      if (!included) return std::move(included).error();
      KUBERNEL_CHECK_OK(add(*included));
    }
    open_.pop_back();
    return take(file);
  }

  // `document` fits the schema, so nothing below can be missing or of another type.
  Manifest finish(const fs::path& default_plugin_dir) && {
    complete_manifest(settings_);
    manifest_.log_level = level_named(settings_.at("log").at("level").get<std::string>());
    manifest_.log_format = settings_.at("log").at("format") == "json" ? core::LogFormat::Json : core::LogFormat::Text;
    const json& process = settings_.at("process");
    manifest_.blocking_threads = process.at("blockingThreads").get<std::size_t>();
    manifest_.blocking_queue = process.at("blockingQueue").get<std::size_t>();
    manifest_.compute_threads = process.at("computeThreads").get<std::size_t>();
    auto& path = manifest_.plugin_path;
    const auto first = directories_of(environment_("KUBERNEL_PLUGIN_PATH").value_or(""));
    path.insert(path.begin(), first.begin(), first.end());
    if (first.empty()) path.push_back(default_plugin_dir);
    return std::move(manifest_);
  }

 private:
  Result<void> take(const File& file) {
    const json& document = file->document();
    for (const char* member : {"log", "process"}) settings_[member].merge_patch(document.value(member, json::object()));
    std::vector<fs::path> own;
    for (const json& dir : document.value("pluginPath", json::array()))
      own.push_back(file->beside(dir.get<std::string>()));
    manifest_.plugin_path.insert(manifest_.plugin_path.begin(), own.begin(), own.end());
    const json entries = document.value("plugins", json::array());
    for (std::size_t i = 0; i < entries.size(); ++i) {
      KUBERNEL_CHECK_OK(take_entry(file, "plugins[" + std::to_string(i) + "]", entries[i]));
    }
    return {};
  }

  Result<void> take_entry(const File& file, std::string path, const json& entry) {
    PluginEntry plugin;
    plugin.name = entry.at("name").get<std::string>();
    plugin.config_json = entry.value("config", json::object()).dump();
    plugin.required = entry.value("required", true);
    if (const auto when = entry.find("when"); when != entry.end())
      plugin.when_component = when->at("component").get<std::string>();
    plugin.file = file;
    plugin.path = std::move(path);

    auto& all = manifest_.plugins;
    const auto earlier =
        std::find_if(all.begin(), all.end(), [&](const PluginEntry& other) { return other.name == plugin.name; });
    const bool enabled = entry.value("enabled", true);
    if (earlier == all.end()) {
      if (!enabled) return plugin.error("enabled", {{"", "no included manifest lists \"" + plugin.name + "\""}});
      all.push_back(std::move(plugin));
    } else if (enabled) {
      *earlier = std::move(plugin);
    } else {
      all.erase(earlier);
    }
    return {};
  }

  const Environment& environment_;
  std::vector<fs::path> open_;  // The files being read, each included by the one before it.
  json settings_ = {{"apiVersion", "kubernel/v1alpha1"},
                    {"kind", "PluginManifest"},
                    {"log", json::object()},
                    {"process", json::object()}};
  Manifest manifest_;
};

Result<Manifest> read(const File& file, const Environment& environment, const fs::path& default_plugin_dir) {
  Reader reader(environment);
  KUBERNEL_CHECK_OK(reader.add(file));
  return std::move(reader).finish(default_plugin_dir);
}

}  // namespace

Error PluginEntry::error(std::string_view member, const std::vector<Problem>& problems) const {
  return file->error(join_path(path, member), problems);
}

Result<Manifest> parse_manifest(const std::string& text, const fs::path& file, const Environment& environment,
                                const fs::path& default_plugin_dir) {
  KUBERNEL_TRY(const File parsed, ManifestFile::parse(text, file, environment));
  return read(parsed, environment, default_plugin_dir);
}

Result<Manifest> load_manifest(const fs::path& file, const Environment& environment,
                               const fs::path& default_plugin_dir) {
  KUBERNEL_TRY(const File loaded, ManifestFile::load(file, environment));
  return read(loaded, environment, default_plugin_dir);
}

}  // namespace kubernel::config
