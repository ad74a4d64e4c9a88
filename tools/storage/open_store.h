// SPDX-License-Identifier: Apache-2.0
//
// Opening a store as a running process would: by its plugin, checked against the plugin's schema.

#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <kubernel/storage/backend.h>

#include "core/base/epoll_poller.h"
#include "core/base/log_sink.h"
#include "core/base/metrics_registry.h"
#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"
#include "core/loader/plugin_loader.h"
#include "store_url.h"

namespace kubernel::storage_tool {

// Time passes, but no timer rings: leases of a store that is only looked at do not expire.
class QuietClock final : public Clock {
 public:
  explicit QuietClock(const Clock& clock) : clock_(clock) {}
  TimePoint now() const override { return clock_.now(); }
  WallTime wall_now() const override { return clock_.wall_now(); }
  std::unique_ptr<Subscription> call_at(TimePoint, std::function<void()>) override {
    return std::make_unique<Subscription>();
  }

 private:
  const Clock& clock_;
};

// What stores are opened with, and the plugins loaded so far.
//
// Lifetime: outlives the stores it opened.
class Workbench {
 public:
  // `plugin_path`: directories searched for plugins, in order.
  explicit Workbench(std::vector<std::filesystem::path> plugin_path);

  // Creates a store that does not exist.
  //
  // Errors: of the plugin that is missing or refused, of its configuration, and those of open().
  Result<std::unique_ptr<storage::Backend>> open(const StoreUrl& url);
  // As open(), but a store that does not exist is NotFound.
  Result<std::unique_ptr<storage::Backend>> open_existing(const StoreUrl& url);
  // The plugin's functions.
  Result<const storage::BackendSpec*> spec(const StoreUrl& url);
  // What the plugin's functions take for this store.
  Result<storage::BackendContext> context(const StoreUrl& url);

  Clock& clock() { return clock_; }
  Executor& executor() { return blocking_; }

 private:
  struct Plugin {
    loader::PluginText text;
    std::shared_ptr<const storage::BackendSpec> spec;
  };
  Result<const Plugin*> load(const std::string& name);

  const std::vector<std::filesystem::path> plugin_path_;
  std::map<std::string, Plugin> plugins_;
  loader::Taken taken_;
  core::SystemClock clock_;
  QuietClock quiet_clock_;
  core::LogSink sink_;
  std::unique_ptr<Logger> log_;
  core::MetricsRegistry metrics_;
  core::EpollPoller poller_;
  core::ThreadPool blocking_;
};

// $KUBERNEL_PLUGIN_PATH, or where plugins are installed.
std::vector<std::filesystem::path> plugin_path();

}  // namespace kubernel::storage_tool
