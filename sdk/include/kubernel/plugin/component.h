// SPDX-License-Identifier: Apache-2.0
//
// Component: a long-running part of the process (an API server, a scheduler, a node agent).

#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>
#include <kubernel/base/random.h>
#include <kubernel/plugin/services.h>

namespace kubernel::plugin {

/// What the core says about the process as a whole. Service name "process". Threads: any.
class Process {
 public:
  static constexpr std::string_view kService = "process";
  virtual ~Process() = default;

  struct Check {
    std::string name;      ///< The component's name.
    std::string problem;   ///< Empty: ready.
    bool required = true;  ///< False: the manifest lets the process be ready without this component.
  };
  /// One entry per component, in start order; an optional one that could not be started says why.
  virtual std::vector<Check> readiness() const = 0;
  /// Asks the process to stop, as SIGTERM does. `why` is logged.
  virtual void request_stop(std::string_view why) = 0;
};

/// Lent to a component for its whole life. All references outlive the component.
struct ComponentContext {
  std::string name;         ///< The name it was provided under.
  std::string config_json;  ///< Checked against the plugin's schema, defaults filled in.
  Logger& log;
  Metrics& metrics;
  Clock& clock;
  Random& random;
  Executor& blocking;
  Executor& compute;
  Poller& poller;
  Services& services;
  const Extensions& extensions;
};

/// Started and stopped once, in group order.
///
/// Threads: start() and stop() are called on the main thread; problem() on any.
class Component {
 public:
  virtual ~Component() = default;

  /// Acquires what the component needs and begins to work; returns once its services are offered
  /// and usable, without waiting for the outside world longer than ctx.deadline.
  ///
  /// Errors: any ends the process with one line naming the component, or, where the manifest says
  /// `required: false`, is a warning and in the readiness. What was acquired before the failure is
  /// released by the destructor.
  virtual Result<void> start(const CallContext& ctx) = 0;

  /// Stops accepting work, finishes or abandons what is in flight by ctx.deadline, and returns when
  /// no task of this component runs or will run. Called exactly once after a successful start().
  virtual void stop(const CallContext& ctx) = 0;

  /// Empty when ready to serve; otherwise one line for /readyz that says what is missing.
  virtual std::string problem() const = 0;
};

/// When a component starts, relative to the others. Stop is in reverse.
enum class Group : std::uint8_t { Storage, Server, Caches, Admission, Control, Node };

/// Extension point "component".
struct ComponentSpec {
  static constexpr std::string_view kPoint = "component";

  Group group = Group::Control;
  std::vector<std::string> needs;   ///< kService names that must be offered by an earlier component.
  std::vector<std::string> wants;   ///< Used when offered; orders the start, never fails it.
  std::vector<std::string> offers;  ///< kService names this component offers in start().
  Result<std::unique_ptr<Component>> (*make)(const ComponentContext& context) = nullptr;
};

}  // namespace kubernel::plugin
