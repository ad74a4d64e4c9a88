// SPDX-License-Identifier: Apache-2.0
//
// Tasks: everything the kubelet runs later or elsewhere, counted, so that stop() can wait until none of it runs or will
// run.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>

namespace kubernel::kubelet {

// Threads: all members may be called concurrently.
class Tasks {
 public:
  Tasks(Executor& blocking, Clock& clock, Logger& log);
  ~Tasks();

  // Runs `task` on the blocking pool. A full pool delays it; after stop() it is dropped.
  void run(std::function<void()> task);
  // As run(), once now() >= due, unless the result is destroyed before. Destroying it after that does not call the task
  // back.
  [[nodiscard]] std::unique_ptr<Subscription> run_at(Clock::TimePoint due, std::function<void()> task);
  [[nodiscard]] std::unique_ptr<Subscription> run_after(Clock::TimePoint::duration delay, std::function<void()> task);

  // Stops when the kubelet does.
  CallContext context() const;
  // As context(), with a deadline `timeout` of real time away: for calls into a runtime or the network.
  CallContext context(std::chrono::milliseconds timeout) const;
  bool stopping() const;

  // Refuses new tasks and cancels contexts; returns when none runs, or false at the deadline.
  bool stop(const CallContext& ctx);

  Clock& clock() const;

 private:
  struct State;
  static void submit(const std::shared_ptr<State>& state, std::shared_ptr<std::function<void()>> task);
  std::shared_ptr<State> state_;
};

}  // namespace kubernel::kubelet
