// SPDX-License-Identifier: Apache-2.0
#include "open_store.h"

#include <unistd.h>

#include <cstdlib>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/config/config_schema.h"
#include "core/lifecycle/assembly.h"

namespace kubernel::storage_tool {

using storage::Backend;
using storage::BackendContext;
using storage::BackendSpec;

namespace {

constexpr std::size_t kThreads = 32;  // Writers that share a commit.
constexpr std::size_t kQueue = 65536;

}  // namespace

std::vector<std::filesystem::path> plugin_path() {
  std::vector<std::filesystem::path> out;
  const char* const listed = std::getenv("KUBERNEL_PLUGIN_PATH");
  std::string list = listed == nullptr ? "" : listed;
  while (!list.empty()) {
    const auto colon = list.find(':');
    if (colon != 0) out.emplace_back(list.substr(0, colon));
    list = colon == std::string::npos ? "" : list.substr(colon + 1);
  }
  if (out.empty()) out.emplace_back(KUBERNEL_PLUGIN_DIR);
  return out;
}

Workbench::Workbench(std::vector<std::filesystem::path> plugin_path)
    : plugin_path_(std::move(plugin_path)),
      quiet_clock_(clock_),
      sink_(STDERR_FILENO, LogLevel::Warning, core::LogFormat::Text, clock_),
      log_(sink_.logger("storage")),
      blocking_({"blocking", kThreads, kQueue}, *log_, metrics_) {}

Result<const Workbench::Plugin*> Workbench::load(const std::string& name) {
  if (const auto found = plugins_.find(name); found != plugins_.end()) return &found->second;
  KUBERNEL_TRY(const auto file, lifecycle::find_plugin_file(plugin_path_, name));
  Plugin plugin;
  KUBERNEL_TRY(plugin.text, loader::verify_plugin(file, name));
  KUBERNEL_TRY(const auto provided, loader::load_plugin(file, plugin.text, taken_));
  for (const loader::Provided& one : provided) {
    if (one.point != BackendSpec::kPoint || *one.type != typeid(BackendSpec)) continue;
    plugin.spec = std::static_pointer_cast<const BackendSpec>(one.spec);
  }
  if (!plugin.spec) return Error(Reason::Invalid, file.string() + ": provides no storage backend");
  return &plugins_.emplace(name, std::move(plugin)).first->second;
}

Result<const BackendSpec*> Workbench::spec(const StoreUrl& url) {
  KUBERNEL_TRY(const Plugin* const plugin, load(url.plugin));
  return plugin->spec.get();
}

Result<BackendContext> Workbench::context(const StoreUrl& url) {
  KUBERNEL_TRY(const Plugin* const plugin, load(url.plugin));
  auto config = nlohmann::json::parse(url.config_json);
  if (const auto text = plugin->text.find("schema"); text != plugin->text.end()) {
    KUBERNEL_TRY(const auto schema, config::ConfigSchema::parse(text->second));
    for (const config::Problem& problem : schema.check(config)) {
      return Error(Reason::BadRequest, url.text + ": " + problem.path + ": " + problem.message);
    }
  }
  // The server's own clock ends the leases of a server's store; in a file nobody but us would.
  Clock& clock = url.is_file() ? static_cast<Clock&>(quiet_clock_) : clock_;
  return BackendContext{config.dump(), *log_, metrics_, clock, blocking_, poller_};
}

Result<std::unique_ptr<Backend>> Workbench::open(const StoreUrl& url) {
  KUBERNEL_TRY(const BackendSpec* const backend, spec(url));
  KUBERNEL_TRY(const BackendContext surroundings, context(url));
  return backend->open(surroundings);
}

Result<std::unique_ptr<Backend>> Workbench::open_existing(const StoreUrl& url) {
  std::error_code unknown;
  if (url.is_file() && !std::filesystem::exists(url.file, unknown)) {
    return Error(Reason::NotFound, url.text + ": there is no such file");
  }
  return open(url);
}

}  // namespace kubernel::storage_tool
