// SPDX-License-Identifier: Apache-2.0
//
// Clock: where time comes from, and how work is put off to a later time.
//
// Nothing outside core/base reads a system clock, sleeps or starts a thread. All code
// takes a Clock, so the same code runs under a FakeClock in tests and in
// deterministic simulation (ARCHITECTURE.md, idea 5).

#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include <kubernel/base/export.h>

namespace kubernel {

/// Cancels what it stands for when it is destroyed. Destruction waits for a callback that is
/// running on another thread, unless the handle is destroyed by that very callback.
///
/// Threads: one owner; may be destroyed on any thread.
class KUBERNEL_EXPORT Subscription {
 public:
  virtual ~Subscription() = default;
};

class KUBERNEL_EXPORT Clock {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using WallTime = std::chrono::system_clock::time_point;

  virtual ~Clock() = default;

  /// Monotonic time: for deadlines, back-off, measuring. Threads: any.
  virtual TimePoint now() const = 0;

  /// Calendar time: for timestamps shown to users and certificate validity. May jump. Threads: any.
  virtual WallTime wall_now() const = 0;

  /// Calls `callback` once when now() >= due, on the clock's timer thread (on the thread that
  /// advances a FakeClock). The callback must not block; it typically submits to an Executor.
  /// Destroying the result before that cancels it. A due time in the past fires at once.
  ///
  /// Threads: any.
  [[nodiscard]] virtual std::unique_ptr<Subscription> call_at(TimePoint due, std::function<void()> callback) = 0;
};

}  // namespace kubernel
