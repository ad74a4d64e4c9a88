// SPDX-License-Identifier: Apache-2.0
//
// Backoff: how long to wait before the same thing is tried again.

#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>

#include <kubernel/base/clock.h>

namespace kubernel::kubelet {

// Doubles from `initial` to `cap`; a key that has been quiet for twice `cap` starts over (client-go's
// flowcontrol.Backoff).
//
// Threads: not guarded; the owner serializes.
class Backoff {
 public:
  Backoff(std::chrono::seconds initial, std::chrono::seconds cap) : initial_(initial), cap_(cap) {}

  // When the next try is allowed, counted from `since`, the last failure. A key never seen is allowed at once.
  Clock::TimePoint allowed_at(std::string_view key, Clock::TimePoint since) const {
    const auto at = entries_.find(key);
    if (at == entries_.end() || expired(at->second, since)) return since;
    return since + at->second.delay;
  }

  // Notes that a try is made now.
  void note_try(std::string_view key, Clock::TimePoint now) {
    const auto at = entries_.find(key);
    if (at == entries_.end() || expired(at->second, now)) {
      entries_.insert_or_assign(std::string(key), Entry{initial_, now});
      return;
    }
    at->second.delay = std::min<std::chrono::seconds>(at->second.delay * 2, cap_);
    at->second.last = now;
  }

  // The delay after the last try; zero for a key never seen.
  std::chrono::seconds delay(std::string_view key) const {
    const auto at = entries_.find(key);
    return at == entries_.end() ? std::chrono::seconds::zero() : at->second.delay;
  }

  void forget(std::string_view key) {
    if (const auto at = entries_.find(key); at != entries_.end()) entries_.erase(at);
  }

 private:
  struct Entry {
    std::chrono::seconds delay;
    Clock::TimePoint last;
  };
  bool expired(const Entry& entry, Clock::TimePoint at) const { return at - entry.last > 2 * cap_; }

  std::chrono::seconds initial_, cap_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace kubernel::kubelet
