// SPDX-License-Identifier: Apache-2.0
#include "world.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <typeinfo>

#include <kubernel/plugin/component.h>

#include "core/base/epoll_poller.h"
#include "core/base/log_sink.h"
#include "core/base/process_metrics.h"
#include "core/base/system_clock.h"
#include "core/base/system_random.h"
#include "core/base/thread_pool.h"
#include "core/config/manifest.h"
#include "core/lifecycle/assembly.h"
#include "core/lifecycle/lifecycle.h"

namespace kubernel::bench {
namespace {

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "scheduler-bench: %s\n", why.c_str());
  std::exit(1);
}

// Hands the API's connector out of the process's services.
class Tap final : public plugin::Component {
 public:
  explicit Tap(plugin::Services& services) : services_(services) {}
  Result<void> start(const CallContext&) override {
    connector = plugin::find<client::Connector>(services_);
    return {};
  }
  void stop(const CallContext&) override { connector.reset(); }
  std::string problem() const override { return {}; }

  static std::shared_ptr<client::Connector> connector;

 private:
  plugin::Services& services_;
};
std::shared_ptr<client::Connector> Tap::connector;

// What was loaded, and the tap.
class WithTap final : public plugin::Extensions {
 public:
  explicit WithTap(const plugin::Extensions& loaded) : loaded_(loaded) {
    tap_.point = plugin::ComponentSpec::kPoint;
    tap_.name = "bench-tap";
    tap_.plugin = "bench-tap";
    tap_.config_json = "{}";
    tap_.type = &typeid(plugin::ComponentSpec);
    tap_.spec = std::make_shared<const plugin::ComponentSpec>(plugin::ComponentSpec{
        .group = plugin::Group::Node,
        .needs = {"api"},
        .make = [](const plugin::ComponentContext& context) -> Result<std::unique_ptr<plugin::Component>> {
          return std::make_unique<Tap>(context.services);
        }});
  }
  std::vector<const plugin::Extension*> at(std::string_view point) const override {
    auto out = loaded_.at(point);
    if (point == plugin::ComponentSpec::kPoint) out.push_back(&tap_);
    return out;
  }

 private:
  const plugin::Extensions& loaded_;
  plugin::Extension tap_;
};

config::Manifest read_manifest(const World::Options& options) {
  const auto environment = [&](const std::string& name) -> std::optional<std::string> {
    if (name == "BENCH_PLUGINS") return options.plugins.string();
    if (name == "BENCH_DATA") return options.data.string();
    if (name == "BENCH_STORAGE") return options.durable ? "storage-sqlite" : "storage-memory";
    return std::nullopt;
  };
  auto manifest = config::load_manifest(options.manifest, environment, options.plugins);
  if (!manifest) fail(manifest.error().message());
  if (options.durable)
    manifest->plugins.front().config_json = "{\"path\":\"" + (options.data / "state.db").string() + "\"}";
  for (const std::string& name : options.also) {
    config::PluginEntry entry = manifest->plugins.back();
    entry.name = name;
    entry.config_json = "{}";
    manifest->plugins.push_back(std::move(entry));
  }
  return *std::move(manifest);
}

}  // namespace

struct World::State {
  explicit State(const Options& options)
      : data(options.data),
        manifest(read_manifest(options)),
        sink(STDERR_FILENO, manifest.log_level, manifest.log_format, clock),
        log(sink.logger("bench")),
        blocking({"blocking", manifest.blocking_threads, std::max<std::size_t>(manifest.blocking_queue, 65536)}, *log,
                 metrics),
        compute({"compute", std::max<std::size_t>(1, std::thread::hardware_concurrency()), 65536}, *log, metrics),
        assembly(manifest),
        extensions(assembly) {
    for (const auto& plugin : assembly.plugins()) {
      if (plugin.state == lifecycle::PluginState::Refused && plugin.required)
        fail("plugin " + plugin.name + ": " + plugin.why);
    }
  }

  lifecycle::Surroundings lent() {
    return {[this](std::string_view name) { return sink.logger(name); },
            metrics,
            clock,
            random,
            blocking,
            compute,
            poller,
            {},
            {},
            [](std::string_view component) { fail("component " + std::string(component) + " does not stop"); }};
  }

  void start() {
    lifecycle = std::make_unique<lifecycle::Lifecycle>(extensions, lent());
    if (const auto started = lifecycle->start(); !started) fail(started.error().message());
    std::mutex mutex;
    std::condition_variable changed;
    bool ready = false;
    lifecycle->when_ready([&] {
      const std::lock_guard lock(mutex);
      ready = true;
      changed.notify_all();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ready; });
    api = Tap::connector->connect({.name = "scheduler-bench", .groups = {"system:masters", "system:authenticated"}});
  }

  const std::filesystem::path data;
  const config::Manifest manifest;
  core::SystemClock clock;
  core::LogSink sink;
  std::unique_ptr<Logger> log;
  core::ProcessMetrics metrics;
  core::SystemRandom random;
  core::EpollPoller poller;
  core::ThreadPool blocking;
  core::ThreadPool compute;
  const lifecycle::Assembly assembly;
  const WithTap extensions;
  std::unique_ptr<lifecycle::Lifecycle> lifecycle;
  std::unique_ptr<client::ApiClient> api;
};

World::World(const Options& options) : state_(std::make_unique<State>(options)) {
  state_->start();
}

World::~World() {
  state_->api.reset();
  state_->lifecycle->stop();
  state_->lifecycle.reset();
  std::error_code ignored;  // What is left in a temporary directory is the system's to remove.
  std::filesystem::remove_all(state_->data, ignored);
}

client::ApiClient& World::api() {
  return *state_->api;
}
Executor& World::blocking() {
  return state_->blocking;
}
std::string World::metrics() const {
  return state_->metrics.render();
}

}  // namespace kubernel::bench
