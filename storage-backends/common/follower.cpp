// SPDX-License-Identifier: Apache-2.0
#include "follower.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

namespace kubernel::storage_common {
namespace {

using std::chrono::milliseconds;

// How long after the last look a database that does not tell is asked again.
constexpr milliseconds kBusyPause{10};
constexpr milliseconds kIdlePause{50};
// And how long after a failed look.
constexpr milliseconds kRetry{1000};

}  // namespace

struct Follower::State : std::enable_shared_from_this<State> {
  State(Clock& c, Executor& e, Logger& l, CatchUp f) : clock(c), executor(e), log(l), catch_up(std::move(f)) {}

  // On any thread. Several calls before the look are one.
  void look() {
    if (queued.exchange(true)) return;
    const auto submitted = executor.submit([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->run();
    });
    if (submitted) return;
    queued = false;
    ring_in(kRetry);
  }

  // On a pool thread.
  void run() {
    const std::lock_guard running(run_mutex);
    queued = false;
    if (closed) return;
    const auto found = catch_up();
    if (!found && !std::exchange(failing, true)) {
      log_warning(log, "writes of other processes cannot be read, trying again", {{"error", found.error()}});
    }
    if (found) failing = false;
    if (!found) {
      ring_in(kRetry);
    } else if (asks) {
      pause = *found ? kBusyPause : std::min(2 * pause, kIdlePause);
      ring_in(pause);
    }
  }

  void ring_in(milliseconds time) {
    std::unique_ptr<Subscription> old;  // Destroyed without the lock: that may wait for a running callback.
    const std::lock_guard lock(timer_mutex);
    if (closed) return;
    old = std::move(timer);
    timer = clock.call_at(clock.now() + time, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->look();
    });
  }

  Clock& clock;
  Executor& executor;
  Logger& log;
  const CatchUp catch_up;
  bool asks = false;  // The database does not tell. Set before the first look.
  std::atomic<bool> queued = false;
  std::atomic<bool> closed = false;

  std::mutex run_mutex;  // Held while catch_up runs.
  milliseconds pause = kBusyPause;
  bool failing = false;

  std::mutex timer_mutex;
  std::unique_ptr<Subscription> timer;
};

Follower::Follower(Database& database, Clock& clock, Executor& executor, Logger& log, CatchUp catch_up)
    : state_(std::make_shared<State>(clock, executor, log, std::move(catch_up))) {
  told_ = database.on_foreign_write([state = std::weak_ptr(state_)] {
    if (const auto self = state.lock()) self->look();
  });
  state_->asks = told_ == nullptr;
  // What was written between reading the store's marks and now is told by nobody.
  state_->look();
}

Follower::~Follower() {
  told_.reset();
  std::unique_ptr<Subscription> timer;
  {
    const std::lock_guard running(state_->run_mutex);
    const std::lock_guard lock(state_->timer_mutex);
    state_->closed = true;
    timer = std::move(state_->timer);
  }
}

}  // namespace kubernel::storage_common
