// SPDX-License-Identifier: Apache-2.0
//
// WorkQueue: which keys need work, each at most once; and RateLimiter: how long a key that failed waits.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include <kubernel/base/clock.h>

namespace kubernel::controller {

/// A fair queue of distinct keys.
///
/// - Fair: keys come out in the order they went in.
/// - Stingy: a key added twice before it is taken comes out once; a key that is
///   being worked on is never handed to a second worker. If it is added while
///   being worked on, it comes out again after finish().
/// - Delayed: add_after() makes a key due later; an earlier due time wins.
///
/// The queue owns no thread and never sleeps. A worker loop (the Runner, or a test with a FakeClock) calls take_ready()
/// and asks next_due() how long it may wait.
///
/// Threads: all members may be called concurrently. Lifetime: `clock` outlives the queue.
template <class Key>
class WorkQueue {
 public:
  explicit WorkQueue(const Clock& clock) : clock_(clock) {}

  /// True when the key was not waiting yet, so that the number of adds can be counted.
  bool add(Key key) {
    const std::lock_guard lock(mutex_);
    return enqueue(std::move(key));
  }

  /// A delay of zero or less is add().
  void add_after(Key key, std::chrono::nanoseconds delay) {
    const std::lock_guard lock(mutex_);
    if (delay <= std::chrono::nanoseconds::zero()) {
      enqueue(std::move(key));
      return;
    }
    const auto due = clock_.now() + delay;
    auto [it, inserted] = due_.try_emplace(key, due);
    if (!inserted) {
      if (it->second <= due) return;
      by_time_.erase({it->second, key});
      it->second = due;
    }
    by_time_.emplace(due, std::move(key));
  }

  struct Taken {
    Key key;
    Clock::TimePoint added;  ///< When it became ready.
  };

  /// The next key to work on, or nothing. Every key taken must be given back to
  /// finish(), also when the work failed.
  std::optional<Taken> take_ready() {
    const std::lock_guard lock(mutex_);
    promote_due();
    if (ready_.empty()) return std::nullopt;
    Key key = std::move(ready_.front());
    ready_.pop_front();
    const auto waited = waiting_.find(key);
    const auto added = waited->second;
    waiting_.erase(waited);
    working_.insert(key);
    return Taken{std::move(key), added};
  }

  /// True when the key was added meanwhile and is ready again.
  bool finish(const Key& key) {
    const std::lock_guard lock(mutex_);
    working_.erase(key);
    return again_.erase(key) > 0 && enqueue(key);
  }

  /// When the earliest delayed key becomes due, if there is one.
  std::optional<Clock::TimePoint> next_due() const {
    const std::lock_guard lock(mutex_);
    if (by_time_.empty()) return std::nullopt;
    return by_time_.begin()->first;
  }

  /// Keys ready to be taken; those in work and those delayed do not count.
  std::size_t depth() const {
    const std::lock_guard lock(mutex_);
    return ready_.size();
  }
  std::size_t delayed() const {
    const std::lock_guard lock(mutex_);
    return due_.size();
  }

 private:
  bool enqueue(Key key) {
    if (working_.contains(key)) return again_.insert(std::move(key)).second;
    if (!waiting_.emplace(key, clock_.now()).second) return false;
    ready_.push_back(std::move(key));
    return true;
  }

  void promote_due() {
    const auto now = clock_.now();
    while (!by_time_.empty() && by_time_.begin()->first <= now) {
      Key key = by_time_.begin()->second;
      by_time_.erase(by_time_.begin());
      due_.erase(key);
      enqueue(std::move(key));
    }
  }

  const Clock& clock_;
  mutable std::mutex mutex_;
  std::deque<Key> ready_;                               // In order; keys are unique.
  std::map<Key, Clock::TimePoint> waiting_;             // The same keys as ready_, and since when.
  std::set<Key> working_;                               // Taken and not finished.
  std::set<Key> again_;                                 // Added while being worked on.
  std::map<Key, Clock::TimePoint> due_;                 // Delayed, and
  std::set<std::pair<Clock::TimePoint, Key>> by_time_;  // the same in order of time.
};

struct RateLimits {
  std::chrono::nanoseconds base = std::chrono::milliseconds(5);
  std::chrono::nanoseconds cap = std::chrono::seconds(1000);
  double per_second = 10;  ///< The bucket shared by all keys.
  double burst = 100;
};

/// How long a key waits before it is tried again: the larger of base * 2^failures of this key and of what a bucket
/// shared by all keys allows (client-go's default controller rate limiter).
///
/// Threads: all members may be called concurrently. Lifetime: `clock` outlives the limiter.
template <class Key>
class RateLimiter {
 public:
  explicit RateLimiter(const Clock& clock, RateLimits limits = {})
      : clock_(clock), limits_(limits), tokens_(limits.burst), filled_(clock.now()) {}

  /// Counts one more failure of `key` and says how long it waits.
  std::chrono::nanoseconds next_delay(const Key& key) {
    const std::lock_guard lock(mutex_);
    const int failures = failures_[key]++;
    // 2^62 ns is far beyond the cap already.
    const double exponential =
        static_cast<double>(limits_.base.count()) * static_cast<double>(1ULL << std::min(failures, 62));
    const auto own = exponential >= static_cast<double>(limits_.cap.count())
                         ? limits_.cap
                         : std::chrono::nanoseconds(static_cast<std::int64_t>(exponential));
    return std::max(own, take_token());
  }

  void forget(const Key& key) {
    const std::lock_guard lock(mutex_);
    failures_.erase(key);
  }

  int failures(const Key& key) const {
    const std::lock_guard lock(mutex_);
    const auto found = failures_.find(key);
    return found == failures_.end() ? 0 : found->second;
  }

 private:
  // Tokens may go negative: whoever takes one that is not there yet waits until it would be.
  std::chrono::nanoseconds take_token() {
    const auto now = clock_.now();
    const double passed = std::chrono::duration<double>(now - filled_).count();
    tokens_ = std::min(limits_.burst, tokens_ + passed * limits_.per_second);
    filled_ = now;
    tokens_ -= 1;
    if (tokens_ >= 0) return std::chrono::nanoseconds::zero();
    return std::chrono::nanoseconds(static_cast<std::int64_t>(-tokens_ / limits_.per_second * 1e9));
  }

  const Clock& clock_;
  const RateLimits limits_;
  mutable std::mutex mutex_;
  std::map<Key, int> failures_;
  double tokens_;
  Clock::TimePoint filled_;
};

}  // namespace kubernel::controller
