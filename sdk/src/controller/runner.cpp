// SPDX-License-Identifier: Apache-2.0
#include <kubernel/controller/runner.h>

#include <array>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include <kubernel/controller/work_queue.h>

namespace kubernel::controller {
namespace {

using api::ObjectKey;

constexpr std::array kSeconds = {1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0};
constexpr std::chrono::milliseconds kExecutorBusy{50};

bool worth_retrying(const Error& error) {
  return error.retriable() || error.reason() == Reason::Forbidden || error.reason() == Reason::NotFound;
}

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

struct Series {
  Series(Metrics& metrics, const std::string& name)
      : depth(metrics.gauge("workqueue_depth", "Current depth of workqueue", {{"name", name}})),
        adds(metrics.counter("workqueue_adds_total", "Total number of adds handled by workqueue", {{"name", name}})),
        retries(metrics.counter("workqueue_retries_total", "Total number of retries handled by workqueue",
                                {{"name", name}})),
        queued(metrics.histogram("workqueue_queue_duration_seconds",
                                 "How long in seconds an item stays in workqueue before being requested.", kSeconds,
                                 {{"name", name}})),
        worked(metrics.histogram("workqueue_work_duration_seconds",
                                 "How long in seconds processing an item from workqueue takes.", kSeconds,
                                 {{"name", name}})),
        parked(metrics.counter("controller_parked_keys_total",
                               "Reconciles that failed in a way that only a change of the object can mend",
                               {{"controller", name}})),
        exceptions(
            metrics.counter("plugin_exceptions_total", "Exceptions out of a plugin's function", {{"plugin", name}})) {}

  Gauge& depth;
  Counter& adds;
  Counter& retries;
  Histogram& queued;
  Histogram& worked;
  Counter& parked;
  Counter& exceptions;
};

// Shared with the tasks and timers it has made, which may be called after the runner is gone.
class Core final : public std::enable_shared_from_this<Core> {
 public:
  Core(const RunnerContext& context, RunnerOptions options)
      : context_(context),
        options_(std::move(options)),
        series_(context.metrics, options_.name),
        queue_(context.clock),
        limiter_(context.clock) {}

  void add(const ObjectKey& key) {
    count_add(queue_.add(key));
    pump();
  }

  void add_after(const ObjectKey& key, std::chrono::nanoseconds delay) {
    queue_.add_after(key, delay);
    pump();
  }

  void start(Reconciler& reconciler) {
    {
      const std::lock_guard lock(mutex_);
      reconciler_ = &reconciler;
    }
    pump();
  }

  bool started() const {
    const std::lock_guard lock(mutex_);
    return reconciler_ != nullptr;
  }

  Result<void> stop(CallContext::Clock::time_point deadline) {
    std::unique_ptr<Subscription> timer;
    std::unique_lock lock(mutex_);
    stopping_ = true;
    timer = std::move(timer_);
    lock.unlock();
    timer.reset();  // Not under the lock: it waits for a callback that may want it.
    stop_.request_stop();
    lock.lock();
    const auto idle = [&] { return running_ == 0; };
    // wait_until() with time_point::max() overflows inside libstdc++.
    if (deadline == CallContext::Clock::time_point::max()) {
      idle_.wait(lock, idle);
    } else if (!idle_.wait_until(lock, deadline, idle)) {
      return Error(Reason::Timeout, "controller " + options_.name + ": " + std::to_string(running_) +
                                        " reconciles did not stop in time");
    }
    return {};
  }

 private:
  void count_add(bool added) {
    if (added) series_.adds.add(1);
    series_.depth.set(static_cast<double>(queue_.depth()));
  }

  // Hands out keys while there is room, then arms the timer for the next delayed key.
  void pump() {
    while (reserve_slot()) {
      auto taken = queue_.take_ready();
      if (!taken) {
        release_slot();
        // A key may have come between take_ready() and release_slot(), whose pump() found no slot free.
        if (queue_.depth() == 0) break;
        continue;
      }
      series_.depth.set(static_cast<double>(queue_.depth()));
      series_.queued.observe(seconds(context_.clock.now() - taken->added));
      const auto submitted =
          context_.blocking.submit([self = shared_from_this(), key = taken->key] { self->work(key); });
      if (submitted) continue;
      queue_.finish(taken->key);
      release_slot();
      if (submitted.error().reason() == Reason::Cancelled) return;  // The process is stopping.
      queue_.add_after(taken->key, kExecutorBusy);
      break;
    }
    arm_timer();
  }

  bool reserve_slot() {
    const std::lock_guard lock(mutex_);
    if (stopping_ || reconciler_ == nullptr || slots_ >= options_.workers) return false;
    ++slots_;
    return true;
  }

  void release_slot() {
    const std::lock_guard lock(mutex_);
    --slots_;
  }

  void arm_timer() {
    const auto due = queue_.next_due();
    std::unique_ptr<Subscription> old;  // Destroyed after the lock is released.
    const std::lock_guard lock(mutex_);
    if (!due || stopping_ || reconciler_ == nullptr) return;
    if (timer_ && armed_for_ <= *due) return;
    armed_for_ = *due;
    const std::uint64_t generation = ++timer_generation_;
    old = std::exchange(timer_, context_.clock.call_at(*due, [weak = weak_from_this(), generation] {
      if (const auto self = weak.lock()) self->timer_fired(generation);
    }));
  }

  void timer_fired(std::uint64_t generation) {
    std::unique_ptr<Subscription> fired;
    {
      const std::lock_guard lock(mutex_);
      if (generation != timer_generation_) return;  // A newer timer has taken its place.
      fired = std::move(timer_);
    }
    fired.reset();  // From its own callback, which is allowed and does not wait.
    pump();
  }

  void work(const ObjectKey& key) {
    Reconciler* reconciler = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (!stopping_) {
        reconciler = reconciler_;
        ++running_;
      }
    }
    if (reconciler == nullptr) {
      queue_.finish(key);
      release_slot();
      return;
    }
    const auto began = context_.clock.now();
    const auto outcome = run(*reconciler, key);
    series_.worked.observe(seconds(context_.clock.now() - began));
    decide(key, outcome);
    count_add(queue_.finish(key));
    {
      const std::lock_guard lock(mutex_);
      --slots_;
      --running_;
      idle_.notify_all();
    }
    pump();
  }

  Result<Next> run(Reconciler& reconciler, const ObjectKey& key) {
    const CallContext ctx{stop_.get_token()};
    try {
      return reconciler.reconcile(ctx, key);
    } catch (const std::exception& e) {
      series_.exceptions.add(1);
      return Error(Reason::Internal, std::string("exception: ") + e.what());
    } catch (...) {
      series_.exceptions.add(1);
      return Error(Reason::Internal, "threw a non-standard exception");
    }
  }

  void decide(const ObjectKey& key, const Result<Next>& outcome) {
    if (outcome) {
      limiter_.forget(key);
      if (outcome->delay() > std::chrono::milliseconds::zero()) queue_.add_after(key, outcome->delay());
      return;
    }
    const Error& error = outcome.error();
    if (stop_.stop_requested()) return;
    if (worth_retrying(error)) {
      const auto delay = limiter_.next_delay(key);
      series_.retries.add(1);
      // A lost race is everyday; the rest is worth a line.
      const auto level = error.reason() == Reason::Conflict ? LogLevel::Debug : LogLevel::Warning;
      if (context_.log.enabled(level)) {
        context_.log.write(level, "reconcile failed, will retry",
                           {{"key", to_string(key)},
                            {"error", error},
                            {"failures", limiter_.failures(key)},
                            {"retry_seconds", seconds(delay)}});
      }
      queue_.add_after(key, delay);
      return;
    }
    limiter_.forget(key);
    series_.parked.add(1);
    log_error(context_.log, "reconcile failed, waiting for the object to change",
              {{"key", to_string(key)}, {"error", error}});
  }

  const RunnerContext context_;
  const RunnerOptions options_;
  Series series_;
  WorkQueue<ObjectKey> queue_;
  RateLimiter<ObjectKey> limiter_;
  std::stop_source stop_;

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  Reconciler* reconciler_ = nullptr;
  bool stopping_ = false;
  int slots_ = 0;    // Keys taken: submitted or running.
  int running_ = 0;  // Inside reconcile().
  std::unique_ptr<Subscription> timer_;
  Clock::TimePoint armed_for_{};
  std::uint64_t timer_generation_ = 0;
};

class QueueRunner final : public Runner {
 public:
  QueueRunner(const RunnerContext& context, RunnerOptions options)
      : core_(std::make_shared<Core>(context, std::move(options))) {}
  ~QueueRunner() override {
    // Without a deadline it cannot fail.
    static_cast<void>(core_->stop(CallContext::Clock::time_point::max()));
  }
  QueueRunner(const QueueRunner&) = delete;
  QueueRunner& operator=(const QueueRunner&) = delete;

  void add(const ObjectKey& key) override { core_->add(key); }
  void add_after(const ObjectKey& key, std::chrono::milliseconds delay) override { core_->add_after(key, delay); }
  void start(Reconciler& reconciler) override { core_->start(reconciler); }
  bool started() const override { return core_->started(); }
  Result<void> stop(const CallContext& ctx) override { return core_->stop(ctx.deadline); }

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace

std::unique_ptr<Runner> make_runner(const RunnerContext& context, RunnerOptions options) {
  return std::make_unique<QueueRunner>(context, std::move(options));
}

}  // namespace kubernel::controller
