// SPDX-License-Identifier: Apache-2.0
#include "core/base/system_clock.h"

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "core/base/thread.h"

namespace kubernel::core {

struct SystemClock::State {
  using Key = std::pair<TimePoint, std::uint64_t>;

  std::mutex mutex;
  std::condition_variable changed;   // An earlier timer, or the end.
  std::condition_variable finished;  // A callback has returned.
  std::map<Key, std::function<void()>> timers;
  std::uint64_t next_id = 0;
  std::optional<std::uint64_t> running;
  std::thread::id runner;
  bool ending = false;
  std::unique_ptr<Thread> thread;

  void run();
  void cancel(const Key& key);
};

void SystemClock::State::run() {
  std::unique_lock lock(mutex);
  runner = std::this_thread::get_id();
  while (!ending) {
    if (timers.empty()) {
      changed.wait(lock);
      continue;
    }
    const auto first = timers.begin();
    const TimePoint due = first->first.first;
    if (due > std::chrono::steady_clock::now()) {
      changed.wait_until(lock, due);
      continue;
    }
    running = first->first.second;
    std::function<void()> callback = std::move(first->second);
    timers.erase(first);
    lock.unlock();
    callback();
    callback = nullptr;  // What it captured is gone before a waiting cancel() goes on.
    lock.lock();
    running.reset();
    finished.notify_all();
  }
}

void SystemClock::State::cancel(const Key& key) {
  std::function<void()> dropped;  // Destroyed after the lock is released: it may own other timers.
  std::unique_lock lock(mutex);
  if (const auto found = timers.find(key); found != timers.end()) {
    dropped = std::move(found->second);
    timers.erase(found);
    lock.unlock();
    return;
  }
  if (running != key.second || runner == std::this_thread::get_id()) return;
  finished.wait(lock, [&] { return running != key.second; });
}

namespace {

class Timer final : public Subscription {
 public:
  explicit Timer(std::function<void()> cancel) : cancel_(std::move(cancel)) {}
  ~Timer() override { cancel_(); }

 private:
  std::function<void()> cancel_;
};

}  // namespace

SystemClock::SystemClock() : state_(std::make_shared<State>()) {}

SystemClock::~SystemClock() {
  std::map<State::Key, std::function<void()>> dropped;  // Destroyed last, without the lock.
  {
    const std::lock_guard lock(state_->mutex);
    state_->ending = true;
    state_->changed.notify_all();
  }
  state_->thread.reset();
  const std::lock_guard lock(state_->mutex);
  dropped.swap(state_->timers);
}

Clock::TimePoint SystemClock::now() const {
  return std::chrono::steady_clock::now();
}

Clock::WallTime SystemClock::wall_now() const {
  return std::chrono::system_clock::now();
}

std::unique_ptr<Subscription> SystemClock::call_at(TimePoint due, std::function<void()> callback) {
  const std::lock_guard lock(state_->mutex);
  const State::Key key(due, state_->next_id++);
  const auto at = state_->timers.emplace(key, std::move(callback)).first;
  if (!state_->thread) {
    state_->thread = std::make_unique<Thread>("timer", [state = state_.get()] { state->run(); });
  } else if (at == state_->timers.begin()) {
    state_->changed.notify_all();
  }
  return std::make_unique<Timer>([state = state_, key] { state->cancel(key); });
}

}  // namespace kubernel::core
