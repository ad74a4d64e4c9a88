// SPDX-License-Identifier: Apache-2.0
#include "client/turns.h"

#include <utility>

namespace kubernel::client {
namespace {
constexpr std::chrono::milliseconds kExecutorBusy{50};
}

void Turns::run(std::function<void()> task) {
  enqueue(std::move(task), false);
}

void Turns::run_once(std::function<void()> task) {
  enqueue(std::move(task), true);
}

void Turns::enqueue(std::function<void()> task, bool once) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_ || (once && once_waiting_)) return;
    once_waiting_ = once_waiting_ || once;
    tasks_.push_back({std::move(task), once});
    if (std::exchange(scheduled_, true)) return;
  }
  submit();
}

void Turns::submit() {
  const auto submitted = executor_.submit([self = shared_from_this()] { self->drain(); });
  if (submitted || submitted.error().reason() == Reason::Cancelled) return;  // Cancelled: the process is stopping.
  retry_.set([this] {
    return clock_.call_at(clock_.now() + kExecutorBusy, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->submit();
    });
  });
}

void Turns::drain() {
  for (;;) {
    std::function<void()> work;
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) tasks_.clear();
      if (tasks_.empty()) {
        scheduled_ = false;
        return;
      }
      if (tasks_.front().once) once_waiting_ = false;
      work = std::move(tasks_.front().work);
      tasks_.pop_front();
      running_ = true;
      runner_ = std::this_thread::get_id();
    }
    work();
    work = nullptr;
    const std::lock_guard lock(mutex_);
    running_ = false;
    idle_.notify_all();
  }
}

void Turns::stop() {
  {
    std::unique_lock lock(mutex_);
    stopped_ = true;
    if (!running_ || runner_ != std::this_thread::get_id()) idle_.wait(lock, [&] { return !running_; });
  }
  retry_.cancel();
}

}  // namespace kubernel::client
