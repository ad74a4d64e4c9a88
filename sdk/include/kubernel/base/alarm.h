// SPDX-License-Identifier: Apache-2.0
//
// Alarm: a timer that is set again and again, also by what it calls.
//
// Keeping a timer in a variable is not enough for that: it may fire, and be set again, before the call that made it
// has returned and stored it; storing it then destroys, and so cancels, its successor.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include <kubernel/base/clock.h>
#include <kubernel/base/export.h>

namespace kubernel {

/// Threads: all members may be called concurrently. Hold no lock that the callback takes: an earlier timer is destroyed
/// here, which waits for a callback of it that runs on another thread.
class KUBERNEL_EXPORT Alarm {
 public:
  /// Calls `arm` for a timer and keeps it in the place of the earlier one. The set() that began last wins.
  void set(const std::function<std::unique_ptr<Subscription>()>& arm);
  /// Cancels what is set.
  void cancel();

 private:
  std::mutex mutex_;
  std::uint64_t newest_ = 0;
  std::unique_ptr<Subscription> timer_;
};

}  // namespace kubernel
