// SPDX-License-Identifier: Apache-2.0
#include <kubernel/testing/fake_clock.h>

#include <utility>

namespace kubernel::testing {

struct FakeClock::State {
  mutable std::mutex mutex;
  TimePoint now{std::chrono::hours(1)};
  WallTime wall{std::chrono::seconds(1'767'225'600)};  // 2026-01-01T00:00:00Z
  std::uint64_t next_id = 0;
  std::map<std::pair<TimePoint, std::uint64_t>, std::function<void()>> timers;
};

namespace {

class Timer final : public Subscription {
 public:
  explicit Timer(std::function<void()> cancel) : cancel_(std::move(cancel)) {}
  ~Timer() override { cancel_(); }

 private:
  std::function<void()> cancel_;
};

}  // namespace

FakeClock::FakeClock() : state_(std::make_shared<State>()) {}
FakeClock::~FakeClock() = default;

Clock::TimePoint FakeClock::now() const {
  const std::lock_guard lock(state_->mutex);
  return state_->now;
}

Clock::WallTime FakeClock::wall_now() const {
  const std::lock_guard lock(state_->mutex);
  return state_->wall;
}

std::unique_ptr<Subscription> FakeClock::call_at(TimePoint due, std::function<void()> callback) {
  const std::lock_guard lock(state_->mutex);
  const auto key = std::pair(due, state_->next_id++);
  state_->timers.emplace(key, std::move(callback));
  return std::make_unique<Timer>([state = state_, key] {
    const std::lock_guard cancel_lock(state->mutex);
    state->timers.erase(key);
  });
}

void FakeClock::advance(std::chrono::nanoseconds by) {
  TimePoint target;
  {
    const std::lock_guard lock(state_->mutex);
    target = state_->now + by;
  }
  for (;;) {
    std::function<void()> callback;
    {
      const std::lock_guard lock(state_->mutex);
      const auto first = state_->timers.begin();
      const bool due = first != state_->timers.end() && first->first.first <= target;
      const TimePoint to = due ? std::max(state_->now, first->first.first) : target;
      state_->wall += std::chrono::duration_cast<WallTime::duration>(to - state_->now);
      state_->now = to;
      if (!due) return;
      callback = std::move(first->second);
      state_->timers.erase(first);
    }
    callback();
  }
}

void FakeClock::set_wall(WallTime wall) {
  const std::lock_guard lock(state_->mutex);
  state_->wall = wall;
}

std::optional<Clock::TimePoint> FakeClock::next_timer() const {
  const std::lock_guard lock(state_->mutex);
  if (state_->timers.empty()) return std::nullopt;
  return state_->timers.begin()->first.first;
}

}  // namespace kubernel::testing
