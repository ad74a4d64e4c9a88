// SPDX-License-Identifier: Apache-2.0
//
// Turns: tasks of one owner that run one at a time on an executor, and can be stopped.

#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include <kubernel/base/alarm.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/executor.h>

namespace kubernel::client {

/// Beside order it gives what a Strand does not: a full executor delays a task instead of refusing it, and stop()
/// waits. Threads: all members may be called concurrently. Always held by a shared_ptr.
class Turns final : public std::enable_shared_from_this<Turns> {
 public:
  Turns(Executor& executor, Clock& clock) : executor_(executor), clock_(clock) {}

  void run(std::function<void()> task);
  /// As run(), but not again while a task given to run_once() has not begun.
  void run_once(std::function<void()> task);
  /// No task begins any more; returns when none runs (at once when called from a task). Does not wait for the executor.
  void stop();

 private:
  void enqueue(std::function<void()> task, bool once);
  void submit();
  void drain();

  Executor& executor_;
  Clock& clock_;
  std::mutex mutex_;
  std::condition_variable idle_;
  struct Task {
    std::function<void()> work;
    bool once = false;
  };
  std::deque<Task> tasks_;
  bool once_waiting_ = false;
  bool scheduled_ = false;
  bool stopped_ = false;
  bool running_ = false;
  std::thread::id runner_;
  Alarm retry_;
};

}  // namespace kubernel::client
