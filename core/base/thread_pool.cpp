// SPDX-License-Identifier: Apache-2.0
#include "core/base/thread_pool.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <iterator>
#include <list>
#include <mutex>
#include <utility>
#include <vector>

#include "core/base/thread.h"

namespace kubernel::core {

struct ThreadPool::State {
  struct Worker {
    std::condition_variable wake;
    bool idle = false;
    std::unique_ptr<Thread> thread;
  };
  using Workers = std::list<Worker>;

  State(ThreadPoolOptions o, Logger& l, Metrics& metrics)
      : options(std::move(o)),
        log(l),
        threads_gauge(metrics.gauge("executor_threads", "Threads of an executor.", {{"executor", options.name}})),
        queue_gauge(
            metrics.gauge("executor_queue_length", "Tasks waiting for a thread.", {{"executor", options.name}})),
        refused(metrics.counter("executor_refused_total", "Tasks refused because the queue was full.",
                                {{"executor", options.name}})),
        exceptions(metrics.counter("executor_task_exceptions_total", "Tasks that ended by throwing.",
                                   {{"executor", options.name}})) {}

  const ThreadPoolOptions options;
  Logger& log;
  Gauge& threads_gauge;
  Gauge& queue_gauge;
  Counter& refused;
  Counter& exceptions;

  mutable std::mutex mutex;
  std::deque<std::function<void()>> queue;
  Workers workers;
  Workers ended;                  // Their threads have returned, or are about to, and want joining.
  std::vector<Worker*> idle;      // The last one to become idle is the first to be woken: the others can end.
  std::condition_variable quiet;  // The last worker has ended.
  bool stopping = false;

  void run(Workers::iterator self);
  void run_task(std::function<void()> task);
  bool wait_for_work(std::unique_lock<std::mutex>& lock, Worker& self);
  void wake_or_spawn();
};

void ThreadPool::State::run_task(std::function<void()> task) {
  try {
    task();
  } catch (const std::exception& e) {
    exceptions.add(1);
    log_error(log, "a task threw an exception", {{"executor", options.name}, {"error", e.what()}});
  } catch (...) {
    exceptions.add(1);
    log_error(log, "a task threw something that is no std::exception", {{"executor", options.name}});
  }
}

// False when the worker should end.
bool ThreadPool::State::wait_for_work(std::unique_lock<std::mutex>& lock, Worker& self) {
  // Again and again, because a busy worker may take the task this one was woken for.
  while (queue.empty()) {
    if (stopping) return false;
    self.idle = true;
    idle.push_back(&self);
    const bool woken = self.wake.wait_for(lock, options.idle, [&] { return !self.idle || stopping; });
    if (self.idle) {
      std::erase(idle, &self);
      self.idle = false;
    }
    if (!woken && queue.empty()) return false;
  }
  return true;
}

void ThreadPool::State::run(Workers::iterator self) {
  std::unique_lock lock(mutex);
  while (wait_for_work(lock, *self)) {
    std::function<void()> task = std::move(queue.front());
    queue.pop_front();
    queue_gauge.set(static_cast<double>(queue.size()));
    lock.unlock();
    run_task(std::exchange(task, nullptr));
    lock.lock();
  }
  ended.splice(ended.end(), workers, self);
  threads_gauge.set(static_cast<double>(workers.size()));
  if (workers.empty()) quiet.notify_all();
}

void ThreadPool::State::wake_or_spawn() {
  if (!idle.empty()) {
    Worker* const worker = idle.back();
    idle.pop_back();
    worker->idle = false;
    worker->wake.notify_one();
    return;
  }
  if (workers.size() >= options.threads) return;
  workers.emplace_back();
  const auto self = std::prev(workers.end());
  self->thread = std::make_unique<Thread>(options.name, [this, self] { run(self); });
  threads_gauge.set(static_cast<double>(workers.size()));
}

ThreadPool::ThreadPool(ThreadPoolOptions options, Logger& log, Metrics& metrics)
    : state_(std::make_unique<State>(std::move(options), log, metrics)) {}

ThreadPool::~ThreadPool() {
  stop();
}

Result<void> ThreadPool::submit(std::function<void()> task) {
  State::Workers joinable;  // Joined after the lock is released; their threads need it to return.
  const std::lock_guard lock(state_->mutex);
  if (state_->stopping) return Error(Reason::Cancelled, "executor " + state_->options.name + " is stopping");
  if (state_->queue.size() >= state_->options.queue_limit) {
    state_->refused.add(1);
    return Error(Reason::TooManyRequests, "executor " + state_->options.name + " has " +
                                              std::to_string(state_->queue.size()) + " tasks waiting");
  }
  state_->queue.push_back(std::move(task));
  state_->queue_gauge.set(static_cast<double>(state_->queue.size()));
  joinable.swap(state_->ended);
  state_->wake_or_spawn();
  return {};
}

void ThreadPool::stop() {
  State::Workers joinable;
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  for (State::Worker& worker : state_->workers) worker.wake.notify_one();
  state_->quiet.wait(lock, [&] { return state_->workers.empty(); });
  joinable.swap(state_->ended);
  lock.unlock();
}

std::size_t ThreadPool::thread_count() const {
  const std::lock_guard lock(state_->mutex);
  return state_->workers.size();
}

}  // namespace kubernel::core
