// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

struct QueueOptions {
  std::chrono::milliseconds initial_backoff{1'000};
  std::chrono::milliseconds max_backoff{10'000};
  std::chrono::milliseconds unschedulable_timeout{300'000};  // Nobody waits longer for an event that was missed.
};

// Pods that wait for a node, in upstream's three places:
//   active         may be scheduled now, in the order of the QueueSort plugin;
//   back-off       failed a moment ago; becomes active when its back-off ends;
//   unschedulable  no node fits; becomes active when an event says it may have become possible.
// A pod being scheduled is in none of them; events that happen meanwhile count for it all the same.
//
// Threads: all members may be called concurrently.
class SchedulingQueue {
 public:
  // `sort` outlives the queue. `interests[i]`: what plugin i wants to be tried again for.
  SchedulingQueue(const Clock& clock, const scheduler::QueueSort& sort,
                  std::vector<std::vector<scheduler::EventInterest>> interests, QueueOptions options);

  // A new pod, or one whose object changed.
  void set(std::shared_ptr<const scheduler::PodInfo> pod);
  void remove(std::string_view uid);

  // The next pod to schedule. It must be given to exactly one of the following three.
  std::optional<scheduler::QueuedPod> pop();
  void done(std::string_view uid);
  // `rejected_by`: plugins that said no; only events they listed wake the pod. Empty: any event does.
  void requeue_unschedulable(scheduler::QueuedPod pod, std::set<std::size_t> rejected_by);
  void requeue_after_error(scheduler::QueuedPod pod);

  // Moves the pods the event may help. Returns whether any pod moved.
  bool on_event(scheduler::ClusterEvent event, const api::Object& before, const api::Object& after);

  // Moves pods whose back-off (or patience) has ended. Returns whether some pod is active now.
  bool flush();
  // When flush() next has something to do.
  std::optional<Clock::TimePoint> next_due() const;

  struct Counts {
    std::size_t active = 0, backoff = 0, unschedulable = 0;
  };
  Counts counts() const;

 private:
  enum class Place : std::uint8_t { Active, Backoff, Unschedulable, InFlight };
  struct Entry {
    scheduler::QueuedPod queued;
    std::uint64_t sequence = 0;          // Breaks ties, first come first served.
    Place place = Place::Active;
    Clock::TimePoint due{};              // Back-off's end, or when patience ends.
    Clock::TimePoint backoff_until{};
    std::set<std::size_t> rejected_by;
    std::uint64_t events_seen = 0;       // InFlight: events before it was popped.
    bool changed = false;                // InFlight: the object was updated meanwhile.
  };
  struct ActiveOrder {
    const scheduler::QueueSort* sort;
    bool operator()(const Entry* a, const Entry* b) const;
  };
  struct Happened {
    scheduler::ClusterEvent event;
    api::Object before, after;
  };

  void activate(Entry& entry);
  void wait_or_activate(Entry& entry);
  bool helps(const Entry& entry, const Happened& happened) const;
  void leave_place(Entry& entry);
  void drop_old_events();
  Clock::TimePoint backoff_end(const scheduler::QueuedPod& pod) const;

  const Clock& clock_;
  const std::vector<std::vector<scheduler::EventInterest>> interests_;
  const QueueOptions options_;

  mutable std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_;  // By uid.
  std::set<Entry*, ActiveOrder> active_;
  std::multimap<Clock::TimePoint, Entry*> due_;        // Back-off and unschedulable.
  std::deque<Happened> events_;                        // Since the oldest pod in flight was popped.
  std::uint64_t first_event_ = 0;                      // Number of events_.front().
  std::uint64_t next_sequence_ = 0;
};

}  // namespace kubernel::plugins
