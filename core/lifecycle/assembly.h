// SPDX-License-Identifier: Apache-2.0
//
// Assembly: the plugins of a manifest, found, verified, configured and loaded, and everything they provide.

#pragma once

#include <deque>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/plugin/services.h>

#include "core/config/manifest.h"
#include "core/loader/plugin_loader.h"

namespace kubernel::lifecycle {

enum class PluginState : std::uint8_t { Loaded, Skipped, Refused };
std::string_view to_string(PluginState state);

struct AssembledPlugin {
  std::string name;
  bool required = true;
  PluginState state = PluginState::Refused;
  std::string why;                 // Why it was skipped or refused: one line.
  std::filesystem::path file;      // Empty when none was found.
  loader::PluginText text;         // Empty unless the file could be read.
  std::string config_json = "{}";  // With defaults, when it was checked.
};

// Loads what the manifest names. Goes on after a refusal, so that one run names all that is wrong.
class Assembly final : public plugin::Extensions {
 public:
  explicit Assembly(const config::Manifest& manifest);
  Assembly(const Assembly&) = delete;
  Assembly& operator=(const Assembly&) = delete;

  // In manifest order.
  const std::vector<AssembledPlugin>& plugins() const { return plugins_; }
  std::vector<const plugin::Extension*> at(std::string_view point) const override;

 private:
  void verify(const config::Manifest& manifest);
  Result<void> configure(const config::Manifest& manifest, std::size_t index);
  Result<void> load(std::size_t index);

  std::vector<AssembledPlugin> plugins_;
  std::deque<plugin::Extension> extensions_;
  loader::Taken taken_;
};

// The file of a plugin: the first directory that has NAME.so.
//
// Errors: NotFound, naming the directories and a plugin with a similar name.
Result<std::filesystem::path> find_plugin_file(const std::vector<std::filesystem::path>& plugin_path,
                                               const std::string& name);

// Plugins of the plugin path that are not in the manifest and have a component that offers `service`. To find out they
// are loaded and registered, which starts nothing; for a process that is about to fail.
std::vector<std::string> plugins_offering(const config::Manifest& manifest, std::string_view service);

}  // namespace kubernel::lifecycle
