// SPDX-License-Identifier: Apache-2.0
//
// Lifecycle: starts the components of an assembly in order and stops them in reverse.

#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/plugin/component.h>

#include "core/lifecycle/service_table.h"
#include "core/lifecycle/start_order.h"

namespace kubernel::lifecycle {

// What components are lent; all of it outlives the Lifecycle.
struct Surroundings {
  std::function<std::unique_ptr<Logger>(std::string_view name)> make_logger;
  Metrics& metrics;
  Clock& clock;
  Random& random;
  Executor& blocking;
  Executor& compute;
  Poller& poller;
  // Plugins whose components may fail to start without ending the process.
  std::set<std::string> optional_plugins;
  // Plugins outside the manifest that would offer a service; may be empty.
  std::function<std::vector<std::string>(std::string_view service)> who_would_offer;
  // A component's stop() does not return, long after its deadline: the process has to end without it.
  std::function<void(std::string_view component)> abandon;
};

// How long a component may take to start, and all components of a group together to stop.
constexpr std::chrono::seconds kStartDeadline{60};
std::chrono::seconds stop_deadline(plugin::Group group);
// After the deadline; then Surroundings::abandon is called.
constexpr std::chrono::seconds kStopGrace{5};

// Threads: start(), stop() and wait() on one thread; everything else on any.
class Lifecycle final : public plugin::Process {
 public:
  // `extensions` outlives this object.
  Lifecycle(const plugin::Extensions& extensions, Surroundings surroundings);
  // Calls stop().
  ~Lifecycle() override;

  // Makes and starts every component of `extensions`; an optional one that fails is reported and left out, and so are
  // optional ones that need its services. After an error nothing runs any more.
  //
  // Errors: whatever keeps a component from starting, naming it; Cancelled after request_stop().
  Result<void> start();

  // Stops and destroys in reverse order of start what was started. A second call does nothing.
  void stop();

  // Returns once request_stop() was called, with its reason.
  std::string wait();

  std::vector<Check> readiness() const override;
  void request_stop(std::string_view why) override;

  // Calls `callback` once, on the clock's thread or the caller's, when all components are ready.
  void when_ready(std::function<void()> callback);

 private:
  enum class State : std::uint8_t { Waiting, Started, Failed, Stopping, Stopped };
  struct Slot {
    const plugin::Extension* extension;
    const plugin::ComponentSpec* spec;
    bool required = true;
    State state = State::Waiting;
    std::string failure;  // Why an optional one does not run; written before `state`.
    std::unique_ptr<Logger> log;
    std::unique_ptr<plugin::ComponentContext> context;
    std::unique_ptr<plugin::Component> component;
  };
  class ProcessService;

  Result<void> prepare();
  std::unique_ptr<Slot> make_slot(const plugin::Extension& extension, const plugin::ComponentSpec& spec) const;
  Result<void> start(Slot& slot);
  void leave_out(Slot& slot, const Error& error);
  Result<void> drop_hopeless(std::vector<Startable>& components, std::vector<const plugin::Extension*>& found,
                             std::span<const std::string> built_in);
  Result<void> check_needs(const Slot& slot) const;
  void stop(Slot& slot, Clock::TimePoint deadline);
  void set_state(Slot& slot, State state);
  void ask_until_ready(std::chrono::milliseconds pause);
  template <class F>
  auto seam(const Slot& slot, std::string_view step, F&& f) const -> std::invoke_result_t<F>;

  const plugin::Extensions& extensions_;
  const Surroundings surroundings_;
  const std::unique_ptr<Logger> log_;
  ServiceTable services_;
  std::vector<std::unique_ptr<Slot>> slots_;  // In start order; fixed after prepare().
  std::stop_source stop_source_;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable int asking_ = 0;  // Calls of problem() in flight: none may be when a component stops.
  bool stop_requested_ = false;
  std::string stop_reason_;

  std::function<void()> ready_callback_;
  std::mutex ready_mutex_;
  std::unique_ptr<Subscription> ready_timer_;
};

}  // namespace kubernel::lifecycle
