// SPDX-License-Identifier: Apache-2.0
#include "queue.h"

#include <algorithm>
#include <utility>

namespace kubernel::plugins {

using scheduler::ClusterEvent;
using scheduler::PodInfo;
using scheduler::QueuedPod;

bool SchedulingQueue::ActiveOrder::operator()(const Entry* a, const Entry* b) const {
  if (sort->before(a->queued, b->queued)) return true;
  if (sort->before(b->queued, a->queued)) return false;
  return a->sequence < b->sequence;
}

SchedulingQueue::SchedulingQueue(const Clock& clock, const scheduler::QueueSort& sort,
                                 std::vector<std::vector<scheduler::EventInterest>> interests, QueueOptions options)
    : clock_(clock), interests_(std::move(interests)), options_(options), active_(ActiveOrder{&sort}) {}

void SchedulingQueue::set(std::shared_ptr<const PodInfo> pod) {
  const std::lock_guard lock(mutex_);
  const auto [it, inserted] = entries_.try_emplace(pod->uid());
  Entry& entry = it->second;
  if (inserted) {
    entry.sequence = next_sequence_++;
    entry.queued = {std::move(pod), clock_.now(), clock_.now(), 0};
    active_.insert(&entry);
    return;
  }
  if (entry.place == Place::InFlight) {
    entry.queued.pod = std::move(pod);
    entry.changed = true;
    return;
  }
  const Happened updated{ClusterEvent::PodUpdated, entry.queued.pod->object, pod->object};
  const bool worth_a_try = entry.place == Place::Unschedulable && helps(entry, updated);
  // A pod in the active order must not change under the set's comparator.
  const Place place = entry.place;
  if (place == Place::Active) active_.erase(&entry);
  entry.queued.pod = std::move(pod);
  if (place == Place::Active) active_.insert(&entry);
  if (worth_a_try) {
    leave_place(entry);
    wait_or_activate(entry);
  }
}

void SchedulingQueue::remove(std::string_view uid) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(uid);
  if (found == entries_.end()) return;
  leave_place(found->second);
  entries_.erase(found);
  drop_old_events();
}

std::optional<QueuedPod> SchedulingQueue::pop() {
  const std::lock_guard lock(mutex_);
  if (active_.empty()) return std::nullopt;
  Entry& entry = **active_.begin();
  active_.erase(active_.begin());
  entry.place = Place::InFlight;
  entry.changed = false;
  entry.events_seen = first_event_ + events_.size();
  ++entry.queued.attempts;
  return entry.queued;
}

void SchedulingQueue::done(std::string_view uid) {
  remove(uid);
}

void SchedulingQueue::requeue_unschedulable(QueuedPod pod, std::set<std::size_t> rejected_by) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(pod.pod->uid());
  if (found == entries_.end()) return;  // Deleted meanwhile.
  Entry& entry = found->second;
  entry.rejected_by = std::move(rejected_by);
  entry.backoff_until = backoff_end(entry.queued);

  bool hope = entry.changed;
  for (std::uint64_t i = std::max(entry.events_seen, first_event_); !hope && i < first_event_ + events_.size(); ++i) {
    hope = helps(entry, events_[i - first_event_]);
  }
  if (hope) {
    wait_or_activate(entry);
  } else {
    entry.place = Place::Unschedulable;
    entry.due = clock_.now() + options_.unschedulable_timeout;
    due_.emplace(entry.due, &entry);
  }
  drop_old_events();
}

void SchedulingQueue::requeue_after_error(QueuedPod pod) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(pod.pod->uid());
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.rejected_by.clear();
  entry.backoff_until = backoff_end(entry.queued);
  wait_or_activate(entry);
  drop_old_events();
}

bool SchedulingQueue::on_event(ClusterEvent event, const api::Object& before, const api::Object& after) {
  const std::lock_guard lock(mutex_);
  Happened happened{event, before, after};
  bool moved = false;
  bool in_flight = false;
  for (auto& [uid, entry] : entries_) {
    in_flight = in_flight || entry.place == Place::InFlight;
    if (entry.place != Place::Unschedulable || !helps(entry, happened)) continue;
    leave_place(entry);
    wait_or_activate(entry);
    moved = true;
  }
  if (in_flight) events_.push_back(std::move(happened));
  return moved;
}

bool SchedulingQueue::flush() {
  const std::lock_guard lock(mutex_);
  const auto now = clock_.now();
  while (!due_.empty() && due_.begin()->first <= now) {
    Entry& entry = *due_.begin()->second;
    due_.erase(due_.begin());
    activate(entry);
  }
  return !active_.empty();
}

std::optional<Clock::TimePoint> SchedulingQueue::next_due() const {
  const std::lock_guard lock(mutex_);
  if (due_.empty()) return std::nullopt;
  return due_.begin()->first;
}

SchedulingQueue::Counts SchedulingQueue::counts() const {
  const std::lock_guard lock(mutex_);
  Counts out;
  for (const auto& [uid, entry] : entries_) {
    out.active += entry.place == Place::Active ? 1 : 0;
    out.backoff += entry.place == Place::Backoff ? 1 : 0;
    out.unschedulable += entry.place == Place::Unschedulable ? 1 : 0;
  }
  return out;
}

void SchedulingQueue::activate(Entry& entry) {
  entry.place = Place::Active;
  entry.queued.queued_at = clock_.now();
  active_.insert(&entry);
}

void SchedulingQueue::wait_or_activate(Entry& entry) {
  if (entry.backoff_until <= clock_.now()) {
    activate(entry);
    return;
  }
  entry.place = Place::Backoff;
  entry.due = entry.backoff_until;
  due_.emplace(entry.due, &entry);
}

bool SchedulingQueue::helps(const Entry& entry, const Happened& happened) const {
  if (entry.rejected_by.empty()) return true;
  for (const std::size_t plugin : entry.rejected_by) {
    for (const scheduler::EventInterest& interest : interests_[plugin]) {
      if (interest.event != happened.event) continue;
      if (!interest.helps || interest.helps(*entry.queued.pod, happened.before, happened.after)) return true;
    }
  }
  return false;
}

void SchedulingQueue::leave_place(Entry& entry) {
  if (entry.place == Place::Active) {
    active_.erase(&entry);
    return;
  }
  if (entry.place == Place::InFlight) return;
  const auto [first, last] = due_.equal_range(entry.due);
  due_.erase(std::find_if(first, last, [&](const auto& waiting) { return waiting.second == &entry; }));
}

void SchedulingQueue::drop_old_events() {
  std::uint64_t oldest = first_event_ + events_.size();
  for (const auto& [uid, entry] : entries_) {
    if (entry.place == Place::InFlight) oldest = std::min(oldest, entry.events_seen);
  }
  while (first_event_ < oldest) {
    events_.pop_front();
    ++first_event_;
  }
}

Clock::TimePoint SchedulingQueue::backoff_end(const QueuedPod& pod) const {
  auto backoff = options_.initial_backoff;
  for (int i = 1; i < pod.attempts && backoff < options_.max_backoff; ++i) backoff *= 2;
  return clock_.now() + std::min(backoff, options_.max_backoff);
}

}  // namespace kubernel::plugins
