// SPDX-License-Identifier: Apache-2.0
#include <kubernel/base/executor.h>

#include <deque>
#include <exception>
#include <mutex>
#include <utility>

namespace kubernel {
namespace {

// How many tasks run before the strand lets others have its thread.
constexpr int kTurn = 16;

// Shared with the task queued on the executor, so that it outlives the Strand while there is work.
class Tasks final : public std::enable_shared_from_this<Tasks> {
 public:
  explicit Tasks(Executor& executor) : executor_(executor) {}

  Result<void> add(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    if (!scheduled_) KUBERNEL_CHECK_OK(schedule());
    scheduled_ = true;
    queue_.push_back(std::move(task));
    return {};
  }

 private:
  // An executor that runs the task inside submit() would find the mutex taken: submit() promises to queue.
  Result<void> schedule() {
    return executor_.submit([self = shared_from_this()] { self->run(); });
  }

  bool take(std::function<void()>& task) {
    const std::lock_guard lock(mutex_);
    if (queue_.empty()) {
      scheduled_ = false;
      return false;
    }
    task = std::move(queue_.front());
    queue_.pop_front();
    return true;
  }

  void run() {
    std::exception_ptr thrown;
    std::function<void()> task;
    for (int ran = 1; take(task); ++ran) {
      try {
        task();
      } catch (...) {
        // The executor's to report, after the others had their turn; of several, the first.
        if (!thrown) thrown = std::current_exception();
      }
      task = nullptr;
      // A refusal is no way out: what was accepted runs, so it runs here and now.
      if ((ran % kTurn == 0 || thrown) && schedule()) break;
    }
    if (thrown) std::rethrow_exception(thrown);
  }

  Executor& executor_;
  std::mutex mutex_;
  std::deque<std::function<void()>> queue_;
  bool scheduled_ = false;  // run() is on its way or running.
};

class Strand final : public Executor {
 public:
  explicit Strand(Executor& executor) : tasks_(std::make_shared<Tasks>(executor)) {}
  Result<void> submit(std::function<void()> task) override { return tasks_->add(std::move(task)); }

 private:
  std::shared_ptr<Tasks> tasks_;
};

}  // namespace

std::unique_ptr<Executor> make_strand(Executor& executor) {
  return std::make_unique<Strand>(executor);
}

}  // namespace kubernel
