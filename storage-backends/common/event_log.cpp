// SPDX-License-Identifier: Apache-2.0
#include "event_log.h"

#include <algorithm>
#include <utility>

namespace kubernel::storage_common {

using storage::Event;
using storage::Revision;
using storage::WatchBatch;

namespace {

std::size_t bytes_of(const LogEntry& entry) {
  return sizeof(LogEntry) + sizeof(storage::KeyValue) + entry.kv->key.size() + entry.kv->value.size() +
         (entry.previous ? entry.previous->value.size() : 0);
}

}  // namespace

Event LogEntry::event() const {
  Event out{.type = type, .kv = *kv, .previous = std::nullopt};
  if (previous) out.previous = *previous;
  return out;
}

// Where one watch stands. All but `ready` is guarded by the log's mutex.
struct EventLog::Reader {
  KeyRange range;
  Revision next = 0;   // Everything before it has been delivered or is out of range.
  bool armed = false;  // Wants to be woken by the next write in range.

  // Held while the callback runs, so that replacing it waits for a running one; recursive because
  // the callback itself may replace it.
  std::recursive_mutex callback_mutex;
  std::shared_ptr<const std::function<void()>> ready;

  void wake() {
    const std::lock_guard lock(callback_mutex);
    const auto callback = ready;  // Keeps the function alive when it replaces itself.
    if (callback) (*callback)();
  }
};

class EventLog::Cursor final : public storage::Watch {
 public:
  Cursor(EventLog& log, std::shared_ptr<Reader> reader) : log_(log), reader_(std::move(reader)) {}

  ~Cursor() override {
    notify({});
    const std::lock_guard lock(log_.mutex_);
    std::erase(log_.readers_, reader_);
    log_.drop_read_entries();
  }

  Result<WatchBatch> take(std::size_t max_events) override {
    max_events = std::max<std::size_t>(max_events, 1);
    std::unique_lock lock(log_.mutex_);
    for (;;) {
      if (reader_->next < log_.compacted_) return log_.expired(reader_->next);
      const Revision first = log_.first();
      if (reader_->next >= first || reader_->next > log_.head_) break;
      // What is wanted is no longer in memory. The first entry still held bounds what history has to tell.
      const Revision from = reader_->next;
      lock.unlock();
      KUBERNEL_TRY(auto batch, log_.history_(from, first - 1, reader_->range, max_events));
      lock.lock();
      reader_->next = batch.progress + 1;
      if (!batch.events.empty()) {
        log_.drop_read_entries();
        return batch;
      }
    }
    const auto entries = log_.collect(*reader_, max_events);
    WatchBatch batch{.events = {}, .progress = std::min(reader_->next - 1, log_.head_)};
    lock.unlock();
    batch.events.reserve(entries.size());
    for (const LogEntry& entry : entries) batch.events.push_back(entry.event());
    return batch;
  }

  void notify(std::function<void()> ready) override {
    auto callback = ready ? std::make_shared<const std::function<void()>>(std::move(ready)) : nullptr;
    {
      const std::lock_guard lock(reader_->callback_mutex);
      reader_->ready = callback;
    }
    if (!callback) return;
    bool now = false;
    {
      const std::lock_guard lock(log_.mutex_);
      // An expired watch is woken too: take() has that to tell.
      now = reader_->next <= log_.head_ || reader_->next < log_.compacted_;
      reader_->armed = !now;
    }
    if (now) reader_->wake();
  }

 private:
  EventLog& log_;
  std::shared_ptr<Reader> reader_;
};

EventLog::EventLog(Revision head, std::size_t max_bytes, ReadHistory history)
    : head_(head), max_bytes_(max_bytes), history_(std::move(history)) {}

EventLog::~EventLog() = default;

void EventLog::Wakeups::run() const {
  for (const auto& reader : readers_) reader->wake();
}

void EventLog::Wakeups::add(Wakeups more) {
  readers_.insert(readers_.end(), more.readers_.begin(), more.readers_.end());
}

EventLog::Wakeups EventLog::append(std::vector<LogEntry> entries) {
  Wakeups wakeups;
  if (entries.empty()) return wakeups;
  const std::lock_guard lock(mutex_);
  for (const auto& reader : readers_) {
    if (reader->next <= head_) continue;  // Behind: not armed, or already woken.
    const auto hit = std::find_if(entries.begin(), entries.end(), [&](const LogEntry& entry) {
      return entry.revision() >= reader->next && reader->range.contains(entry.kv->key);
    });
    if (hit == entries.end()) {
      // Nothing for this watch: moving it along keeps it out of reach of compaction.
      reader->next = std::max(reader->next, entries.back().revision() + 1);
      continue;
    }
    reader->next = hit->revision();
    if (std::exchange(reader->armed, false)) wakeups.readers_.push_back(reader);
  }
  for (LogEntry& entry : entries) {
    bytes_ += bytes_of(entry);
    if (entry.revision() == head_ && !commits_.empty()) {
      commits_.back().more.push_back(std::move(entry));
    } else {
      head_ = entry.revision();
      commits_.push_back({std::move(entry), {}});
    }
  }
  drop_read_entries();
  return wakeups;
}

EventLog::Wakeups EventLog::skip_to(Revision head) {
  Wakeups wakeups;
  std::deque<Commit> dropped;  // Freed after the lock is released.
  const std::lock_guard lock(mutex_);
  dropped.swap(commits_);
  bytes_ = 0;
  head_ = head;
  for (const auto& reader : readers_) {
    if (reader->next <= head_ && std::exchange(reader->armed, false)) wakeups.readers_.push_back(reader);
  }
  return wakeups;
}

Revision EventLog::head() const {
  const std::lock_guard lock(mutex_);
  return head_;
}

EventLog::Wakeups EventLog::set_compacted(Revision revision) {
  Wakeups wakeups;
  const std::lock_guard lock(mutex_);
  compacted_ = std::max(compacted_, revision);
  for (const auto& reader : readers_) {
    if (reader->next < compacted_ && std::exchange(reader->armed, false)) wakeups.readers_.push_back(reader);
  }
  return wakeups;
}

// Precondition: the mutex is held and there is one.
EventLog::Commit EventLog::drop_first() {
  Commit dropped = std::move(commits_.front());
  commits_.pop_front();
  bytes_ -= bytes_of(dropped.first);
  for (const LogEntry& entry : dropped.more) bytes_ -= bytes_of(entry);
  return dropped;
}

void EventLog::trim(Revision first_kept) {
  std::vector<Commit> dropped;  // Freed after the lock is released.
  const std::lock_guard lock(mutex_);
  while (!commits_.empty() && first() < first_kept) dropped.push_back(drop_first());
}

std::vector<LogEntry> EventLog::slice(Revision from, Revision to, std::size_t limit) const {
  const std::lock_guard lock(mutex_);
  std::vector<LogEntry> out;
  for (Revision next = std::max(from, first()); next <= std::min(to, head_) && out.size() < limit; ++next) {
    const Commit& commit = at(next);
    out.push_back(commit.first);
    out.insert(out.end(), commit.more.begin(), commit.more.end());
  }
  return out;
}

Result<std::unique_ptr<storage::Watch>> EventLog::watch(const storage::WatchOptions& options) {
  auto reader = std::make_shared<Reader>();
  reader->range = {options.start, options.end};
  const std::lock_guard lock(mutex_);
  reader->next = options.from == 0 ? head_ + 1 : options.from;
  if (reader->next < compacted_) return expired(reader->next);
  reader->next = std::max(reader->next, kEmptyStore + 1);
  readers_.push_back(reader);
  return std::unique_ptr<storage::Watch>(std::make_unique<Cursor>(*this, std::move(reader)));
}

// Precondition: the mutex is held and commits_ reaches back to reader.next.
std::vector<LogEntry> EventLog::collect(Reader& reader, std::size_t max_events) {
  std::vector<LogEntry> out;
  const auto add = [&](const LogEntry& entry) {
    if (reader.range.contains(entry.kv->key)) out.push_back(entry);
  };
  for (; reader.next <= head_ && out.size() < max_events; ++reader.next) {
    const Commit& commit = at(reader.next);
    add(commit.first);
    for (const LogEntry& entry : commit.more) add(entry);
  }
  if (out.empty()) {
    reader.armed = true;
  } else {
    drop_read_entries();
  }
  return out;
}

// Precondition: the mutex is held.
void EventLog::drop_read_entries() {
  if (max_bytes_ == 0) return;
  Revision wanted = head_ + 1;
  for (const auto& reader : readers_) wanted = std::min(wanted, reader->next);
  while (!commits_.empty() && (first() < wanted || bytes_ > max_bytes_)) drop_first();
}

Error EventLog::expired(Revision wanted) const {
  return {Reason::Expired,
          "revision " + std::to_string(wanted) + " has been compacted; the oldest is " + std::to_string(compacted_)};
}

}  // namespace kubernel::storage_common
