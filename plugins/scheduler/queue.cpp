// SPDX-License-Identifier: Apache-2.0
#include "queue.h"

#include <algorithm>
#include <utility>

#include "event_labels.h"

namespace kubernel::plugins {

using scheduler::ClusterEvent;
using scheduler::EventInterest;
using scheduler::PodInfo;
using scheduler::QueuedPod;

namespace {

constexpr std::size_t kEvents = static_cast<std::size_t>(ClusterEvent::ResourceChanged) + 1;

std::string_view label_of(const Happened& happened) {
  return happened.label.empty() ? plugins::label_of(happened.event) : happened.label;
}

bool is_about(const EventInterest& interest, const Happened& happened) {
  return interest.event == happened.event &&
         (interest.event != ClusterEvent::ResourceChanged || interest.resource == happened.resource);
}

// Whether anything changed that could matter to a scheduler: not the status, which the scheduler itself writes.
bool differs(const api::Object& before, const api::Object& after) {
  return !(before["spec"] == after["spec"]) || !(before.labels() == after.labels()) ||
         !(before.annotations() == after.annotations()) ||
         !(before.pointer("/status/resourceClaimStatuses") == after.pointer("/status/resourceClaimStatuses"));
}

}  // namespace

bool SchedulingQueue::ActiveOrder::operator()(const Entry* a, const Entry* b) const {
  if (sort->before(a->queued, b->queued)) return true;
  if (sort->before(b->queued, a->queued)) return false;
  return a->sequence < b->sequence;
}

SchedulingQueue::SchedulingQueue(const Clock& clock, const scheduler::QueueSort& sort,
                                 std::vector<QueueProfile> profiles, QueueOptions options)
    : clock_(clock), profiles_(std::move(profiles)), options_(options), active_(ActiveOrder{&sort}) {
  listeners_.resize(kEvents);
  for (std::size_t profile = 0; profile < profiles_.size(); ++profile) {
    const auto& interests = profiles_[profile].interests;
    sleepers_.emplace_back(interests.size());
    named_.emplace_back(interests.size());
    for (std::size_t plugin = 0; plugin < interests.size(); ++plugin) {
      for (const EventInterest& interest : interests[plugin]) {
        auto& listeners = listeners_[static_cast<std::size_t>(interest.event)];
        if (listeners.empty() || listeners.back() != std::pair(profile, plugin))
          listeners.emplace_back(profile, plugin);
      }
    }
  }
}

void SchedulingQueue::on_incoming(std::function<void(std::string_view, std::string_view)> incoming) {
  incoming_ = std::move(incoming);
}

SchedulingQueue::Entry* SchedulingQueue::find(std::string_view uid) {
  const auto found = entries_.find(std::string(uid));
  return found == entries_.end() ? nullptr : &found->second;
}

void SchedulingQueue::set(std::shared_ptr<const PodInfo> pod, std::size_t profile) {
  const std::lock_guard lock(mutex_);
  const auto [it, inserted] = entries_.try_emplace(pod->uid());
  Entry& entry = it->second;
  if (inserted) {
    entry.sequence = next_sequence_++;
    entry.profile = profile;
    entry.queued = {std::move(pod), clock_.now(), clock_.now(), 0};
    enter(entry, "UnschedulablePodAdd");
    return;
  }
  Happened updated{ClusterEvent::PodUpdated, entry.queued.pod->object, pod->object, {}, {}};
  const bool matters = differs(updated.before, updated.after);
  const Place place = entry.place;
  const bool sleeps = place == Place::Unschedulable || place == Place::Gated;
  // A pod in the active order must not change under the set's comparator; its names may change while it sleeps.
  if (place == Place::Active) active_.erase(&entry);
  if (sleeps) get_up(entry);
  entry.queued.pod = std::move(pod);
  if (place == Place::Active) active_.insert(&entry);
  if (sleeps) fall_asleep(entry);
  if (!matters) return;
  updated.label = PodChanges::between(updated.before, updated.after).event_labels(false).front();
  if (place == Place::InFlight) {
    entry.changes.push_back(updated);
  } else if (sleeps && helps(entry, Event{updated, {}})) {
    leave(entry);
    wait_or_enter(entry, updated.label);
  }
}

void SchedulingQueue::remove(std::string_view uid) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(std::string(uid));
  if (found == entries_.end()) return;
  leave(found->second);
  entries_.erase(found);
  drop_old_events();
}

std::optional<SchedulingQueue::Popped> SchedulingQueue::pop() {
  const std::lock_guard lock(mutex_);
  while (active_.empty() && backoff_count_ > error_count_) cut_backoff_short();
  if (active_.empty()) return std::nullopt;
  Entry* const entry = *active_.begin();
  leave(*entry);
  entry->place = Place::InFlight;
  entry->changes.clear();
  entry->wanted = false;
  entry->events_seen = first_event_ + events_.size();
  in_flight_.insert(entry->events_seen);
  ++entry->queued.attempts;
  return Popped{entry->queued, entry->profile};
}

// Nobody else wants the scheduler's time: back-off after a refusal would only be delay. After an error it protects
// others.
void SchedulingQueue::cut_backoff_short() {
  const auto found = std::ranges::find_if(due_, [](const auto& waiting) {
    return waiting.second->place == Place::Backoff && !waiting.second->after_error;
  });
  Entry& entry = *found->second;
  leave(entry);
  enter(entry, "PopFromBackoffQ");
}

void SchedulingQueue::done(std::string_view uid) {
  remove(uid);
}

void SchedulingQueue::requeue_unschedulable(std::string_view uid, std::vector<std::size_t> rejected_by) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = find(uid);
  if (entry == nullptr || entry->place != Place::InFlight) return;  // Deleted meanwhile.
  entry->rejected_by = std::move(rejected_by);
  entry->queued.queued_at = clock_.now();
  entry->errors = 0;
  ++entry->unschedulable;
  entry->after_error = false;
  entry->backoff_until = backoff_end(*entry);

  bool hope = entry->wanted || std::ranges::any_of(entry->changes, [&](const Happened& change) {
                return helps(*entry, Event{change, {}});
              });
  for (std::uint64_t i = std::max(entry->events_seen, first_event_); !hope && i < first_event_ + events_.size(); ++i) {
    hope = helps(*entry, events_[i - first_event_]);
  }
  leave(*entry);
  if (hope) {
    wait_or_enter(*entry, "ScheduleAttemptFailure");
  } else {
    put_due(*entry, Place::Unschedulable, clock_.now() + options_.unschedulable_timeout, "ScheduleAttemptFailure");
  }
  drop_old_events();
}

void SchedulingQueue::requeue_after_error(std::string_view uid) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = find(uid);
  if (entry == nullptr || entry->place != Place::InFlight) return;
  entry->rejected_by.clear();
  entry->queued.queued_at = clock_.now();
  ++entry->errors;
  entry->after_error = true;
  entry->backoff_until = backoff_end(*entry);
  leave(*entry);
  wait_or_enter(*entry, "ScheduleAttemptFailure");
  drop_old_events();
}

bool SchedulingQueue::on_event(const Happened& happened) {
  const std::lock_guard lock(mutex_);
  bool moved = false;
  Event event = asked(happened);
  std::vector<Entry*> woken;
  for (Entry* entry : light_sleepers_) {
    if (helps(*entry, event)) woken.push_back(entry);
  }
  for (const auto& [profile, plugin] : listeners_[static_cast<std::size_t>(happened.event)]) {
    Sleepers some;
    for (Entry* entry : concerned(profile, plugin, event, some)) {
      if (helps(*entry, plugin, event)) woken.push_back(entry);
    }
  }
  // In the order they came, whatever the hash says: the same seed gives the same decisions.
  std::ranges::sort(woken, {}, [](const Entry* entry) { return entry->sequence; });
  woken.erase(std::unique(woken.begin(), woken.end()), woken.end());  // Several plugins may agree.
  for (Entry* entry : woken) {
    leave(*entry);
    wait_or_enter(*entry, label_of(happened));
    moved = moved || entry->place != Place::Gated;
  }
  if (!in_flight_.empty()) events_.push_back(std::move(event));
  return moved;
}

const std::vector<std::string>* SchedulingQueue::Event::names(const EventInterest& interest) const {
  const auto found = std::ranges::find(about, &interest, &About::interest);
  return found == about.end() ? nullptr : &found->names;
}

SchedulingQueue::Event SchedulingQueue::asked(const Happened& happened) const {
  Event event{happened, {}};
  for (const auto& [profile, plugin] : listeners_[static_cast<std::size_t>(happened.event)]) {
    for (const EventInterest& interest : profiles_[profile].interests[plugin]) {
      if (!interest.names_of_change || !is_about(interest, happened)) continue;
      if (auto names = interest.names_of_change(happened.before, happened.after))
        event.about.push_back({&interest, *std::move(names)});
    }
  }
  return event;
}

const SchedulingQueue::Sleepers& SchedulingQueue::concerned(std::size_t profile, std::size_t plugin, const Event& event,
                                                            Sleepers& some) const {
  const Sleepers& all = sleepers_[profile][plugin];
  if (all.empty()) return all;
  for (const EventInterest& interest : profiles_[profile].interests[plugin]) {
    if (!is_about(interest, event.happened)) continue;
    const std::vector<std::string>* const names = event.names(interest);
    if (names == nullptr) return all;
    for (const std::string& name : *names) {
      const auto found = named_[profile][plugin].find(name);
      if (found != named_[profile][plugin].end()) some.insert(found->second.begin(), found->second.end());
    }
  }
  return some;
}

bool SchedulingQueue::activate(std::string_view uid) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = find(uid);
  if (entry == nullptr || entry->place == Place::Active) return false;
  if (entry->place == Place::InFlight) {
    entry->wanted = true;
    return false;
  }
  leave(*entry);
  enter(*entry, "ForceActivate");
  return entry->place == Place::Active;
}

bool SchedulingQueue::flush() {
  const std::lock_guard lock(mutex_);
  const auto now = clock_.now();
  while (!due_.empty() && due_.begin()->first <= now) {
    Entry& entry = *due_.begin()->second;
    const bool slept = entry.place == Place::Unschedulable;
    leave(entry);
    enter(entry, slept ? "UnschedulableTimeout" : "BackoffComplete");
  }
  return !active_.empty() || backoff_count_ > error_count_;
}

std::optional<Clock::TimePoint> SchedulingQueue::next_due() const {
  const std::lock_guard lock(mutex_);
  if (due_.empty()) return std::nullopt;
  return due_.begin()->first;
}

SchedulingQueue::Counts SchedulingQueue::counts() const {
  const std::lock_guard lock(mutex_);
  return {active_.size(), backoff_count_, unschedulable_count_, gated_count_};
}

void SchedulingQueue::enter(Entry& entry, std::string_view event) {
  const auto& gate = profiles_[entry.profile].gate;
  if (const auto plugin = gate ? gate(*entry.queued.pod) : std::nullopt) {
    entry.place = Place::Gated;
    entry.rejected_by = {*plugin};
    fall_asleep(entry);
    ++gated_count_;
    if (incoming_) incoming_("unschedulable", event);
    return;
  }
  put_active(entry, event);
}

void SchedulingQueue::wait_or_enter(Entry& entry, std::string_view event) {
  if (entry.backoff_until <= clock_.now()) {
    enter(entry, event);
  } else {
    put_due(entry, Place::Backoff, entry.backoff_until, event);
  }
}

void SchedulingQueue::put_active(Entry& entry, std::string_view event) {
  entry.place = Place::Active;
  if (entry.queued.attempts == 0) entry.queued.first_queued_at = clock_.now();
  active_.insert(&entry);
  if (incoming_) incoming_("active", event);
}

void SchedulingQueue::put_due(Entry& entry, Place place, Clock::TimePoint due, std::string_view event) {
  entry.place = place;
  entry.due = due;
  due_.emplace(due, &entry);
  if (place == Place::Backoff) {
    ++backoff_count_;
    error_count_ += entry.after_error ? 1 : 0;
  }
  if (place == Place::Unschedulable) {
    ++unschedulable_count_;
    fall_asleep(entry);
  }
  if (incoming_) incoming_(place == Place::Backoff ? "backoff" : "unschedulable", event);
}

void SchedulingQueue::erase_due(Entry& entry) {
  const auto [first, last] = due_.equal_range(entry.due);
  due_.erase(std::find_if(first, last, [&](const auto& waiting) { return waiting.second == &entry; }));
}

void SchedulingQueue::leave(Entry& entry) {
  switch (std::exchange(entry.place, Place::None)) {
    case Place::None: break;
    case Place::Active: active_.erase(&entry); break;
    case Place::Backoff:
      --backoff_count_;
      error_count_ -= entry.after_error ? 1 : 0;
      erase_due(entry);
      break;
    case Place::Unschedulable:
      --unschedulable_count_;
      get_up(entry);
      erase_due(entry);
      break;
    case Place::Gated:
      --gated_count_;
      get_up(entry);
      break;
    case Place::InFlight: in_flight_.erase(in_flight_.find(entry.events_seen)); break;
  }
}

// Neither `rejected_by` nor the pod may change until it gets up.
void SchedulingQueue::fall_asleep(Entry& entry) {
  if (entry.rejected_by.empty()) light_sleepers_.insert(&entry);
  for (const std::size_t plugin : entry.rejected_by) {
    sleepers_[entry.profile][plugin].insert(&entry);
    for (const EventInterest& interest : profiles_[entry.profile].interests[plugin]) {
      if (!interest.names_of_pod) continue;
      for (std::string& name : interest.names_of_pod(*entry.queued.pod)) {
        if (named_[entry.profile][plugin][name].insert(&entry).second)
          entry.names.emplace_back(plugin, std::move(name));
      }
    }
  }
}

void SchedulingQueue::get_up(Entry& entry) {
  if (entry.rejected_by.empty()) light_sleepers_.erase(&entry);
  for (const std::size_t plugin : entry.rejected_by) sleepers_[entry.profile][plugin].erase(&entry);
  for (const auto& [plugin, name] : std::exchange(entry.names, {})) {
    auto& named = named_[entry.profile][plugin];
    const auto found = named.find(name);
    found->second.erase(&entry);
    if (found->second.empty()) named.erase(found);
  }
}

bool SchedulingQueue::helps(const Entry& entry, const Event& event) const {
  const std::string& released_by = event.happened.released_by;
  if (entry.rejected_by.empty()) return released_by.empty() || released_by != entry.queued.pod->uid();
  return std::ranges::any_of(entry.rejected_by, [&](std::size_t plugin) { return helps(entry, plugin, event); });
}

bool SchedulingQueue::helps(const Entry& entry, std::size_t plugin, const Event& event) const {
  const Happened& happened = event.happened;
  const PodInfo& pod = *entry.queued.pod;
  if (!happened.released_by.empty() && happened.released_by == pod.uid()) return false;
  for (const EventInterest& interest : profiles_[entry.profile].interests[plugin]) {
    if (!is_about(interest, happened)) continue;
    if (const auto* const names = event.names(interest)) {
      const auto mine = interest.names_of_pod(pod);
      if (std::ranges::find_first_of(mine, *names) == mine.end()) continue;
    }
    if (!interest.helps) return true;
    const auto began = clock_.now();
    const bool helped = interest.helps(pod, happened.before, happened.after);
    if (hinted_) hinted_(entry.profile, plugin, label_of(happened), helped, clock_.now() - began);
    if (helped) return true;
  }
  return false;
}

std::vector<std::size_t> SchedulingQueue::sleepers(std::size_t profile) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::size_t> out;
  for (const Sleepers& pods : sleepers_[profile]) out.push_back(pods.size());
  return out;
}

void SchedulingQueue::drop_old_events() {
  const std::uint64_t end = first_event_ + events_.size();
  const std::uint64_t oldest = in_flight_.empty() ? end : *in_flight_.begin();
  while (first_event_ < oldest) {
    events_.pop_front();
    ++first_event_;
  }
}

Clock::TimePoint SchedulingQueue::backoff_end(const Entry& entry) const {
  auto backoff = options_.initial_backoff;
  const int failures = entry.errors > 0 ? entry.errors : entry.unschedulable;
  for (int i = 1; i < failures && backoff < options_.max_backoff; ++i) backoff *= 2;
  return clock_.now() + std::min(backoff, options_.max_backoff);
}

}  // namespace kubernel::plugins
