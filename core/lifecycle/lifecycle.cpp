// SPDX-License-Identifier: Apache-2.0
#include "core/lifecycle/lifecycle.h"

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

#include "core/lifecycle/start_order.h"

namespace kubernel::lifecycle {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

// The pauses between two looks at the components' readiness. Nothing else tells of it, and it is only until the first
// time.
constexpr milliseconds kFirstPause{1};
constexpr milliseconds kLongestPause{200};

Error cancelled() {
  return {Reason::Cancelled, "stop was requested"};
}

}  // namespace

std::chrono::seconds stop_deadline(plugin::Group group) {
  using std::chrono::seconds;
  // storage, server, caches, admission, control, node
  constexpr std::array<seconds, 6> kDeadlines = {seconds(15), seconds(15), seconds(5),
                                                 seconds(5),  seconds(15), seconds(30)};
  return kDeadlines[static_cast<std::size_t>(group)];
}

// The service "process": a shared object in front of the Lifecycle, which is not shared.
class Lifecycle::ProcessService final : public plugin::Process {
 public:
  explicit ProcessService(Lifecycle& lifecycle) : lifecycle_(lifecycle) {}
  std::vector<Check> readiness() const override { return lifecycle_.readiness(); }
  void request_stop(std::string_view why) override { lifecycle_.request_stop(why); }

 private:
  Lifecycle& lifecycle_;
};

// Calls into a plugin. What it throws becomes an Error and a count.
template <class F>
auto Lifecycle::seam(const Slot& slot, std::string_view step, F&& f) const -> std::invoke_result_t<F> {
  bool threw = true;
  auto result = catch_as_error(step, [&] {
    auto returned = std::forward<F>(f)();
    threw = false;
    return returned;
  });
  if (threw) {
    surroundings_.metrics
        .counter("plugin_exceptions_total", "Exceptions that left a plugin's function.",
                 {{"plugin", slot.extension->plugin}})
        .add(1);
  }
  return result;
}

Lifecycle::Lifecycle(const plugin::Extensions& extensions, Surroundings surroundings)
    : extensions_(extensions), surroundings_(std::move(surroundings)), log_(surroundings_.make_logger("kubernel")) {}

Lifecycle::~Lifecycle() {
  stop();
}

Result<void> Lifecycle::prepare() {
  std::vector<Startable> components;
  std::vector<const plugin::Extension*> found = extensions_.at(plugin::ComponentSpec::kPoint);
  for (const plugin::Extension* extension : found) {
    if (*extension->type != typeid(plugin::ComponentSpec)) {
      return Error(Reason::Invalid, "plugin " + extension->plugin + ": component \"" + extension->name +
                                        "\" is not described by a ComponentSpec");
    }
    const auto* spec = static_cast<const plugin::ComponentSpec*>(extension->spec.get());
    if (spec->make == nullptr || spec->group > plugin::Group::Node) {
      return Error(Reason::Invalid, "plugin " + extension->plugin + ": component \"" + extension->name +
                                        "\" has no make function or no known group");
    }
    components.push_back({extension->name, spec});
  }
  const std::vector<std::string> built_in = {std::string(plugin::Process::kService)};
  KUBERNEL_CHECK_OK(drop_hopeless(components, found, built_in));
  KUBERNEL_TRY(const std::vector<std::size_t> order, start_order(components, built_in));
  services_.open_for("the core", built_in);
  plugin::offer<plugin::Process>(services_, std::make_shared<ProcessService>(*this));
  services_.close();
  const std::lock_guard lock(mutex_);
  for (const std::size_t i : order) {
    slots_.push_back(make_slot(*found[i], *components[i].spec));
  }
  return {};
}

std::unique_ptr<Lifecycle::Slot> Lifecycle::make_slot(const plugin::Extension& extension,
                                                      const plugin::ComponentSpec& spec) const {
  auto slot = std::make_unique<Slot>();
  slot->extension = &extension;
  slot->spec = &spec;
  slot->required = !surroundings_.optional_plugins.contains(extension.plugin);
  return slot;
}

// Optional components that need what nobody offers, and those that only they would have served, are left out.
Result<void> Lifecycle::drop_hopeless(std::vector<Startable>& components, std::vector<const plugin::Extension*>& found,
                                      std::span<const std::string> built_in) {
  while (const auto missing = find_missing(components, built_in)) {
    const auto at = static_cast<std::ptrdiff_t>(missing->component);
    const auto& who_would_offer = surroundings_.who_would_offer;
    const Error error =
        missing_service(components[missing->component].name, missing->service,
                        who_would_offer ? who_would_offer(missing->service) : std::vector<std::string>());
    auto slot = make_slot(*found[missing->component], *components[missing->component].spec);
    if (slot->required) return error;
    leave_out(*slot, error);
    {
      const std::lock_guard lock(mutex_);
      slots_.push_back(std::move(slot));
    }
    components.erase(components.begin() + at);
    found.erase(found.begin() + at);
  }
  return {};
}

// The optional component will not run; everything else goes on.
void Lifecycle::leave_out(Slot& slot, const Error& error) {
  slot.failure = error.message();
  set_state(slot, State::Failed);
  log_warning(*log_, "optional component is left out", {{"component", slot.extension->name}, {"error", error}});
}

Result<void> Lifecycle::start() {
  KUBERNEL_CHECK_OK(prepare());
  for (const auto& slot : slots_) {
    if (slot->state == State::Failed) continue;
    const auto began = surroundings_.clock.now();
    auto started = stop_source_.stop_requested() ? Result<void>(cancelled()) : start(*slot);
    // A stop cuts a start short; that is no failure of the component.
    if (!started && !slot->required && !stop_source_.stop_requested()) {
      stop(*slot, surroundings_.clock.now() + stop_deadline(slot->spec->group));
      leave_out(*slot, started.error());
      continue;
    }
    if (!started) {
      stop();
      return std::move(started).error().wrap("component " + slot->extension->name + " of plugin " +
                                             slot->extension->plugin);
    }
    const auto took = duration_cast<milliseconds>(surroundings_.clock.now() - began);
    log_debug(*log_, "component started", {{"component", slot->extension->name}, {"ms", took.count()}});
  }
  return {};
}

// What was promised may be owed by an optional component that did not start.
Result<void> Lifecycle::check_needs(const Slot& slot) const {
  for (const std::string& service : slot.spec->needs) {
    if (services_.has(service)) continue;
    for (const auto& other : slots_) {
      const auto& offers = other->spec->offers;
      if (other->state != State::Failed || std::find(offers.begin(), offers.end(), service) == offers.end()) continue;
      return Error(Reason::Invalid, "needs service \"" + service + "\" of component \"" + other->extension->name +
                                        "\", which did not start: " + other->failure);
    }
    return Error(Reason::Internal, "needs service \"" + service + "\", which was not offered");
  }
  return {};
}

Result<void> Lifecycle::start(Slot& slot) {
  const std::string& name = slot.extension->name;
  KUBERNEL_CHECK_OK(check_needs(slot));
  slot.log = surroundings_.make_logger(name);
  slot.context = std::make_unique<plugin::ComponentContext>(plugin::ComponentContext{
      name, slot.extension->config_json, *slot.log, surroundings_.metrics, surroundings_.clock, surroundings_.random,
      surroundings_.blocking, surroundings_.compute, surroundings_.poller, services_, extensions_});
  KUBERNEL_TRY(slot.component, seam(slot, "make", [&] { return slot.spec->make(*slot.context); }));
  if (!slot.component) return Error(Reason::Internal, "make returned nothing");

  const CallContext ctx{stop_source_.get_token(), surroundings_.clock.now() + kStartDeadline};
  const auto late = surroundings_.clock.call_at(ctx.deadline, [this, &name] {
    log_error(*log_, "component has not started by its deadline",
              {{"component", name}, {"seconds", kStartDeadline.count()}});
  });
  services_.open_for(name, slot.spec->offers);
  auto started = seam(slot, "start", [&] { return slot.component->start(ctx); });
  const std::vector<std::string> owed = services_.close();
  if (!started) {
    services_.drop(name);
    slot.component.reset();
    return started;
  }
  set_state(slot, State::Started);
  if (!owed.empty()) return Error(Reason::Internal, "does not offer service \"" + owed.front() + "\" as it declares");
  return {};
}

void Lifecycle::stop() {
  {
    const std::lock_guard lock(ready_mutex_);
    ready_callback_ = nullptr;
  }
  request_stop("the process ends");
  std::unique_ptr<Subscription> timer;
  {
    const std::lock_guard lock(ready_mutex_);
    timer = std::move(ready_timer_);
  }
  timer.reset();

  plugin::Group group = plugin::Group::Node;
  Clock::TimePoint deadline = surroundings_.clock.now() + stop_deadline(group);
  for (auto slot = slots_.rbegin(); slot != slots_.rend(); ++slot) {
    if ((*slot)->spec->group != group) {
      group = (*slot)->spec->group;
      deadline = surroundings_.clock.now() + stop_deadline(group);
    }
    stop(**slot, deadline);
  }
}

void Lifecycle::stop(Slot& slot, Clock::TimePoint deadline) {
  const std::string& name = slot.extension->name;
  if (slot.state == State::Started) {
    set_state(slot, State::Stopping);
    const auto late = surroundings_.clock.call_at(deadline, [this, &slot, &name] {
      log_error(*log_, "component has not stopped by its deadline",
                {{"component", name}, {"seconds", stop_deadline(slot.spec->group).count()}});
    });
    const auto lost =
        surroundings_.clock.call_at(deadline + kStopGrace, [this, &name] { surroundings_.abandon(name); });
    const auto stopped = seam(slot, "stop", [&]() -> Result<void> {
      slot.component->stop(CallContext{{}, deadline});
      return {};
    });
    if (!stopped) {
      log_error(*log_, "component failed to stop", {{"component", name}, {"error", stopped.error()}});
    }
  }
  services_.drop(name);
  slot.component.reset();
  if (slot.state != State::Failed) set_state(slot, State::Stopped);
}

// Returns only when no call of problem() is in flight, so that none meets a component that stops.
void Lifecycle::set_state(Slot& slot, State state) {
  std::unique_lock lock(mutex_);
  slot.state = state;
  changed_.wait(lock, [this] { return asking_ == 0; });
}

std::vector<plugin::Process::Check> Lifecycle::readiness() const {
  std::vector<std::pair<const Slot*, State>> seen;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& slot : slots_) seen.emplace_back(slot.get(), slot->state);
    ++asking_;
  }
  std::vector<Check> checks;
  for (const auto& [slot, state] : seen) {
    Check check{slot->extension->name, "stopped", slot->required};
    if (state == State::Failed) check.problem = slot->failure;
    if (state == State::Waiting) check.problem = "not started yet";
    if (state == State::Stopping) check.problem = "stopping";
    if (state == State::Started) {
      auto problem = seam(*slot, "problem", [&]() -> Result<std::string> { return slot->component->problem(); });
      check.problem = problem ? *std::move(problem) : problem.error().message();
    }
    checks.push_back(std::move(check));
  }
  const std::lock_guard lock(mutex_);
  if (--asking_ == 0) changed_.notify_all();
  return checks;
}

void Lifecycle::request_stop(std::string_view why) {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(stop_requested_, true)) return;
    stop_reason_ = why;
    changed_.notify_all();
  }
  stop_source_.request_stop();
}

std::string Lifecycle::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stop_requested_; });
  return stop_reason_;
}

void Lifecycle::when_ready(std::function<void()> callback) {
  {
    const std::lock_guard lock(ready_mutex_);
    ready_callback_ = std::move(callback);
  }
  ask_until_ready(kFirstPause);
}

void Lifecycle::ask_until_ready(milliseconds pause) {
  const std::vector<Check> checks = readiness();
  const bool ready = std::all_of(checks.begin(), checks.end(),
                                 [](const Check& check) { return check.problem.empty() || !check.required; });
  std::function<void()> callback;
  std::unique_ptr<Subscription> before;  // The timer whose callback this is; destroyed after the lock is released.
  {
    const std::lock_guard lock(ready_mutex_);
    if (!ready_callback_) return;
    before = std::move(ready_timer_);
    if (ready) {
      callback = std::exchange(ready_callback_, nullptr);
    } else {
      ready_timer_ =
          surroundings_.clock.call_at(surroundings_.clock.now() + pause,
                                      [this, next = std::min(pause * 2, kLongestPause)] { ask_until_ready(next); });
    }
  }
  if (callback) callback();
}

}  // namespace kubernel::lifecycle
