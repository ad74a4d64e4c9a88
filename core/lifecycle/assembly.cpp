// SPDX-License-Identifier: Apache-2.0
#include "core/lifecycle/assembly.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/plugin/component.h>

#include "core/base/suggestion.h"

namespace kubernel::lifecycle {
namespace {

namespace fs = std::filesystem;
using config::Manifest;
using config::PluginEntry;
using nlohmann::json;

constexpr std::string_view kComponentPrefix = "component/";

std::vector<std::string> plugins_in(const std::vector<fs::path>& plugin_path) {
  std::vector<std::string> names;
  for (const fs::path& dir : plugin_path) {
    std::error_code unreadable;
    for (const auto& entry : fs::directory_iterator(dir, unreadable)) {
      if (entry.path().extension() == ".so") names.push_back(entry.path().stem().string());
    }
  }
  return names;
}

// What a plugin would provide at the point "component".
std::vector<std::string> components_of(const loader::PluginText& text) {
  std::vector<std::string> out;
  for (const std::string& word : loader::declared(text)) {
    if (word.starts_with(kComponentPrefix)) out.push_back(word.substr(kComponentPrefix.size()));
  }
  return out;
}

// The same of all plugins verified so far.
std::set<std::string> components_of(const std::vector<AssembledPlugin>& plugins) {
  std::set<std::string> out;
  for (const AssembledPlugin& plugin : plugins) {
    if (plugin.state != PluginState::Loaded) continue;
    for (std::string& name : components_of(plugin.text)) out.insert(std::move(name));
  }
  return out;
}

bool offers(const loader::Provided& provided, std::string_view service) {
  if (*provided.type != typeid(plugin::ComponentSpec)) return false;
  const auto& names = static_cast<const plugin::ComponentSpec*>(provided.spec.get())->offers;
  return std::find(names.begin(), names.end(), service) != names.end();
}

Result<void> find_and_verify(const Manifest& manifest, AssembledPlugin& plugin) {
  KUBERNEL_TRY(plugin.file, find_plugin_file(manifest.plugin_path, plugin.name));
  KUBERNEL_TRY(plugin.text, loader::verify_plugin(plugin.file, plugin.name));
  return {};
}

std::string all_of(const std::vector<config::Problem>& problems) {
  std::string out;
  for (const config::Problem& problem : problems) {
    out += (out.empty() ? "" : "; ") + problem.path + (problem.path.empty() ? "" : ": ") + problem.message;
  }
  return out;
}

// plugin::Extension::check_config of whatever that plugin provides.
std::function<Result<std::string>(std::string_view)> config_check(const std::string& name,
                                                                  const loader::PluginText& text) {
  const auto schema_text = text.find("schema");
  const std::string schema = schema_text == text.end() ? "" : schema_text->second;
  return [name, schema](std::string_view config_json) -> Result<std::string> {
    json value = json::parse(config_json, nullptr, false);
    if (!value.is_object()) return Error(Reason::Invalid, "expected an object");
    if (schema.empty()) {
      if (value.empty()) return value.dump();
      return Error(Reason::Invalid, "plugin \"" + name + "\" takes no configuration");
    }
    KUBERNEL_TRY(const auto rules, config::ConfigSchema::parse(schema));
    if (const auto problems = rules.check(value); !problems.empty()) return Error(Reason::Invalid, all_of(problems));
    return value.dump();
  };
}

void refuse(AssembledPlugin& plugin, const Error& error) {
  plugin.state = PluginState::Refused;
  plugin.why = error.message();
}

}  // namespace

std::string_view to_string(PluginState state) {
  switch (state) {
    case PluginState::Loaded: return "loaded";
    case PluginState::Skipped: return "skipped";
    default: return "refused";
  }
}

Result<fs::path> find_plugin_file(const std::vector<fs::path>& plugin_path, const std::string& name) {
  std::string searched;
  for (const fs::path& dir : plugin_path) {
    fs::path file = dir / (name + ".so");
    std::error_code missing;
    if (fs::exists(file, missing)) return file;
    searched.append(searched.empty() ? "" : ", ").append(dir.string());
  }
  return Error(Reason::NotFound,
               "no " + name + ".so in " + searched + core::did_you_mean(name, plugins_in(plugin_path)));
}

std::vector<std::string> plugins_offering(const Manifest& manifest, std::string_view service) {
  std::set<std::string> candidates;
  for (std::string& name : plugins_in(manifest.plugin_path)) candidates.insert(std::move(name));
  for (const PluginEntry& entry : manifest.plugins) candidates.erase(entry.name);
  std::vector<std::string> out;
  for (const std::string& name : candidates) {
    AssembledPlugin plugin;
    plugin.name = name;
    loader::Taken nothing;
    if (!find_and_verify(manifest, plugin) || components_of(plugin.text).empty()) continue;
    const auto provided = loader::load_plugin(plugin.file, plugin.text, nothing);
    if (provided &&
        std::any_of(provided->begin(), provided->end(), [&](const auto& one) { return offers(one, service); })) {
      out.push_back(name);
    }
  }
  return out;
}

Assembly::Assembly(const Manifest& manifest) {
  for (const PluginEntry& entry : manifest.plugins) {
    AssembledPlugin& plugin = plugins_.emplace_back();
    plugin.name = entry.name;
    plugin.required = entry.required;
    plugin.state = PluginState::Skipped;
    plugin.why = "the manifest has no component \"" + entry.when_component + "\"";
  }
  verify(manifest);
  for (std::size_t i = 0; i < plugins_.size(); ++i) {
    if (plugins_[i].state != PluginState::Loaded) continue;
    auto loaded = configure(manifest, i);
    if (loaded) loaded = load(i);
    if (!loaded) refuse(plugins_[i], loaded.error());
  }
}

// Verifies what has no condition, then, again and again, what only waited for a component that is now there.
void Assembly::verify(const Manifest& manifest) {
  for (bool again = true; again;) {
    again = false;
    const std::set<std::string> components = components_of(plugins_);
    for (std::size_t i = 0; i < plugins_.size(); ++i) {
      AssembledPlugin& plugin = plugins_[i];
      const std::string& when = manifest.plugins[i].when_component;
      if (plugin.state != PluginState::Skipped || !(when.empty() || components.contains(when))) continue;
      again = true;
      plugin.state = PluginState::Loaded;
      plugin.why.clear();
      if (auto verified = find_and_verify(manifest, plugin); !verified) refuse(plugin, verified.error());
    }
  }
}

Result<void> Assembly::configure(const Manifest& manifest, std::size_t index) {
  const PluginEntry& entry = manifest.plugins[index];
  AssembledPlugin& plugin = plugins_[index];
  json value = json::parse(entry.config_json);
  const auto text = plugin.text.find("schema");
  if (text == plugin.text.end()) {
    if (value.empty()) return {};
    return entry.error("config", {{"", "plugin \"" + plugin.name + "\" takes no configuration"}});
  }
  auto schema = config::ConfigSchema::parse(text->second);
  if (!schema) return std::move(schema).error().wrap(plugin.file.string());
  if (const auto problems = schema->check(value); !problems.empty()) return entry.error("config", problems);
  plugin.config_json = value.dump();
  return {};
}

Result<void> Assembly::load(std::size_t index) {
  AssembledPlugin& plugin = plugins_[index];
  KUBERNEL_TRY(auto provided, loader::load_plugin(plugin.file, plugin.text, taken_));
  const auto check = config_check(plugin.name, plugin.text);
  for (loader::Provided& one : provided) {
    extensions_.push_back({std::move(one.point), std::move(one.name), plugin.name, plugin.config_json, one.type,
                           std::move(one.spec), check});
  }
  return {};
}

std::vector<const plugin::Extension*> Assembly::at(std::string_view point) const {
  std::vector<const plugin::Extension*> out;
  for (const plugin::Extension& extension : extensions_) {
    if (extension.point == point) out.push_back(&extension);
  }
  return out;
}

}  // namespace kubernel::lifecycle
