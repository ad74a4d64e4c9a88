// SPDX-License-Identifier: Apache-2.0
#include "core/main/run.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include <sys/resource.h>
#include <unistd.h>

#include "core/base/epoll_poller.h"
#include "core/base/log_sink.h"
#include "core/base/process_metrics.h"
#include "core/base/system_clock.h"
#include "core/base/system_random.h"
#include "core/base/thread_pool.h"
#include "core/config/manifest.h"
#include "core/lifecycle/assembly.h"
#include "core/lifecycle/lifecycle.h"
#include "core/main/service_manager.h"
#include "core/main/signals.h"

namespace kubernel::core {
namespace {

using lifecycle::AssembledPlugin;
using lifecycle::Assembly;
using lifecycle::Lifecycle;
using lifecycle::PluginState;

// The usual soft limit of 1024 descriptors is for programs that use select(); this one does not.
void raise_descriptor_limit() {
  constexpr rlim_t kEnough = 65536;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kEnough) return;
  limit.rlim_cur = std::min(limit.rlim_max, kEnough);
  // Refused: the limit stays as it was, which is for the administrator to choose.
  static_cast<void>(setrlimit(RLIMIT_NOFILE, &limit));
}

std::string service_manager() {
  const char* const address = std::getenv("NOTIFY_SOCKET");
  return address == nullptr ? "" : address;
}

// One line for each plugin that is not loaded; false when a required one is among them.
bool report(const Assembly& assembly, Logger& log) {
  bool complete = true;
  for (const AssembledPlugin& plugin : assembly.plugins()) {
    const std::string line = "plugin " + plugin.name + ": " + plugin.why;
    if (plugin.state == PluginState::Skipped) log_debug(log, line);
    if (plugin.state != PluginState::Refused) continue;
    if (plugin.required) {
      log_error(log, line);
      complete = false;
    } else {
      log_warning(log, line);
    }
  }
  return complete;
}

// Everything components are lent, in order of making; destroyed in reverse.
struct Surroundings {
  explicit Surroundings(const config::Manifest& manifest)
      : sink(STDERR_FILENO, manifest.log_level, manifest.log_format, clock),
        log(sink.logger("kubernel")),
        blocking({"blocking", manifest.blocking_threads, manifest.blocking_queue}, *log, metrics),
        compute({"compute", compute_threads(manifest), 65536}, *log, metrics) {}

  static std::size_t compute_threads(const config::Manifest& manifest) {
    return manifest.compute_threads > 0 ? manifest.compute_threads
                                        : std::max<std::size_t>(1, std::thread::hardware_concurrency());
  }

  lifecycle::Surroundings lent(const config::Manifest& manifest) {
    std::set<std::string> optional;
    for (const config::PluginEntry& entry : manifest.plugins) {
      if (!entry.required) optional.insert(entry.name);
    }
    return {[this](std::string_view name) { return sink.logger(name); },
            metrics,
            clock,
            random,
            blocking,
            compute,
            poller,
            std::move(optional),
            [&manifest](std::string_view service) { return lifecycle::plugins_offering(manifest, service); },
            [this](std::string_view component) {
              log_error(*log, "component does not stop; the process ends without it", {{"component", component}});
              _exit(kExitFailure);
            }};
  }

  SystemClock clock;
  LogSink sink;
  std::unique_ptr<Logger> log;
  ProcessMetrics metrics;
  SystemRandom random;
  EpollPoller poller;
  ThreadPool blocking;
  ThreadPool compute;
};

void tell(Logger& log, std::string_view state) {
  if (const auto told = notify_service_manager(service_manager(), state); !told) {
    log_warning(log, told.error().message());
  }
}

int live(Surroundings& surroundings, const config::Manifest& manifest, const Assembly& assembly) {
  Logger& log = *surroundings.log;
  Lifecycle lifecycle(assembly, surroundings.lent(manifest));
  const StopSignals signals(surroundings.poller, [&](std::string_view signal) { lifecycle.request_stop(signal); });
  if (const auto started = lifecycle.start(); !started) {
    if (started.error().reason() == Reason::Cancelled) {
      log_info(log, "stopped", {{"why", lifecycle.wait()}});
      return kExitOk;
    }
    log_error(log, started.error().message());
    return kExitFailure;
  }
  lifecycle.when_ready([&] {
    log_info(log, "ready", {{"ms", since_exec().count()}});
    tell(log, "READY=1");
  });
  const std::string why = lifecycle.wait();
  log_info(log, "stopping", {{"why", why}});
  tell(log, "STOPPING=1");
  lifecycle.stop();
  log_info(log, "stopped");
  return kExitOk;
}

}  // namespace

int run(const std::filesystem::path& manifest_file) {
  raise_descriptor_limit();
  const auto manifest = config::load_manifest(manifest_file, config::process_environment(), KUBERNEL_PLUGIN_DIR);
  if (!manifest) {
    std::fprintf(stderr, "kubernel: %s\n", manifest.error().message().c_str());
    return kExitFailure;
  }
  Surroundings surroundings(*manifest);
  const Assembly assembly(*manifest);
  if (!report(assembly, *surroundings.log)) return kExitFailure;
  return live(surroundings, *manifest, assembly);
}

}  // namespace kubernel::core
