// SPDX-License-Identifier: Apache-2.0
#include "tasks.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>

#include <kubernel/base/alarm.h>

namespace kubernel::kubelet {

namespace {
constexpr std::chrono::milliseconds kFullPoolDelay{50};
}  // namespace

struct Tasks::State {
  State(Executor& b, Clock& c, Logger& l) : blocking(b), clock(c), log(l) {}

  Executor& blocking;
  Clock& clock;
  Logger& log;
  std::stop_source stop;
  std::mutex mutex;
  std::condition_variable idle;
  bool closed = false;
  std::size_t submitted = 0;  // Given to the pool and not ended.
  std::uint64_t next_retry = 0;
  std::map<std::uint64_t, std::shared_ptr<Alarm>> retries;  // Waiting for room in the pool.

  void done() {
    const std::lock_guard lock(mutex);
    if (--submitted == 0) idle.notify_all();
  }
};

Tasks::Tasks(Executor& blocking, Clock& clock, Logger& log) : state_(std::make_shared<State>(blocking, clock, log)) {}

Tasks::~Tasks() {
  state_->stop.request_stop();
}

void Tasks::submit(const std::shared_ptr<State>& state, std::shared_ptr<std::function<void()>> task) {
  {
    const std::lock_guard lock(state->mutex);
    if (state->closed) return;
    ++state->submitted;
  }
  auto result = state->blocking.submit([state, task] {
    bool closed = false;
    {
      const std::lock_guard lock(state->mutex);
      closed = state->closed;
    }
    if (!closed) {
      auto outcome = catch_as_error("kubelet task", [&]() -> Result<void> {
        (*task)();
        return {};
      });
      if (!outcome) log_error(state->log, "a task failed", {{"error", outcome.error()}});
    }
    state->done();
  });
  if (result) return;
  state->done();
  if (result.error().reason() != Reason::TooManyRequests) return;  // The pool is stopping.
  const auto alarm = std::make_shared<Alarm>();
  std::uint64_t id = 0;
  {
    const std::lock_guard lock(state->mutex);
    if (state->closed) return;
    id = state->next_retry++;
    state->retries.emplace(id, alarm);
  }
  alarm->set([&] {
    return state->clock.call_at(state->clock.now() + kFullPoolDelay, [weak = std::weak_ptr(state), id, task] {
      const auto alive = weak.lock();
      if (!alive) return;
      std::shared_ptr<Alarm> mine;
      {
        const std::lock_guard lock(alive->mutex);
        auto node = alive->retries.extract(id);
        if (!node.empty()) mine = std::move(node.mapped());
      }
      submit(alive, task);
    });
  });
}

void Tasks::run(std::function<void()> task) {
  submit(state_, std::make_shared<std::function<void()>>(std::move(task)));
}

std::unique_ptr<Subscription> Tasks::run_at(Clock::TimePoint due, std::function<void()> task) {
  auto shared = std::make_shared<std::function<void()>>(std::move(task));
  return state_->clock.call_at(due, [weak = std::weak_ptr(state_), shared] {
    if (const auto state = weak.lock()) submit(state, shared);
  });
}

std::unique_ptr<Subscription> Tasks::run_after(Clock::TimePoint::duration delay, std::function<void()> task) {
  return run_at(state_->clock.now() + delay, std::move(task));
}

CallContext Tasks::context() const {
  return CallContext{state_->stop.get_token()};
}

CallContext Tasks::context(std::chrono::milliseconds timeout) const {
  return CallContext{state_->stop.get_token(), state_->clock.now() + timeout};
}

bool Tasks::stopping() const {
  return state_->stop.stop_requested();
}

Clock& Tasks::clock() const {
  return state_->clock;
}

bool Tasks::stop(const CallContext& ctx) {
  std::map<std::uint64_t, std::shared_ptr<Alarm>> retries;
  state_->stop.request_stop();
  std::unique_lock lock(state_->mutex);
  state_->closed = true;
  retries.swap(state_->retries);
  lock.unlock();
  retries.clear();  // Outside the lock: destroying a timer may wait for its callback, which takes it.
  lock.lock();
  const auto idle = [this] { return state_->submitted == 0; };
  if (ctx.deadline != CallContext::Clock::time_point::max()) return state_->idle.wait_until(lock, ctx.deadline, idle);
  state_->idle.wait(lock, idle);
  return true;
}

}  // namespace kubernel::kubelet
