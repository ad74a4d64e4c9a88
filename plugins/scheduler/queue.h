// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

struct QueueOptions {
  std::chrono::milliseconds initial_backoff{1'000};
  std::chrono::milliseconds max_backoff{10'000};
  std::chrono::milliseconds unschedulable_timeout{300'000};  // Nobody waits longer for an event that was missed.
};

// What the queue knows of one profile.
struct QueueProfile {
  std::vector<std::vector<scheduler::EventInterest>> interests;  // By plugin index.
  // The plugin index that keeps the pod out of the queue; absent: none. Empty function: no gates.
  std::function<std::optional<std::size_t>(const scheduler::PodInfo&)> gate;
};

// Something that happened in the cluster.
struct Happened {
  scheduler::ClusterEvent event = scheduler::ClusterEvent::NodeAdded;
  api::Object before, after;
  api::Resource resource;       // With ResourceChanged.
  std::string released_by;      // Uid of a pod that only gave back what it had reserved: no news for itself.
  std::string_view label = {};  // Upstream's, for as long as the process lives; empty: that of `event`.
};

// Pods that wait for a node, in upstream's places:
//   active         may be scheduled now, in the order of the QueueSort plugin;
//   back-off       failed a moment ago; becomes active when its back-off ends, or when nobody else is active;
//   unschedulable  no node fits; becomes active when an event says it may have become possible;
//   gated          a PreEnqueue plugin keeps it out until an event that plugin asked for.
// A pod being scheduled is in none of them; events that happen meanwhile count for it all the same.
//
// Threads: all members may be called concurrently.
class SchedulingQueue {
 public:
  // `sort` and what the profiles' functions use outlive the queue.
  SchedulingQueue(const Clock& clock, const scheduler::QueueSort& sort, std::vector<QueueProfile> profiles,
                  QueueOptions options);

  // A new pod of that profile, or one whose object changed.
  void set(std::shared_ptr<const scheduler::PodInfo> pod, std::size_t profile = 0);
  void remove(std::string_view uid);

  // The next pod to schedule. It must be given to exactly one of the following three.
  struct Popped {
    scheduler::QueuedPod queued;
    std::size_t profile = 0;
  };
  std::optional<Popped> pop();
  void done(std::string_view uid);
  // `rejected_by`: indexes of plugins that said no; only events they listed wake the pod. Empty: any event does.
  void requeue_unschedulable(std::string_view uid, std::vector<std::size_t> rejected_by);
  void requeue_after_error(std::string_view uid);

  // Moves the pods the event may help. Returns whether any pod moved.
  bool on_event(const Happened& happened);
  // Moves one pod to the active ones without an event. Returns whether it moved.
  bool activate(std::string_view uid);

  // Moves pods whose back-off (or patience) has ended. Returns whether pop() may give one.
  bool flush();
  // When flush() next has something to do.
  std::optional<Clock::TimePoint> next_due() const;

  struct Counts {
    std::size_t active = 0, backoff = 0, unschedulable = 0, gated = 0;
  };
  Counts counts() const;
  // Called under the queue's lock when a pod enters a place, and why: "active", "backoff" or "unschedulable", which
  // gated pods are too. Set before first use.
  void on_incoming(std::function<void(std::string_view place, std::string_view event)> incoming);
  // Called under the queue's lock when a plugin was asked whether an event (its label) helps. Set before first use.
  using Hinted = std::function<void(std::size_t profile, std::size_t plugin, std::string_view event, bool helps,
                                    std::chrono::nanoseconds took)>;
  void on_hint(Hinted hinted) { hinted_ = std::move(hinted); }
  // How many pods sleep because of each plugin of the profile.
  std::vector<std::size_t> sleepers(std::size_t profile) const;

 private:
  enum class Place : std::uint8_t { None, Active, Backoff, Unschedulable, Gated, InFlight };
  struct Entry {
    scheduler::QueuedPod queued;
    std::size_t profile = 0;
    std::uint64_t sequence = 0;  // Breaks ties, first come first served.
    Place place = Place::None;
    Clock::TimePoint due{};  // Back-off's end, or when patience ends.
    Clock::TimePoint backoff_until{};
    bool after_error = false;           // Its back-off is not cut short.
    int unschedulable = 0, errors = 0;  // Failed attempts; errors in a row.
    std::vector<std::size_t> rejected_by;
    std::uint64_t events_seen = 0;                           // InFlight: events before it was popped.
    std::vector<Happened> changes;                           // InFlight: updates of the object meanwhile.
    bool wanted = false;                                     // InFlight: activate() was called meanwhile.
    std::vector<std::pair<std::size_t, std::string>> names;  // Asleep: plugins and names under which named_ has it.
  };
  struct ActiveOrder {
    const scheduler::QueueSort* sort;
    bool operator()(const Entry* a, const Entry* b) const;
  };

  void enter(Entry& entry, std::string_view event);  // Active, or gated.
  void wait_or_enter(Entry& entry, std::string_view event);
  void leave(Entry& entry);
  void put_active(Entry& entry, std::string_view event);
  void put_due(Entry& entry, Place place, Clock::TimePoint due, std::string_view event);
  void erase_due(Entry& entry);
  void cut_backoff_short();
  void fall_asleep(Entry& entry);
  void get_up(Entry& entry);
  using Sleepers = std::unordered_set<Entry*>;
  // An event, and what plugins said it is about (EventInterest::names_of_change), once for all pods.
  struct Event {
    Happened happened;
    struct About {
      const scheduler::EventInterest* interest;
      std::vector<std::string> names;
    };
    std::vector<About> about;

    // Null: about anything.
    const std::vector<std::string>* names(const scheduler::EventInterest& interest) const;
  };
  Event asked(const Happened& happened) const;
  // Of the pods that sleep because of the plugin, those the event may concern; `some` is where a selection is kept.
  const Sleepers& concerned(std::size_t profile, std::size_t plugin, const Event& event, Sleepers& some) const;
  bool helps(const Entry& entry, const Event& event) const;
  bool helps(const Entry& entry, std::size_t plugin, const Event& event) const;
  void drop_old_events();
  Clock::TimePoint backoff_end(const Entry& entry) const;
  Entry* find(std::string_view uid);

  const Clock& clock_;
  const std::vector<QueueProfile> profiles_;
  const QueueOptions options_;
  std::function<void(std::string_view, std::string_view)> incoming_;
  Hinted hinted_;

  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;  // By uid; entries do not move.
  std::set<Entry*, ActiveOrder> active_;
  std::multimap<Clock::TimePoint, Entry*> due_;  // Back-off and unschedulable.
  // Unschedulable and gated pods, whom events may wake: by profile and each plugin that refused them, so that an event
  // costs nothing for those it cannot help; and those whom any event may help.
  std::vector<std::vector<Sleepers>> sleepers_;
  // The same by the names of what they wait for, where a plugin says what a change is about.
  std::vector<std::vector<std::unordered_map<std::string, Sleepers>>> named_;
  Sleepers light_sleepers_;
  // By event: the profiles and plugins that asked for it.
  using Listeners = std::vector<std::vector<std::pair<std::size_t, std::size_t>>>;
  Listeners listeners_;
  std::multiset<std::uint64_t> in_flight_;  // Their events_seen.
  std::size_t backoff_count_ = 0, gated_count_ = 0, unschedulable_count_ = 0;
  std::size_t error_count_ = 0;    // Of those in back-off, after an error.
  std::deque<Event> events_;       // Since the oldest pod in flight was popped.
  std::uint64_t first_event_ = 0;  // Number of events_.front().
  std::uint64_t next_sequence_ = 0;
};

}  // namespace kubernel::plugins
