// SPDX-License-Identifier: Apache-2.0
//
// ThreadPool: a bounded number of threads behind a bounded queue. Threads start when work finds none idle and end when
// they have been idle for a while, so that an idle process keeps few of them.

#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>

namespace kubernel::core {

struct ThreadPoolOptions {
  std::string name;  // Of its threads and in its metrics.
  std::size_t threads = 16;
  std::size_t queue_limit = 4096;
  std::chrono::milliseconds idle = std::chrono::seconds(10);
};

// `log` and `metrics` outlive the pool.
class ThreadPool final : public Executor {
 public:
  ThreadPool(ThreadPoolOptions options, Logger& log, Metrics& metrics);
  // Calls stop().
  ~ThreadPool() override;

  Result<void> submit(std::function<void()> task) override;

  // Refuses new tasks, runs those queued and returns when the last one has. Not from a task of this pool.
  void stop();

  std::size_t thread_count() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kubernel::core
