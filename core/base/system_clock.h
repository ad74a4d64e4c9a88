// SPDX-License-Identifier: Apache-2.0
//
// SystemClock: the process's clock. One timer thread, started with the first timer, sleeps until the next one is due.

#pragma once

#include <functional>
#include <memory>

#include <kubernel/base/clock.h>

namespace kubernel::core {

// Timers still pending when the clock is destroyed never fire. Must not be destroyed by a timer's callback.
class SystemClock final : public Clock {
 public:
  SystemClock();
  ~SystemClock() override;

  TimePoint now() const override;
  WallTime wall_now() const override;
  std::unique_ptr<Subscription> call_at(TimePoint due, std::function<void()> callback) override;

 private:
  struct State;
  std::shared_ptr<State> state_;  // Shared with the timers, which may outlive the clock.
};

}  // namespace kubernel::core
