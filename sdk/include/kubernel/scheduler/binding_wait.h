// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/result.h>
#include <kubernel/scheduler/framework.h>

namespace kubernel::scheduler {

/// How a PreBind waits until others have done their part (volumes that are bound, devices that are ready): it looks
/// whenever something has changed, and holds a thread of the blocking pool meanwhile.
///
/// Threads: all members may be called concurrently.
class BindingWait {
 public:
  /// Something has changed that a binding may wait for.
  void changed() {
    {
      const std::lock_guard lock(mutex_);
      ++changes_;
    }
    woken_.notify_all();
  }

  /// Asks `progress()`, an optional Result<Verdict>, at once and after each change until it gives one.
  /// Errors: its own; Cancelled with `stopped`; Timeout with `too_late` after `longest`.
  template <class Progress>
  Result<Verdict> until(const CallContext& ctx, Clock& clock, std::chrono::nanoseconds longest, Progress progress,
                        std::string stopped, std::string too_late) {
    bool late = false;
    const auto timer = clock.call_at(clock.now() + longest, [&] {
      {
        const std::lock_guard lock(mutex_);
        late = true;
      }
      woken_.notify_all();
    });
    const std::stop_callback on_stop(ctx.stop, [this] { changed(); });
    for (;;) {
      std::uint64_t seen = 0;
      {
        const std::lock_guard lock(mutex_);
        seen = changes_;
      }
      if (auto done = progress()) return *std::move(done);
      if (ctx.stopping()) return Error(Reason::Cancelled, std::move(stopped));
      std::unique_lock lock(mutex_);
      woken_.wait(lock, [&] { return late || changes_ != seen; });
      if (late && changes_ == seen) return Error(Reason::Timeout, std::move(too_late));
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
  std::uint64_t changes_ = 0;  // And requests to stop.
};

}  // namespace kubernel::scheduler
