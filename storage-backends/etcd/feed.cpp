// SPDX-License-Identifier: Apache-2.0
#include "feed.h"

#include <algorithm>
#include <utility>

namespace kubernel::storage_etcd {

using storage::Event;
using storage::Revision;
using storage::WatchBatch;

namespace {

// How long a writer waits for its own event: longer than it ever takes while the stream works.
constexpr std::chrono::milliseconds kMostWait{1000};
// History is read in pieces of this many events, however few the reader wants at a time.
constexpr std::size_t kHistoryPiece = 1000;

std::size_t bytes_of(const Event& event) {
  return sizeof(Event) + 64 + event.kv.key.size() + event.kv.value.size() +
         (event.previous ? event.previous->key.size() + event.previous->value.size() : 0);
}

}  // namespace

// Where one watch stands. All but `ready` is guarded by the feed's mutex.
struct Feed::Reader {
  storage::KeyRange range;
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

// A writer that waits for its event. All is guarded by the feed's mutex.
struct Feed::Waiter {
  std::condition_variable released_changed;
  bool released = false;
};

class Feed::Cursor final : public storage::Watch {
 public:
  Cursor(Feed& feed, std::shared_ptr<Reader> reader) : feed_(feed), reader_(std::move(reader)) {}

  ~Cursor() override {
    notify({});
    const std::lock_guard lock(feed_.mutex_);
    std::erase(feed_.readers_, reader_);
  }

  Result<WatchBatch> take(std::size_t max_events) override {
    max_events = std::max<std::size_t>(max_events, 1);
    if (!past_.empty()) return from_past(max_events);
    std::unique_lock lock(feed_.mutex_);
    for (;;) {
      if (reader_->next < feed_.compacted_) return feed_.expired(reader_->next);
      if (reader_->next >= feed_.start_ || reader_->next > feed_.head_) return from_feed(std::move(lock), max_events);
      const Revision from = reader_->next;
      const Revision to = feed_.start_ - 1;
      lock.unlock();
      KUBERNEL_TRY(auto batch, feed_.history_(from, to, reader_->range, std::max(max_events, kHistoryPiece)));
      for (Event& event : batch.events) past_.push_back(std::move(event));
      past_progress_ = batch.progress;
      lock.lock();
      reader_->next = batch.progress + 1;
      if (past_.empty()) continue;
      lock.unlock();
      return from_past(max_events);
    }
  }

  void notify(std::function<void()> ready) override {
    auto callback = ready ? std::make_shared<const std::function<void()>>(std::move(ready)) : nullptr;
    {
      const std::lock_guard lock(reader_->callback_mutex);
      reader_->ready = callback;
    }
    if (!callback) return;
    bool now = !past_.empty();
    {
      const std::lock_guard lock(feed_.mutex_);
      // An expired watch is woken too: take() has that to tell.
      now = now || reader_->next <= feed_.head_ || reader_->next < feed_.compacted_;
      reader_->armed = !now;
    }
    if (now) reader_->wake();
  }

 private:
  WatchBatch from_past(std::size_t max_events) {
    WatchBatch batch;
    while (!past_.empty()) {
      const Revision revision = past_.front().kv.modified;
      if (batch.events.size() >= max_events && batch.progress != revision) break;
      batch.progress = revision;
      batch.events.push_back(std::move(past_.front()));
      past_.pop_front();
    }
    if (past_.empty()) batch.progress = past_progress_;
    return batch;
  }

  WatchBatch from_feed(std::unique_lock<std::mutex> lock, std::size_t max_events) {
    const auto& held = feed_.events_;
    auto at = std::lower_bound(held.begin(), held.end(), reader_->next,
                               [](const auto& event, Revision revision) { return event->kv.modified < revision; });
    std::vector<std::shared_ptr<const Event>> found;
    Revision last = 0;
    for (; at != held.end(); ++at) {
      if (!reader_->range.contains((*at)->kv.key)) continue;
      if (found.size() >= max_events && (*at)->kv.modified != last) break;
      last = (*at)->kv.modified;
      found.push_back(*at);
    }
    // Cut: go on with what did not fit. Else: all up to the head has been looked at.
    reader_->next = at != held.end() ? (*at)->kv.modified : std::max(reader_->next, feed_.head_ + 1);
    reader_->armed = found.empty();
    WatchBatch batch{.events = {}, .progress = std::min(reader_->next - 1, feed_.head_)};
    lock.unlock();
    batch.events.reserve(found.size());
    for (const auto& event : found) batch.events.push_back(*event);
    return batch;
  }

  Feed& feed_;
  std::shared_ptr<Reader> reader_;
  std::deque<Event> past_;  // Read from etcd, not taken yet. The reader's only.
  Revision past_progress_ = 0;
};

Feed::Feed(Revision head, std::size_t max_bytes, ReadHistory history)
    : start_(head + 1), head_(head), delivered_(head), max_bytes_(max_bytes), history_(std::move(history)) {}

Feed::~Feed() = default;

// The revision of the first event the reader wants; 0: none.
Revision Feed::first_in(const std::vector<std::shared_ptr<const Event>>& events, const Reader& reader) {
  for (const auto& event : events) {
    if (event->kv.modified >= reader.next && reader.range.contains(event->kv.key)) return event->kv.modified;
  }
  return 0;
}

void Feed::append(std::vector<Event> events, Revision head) {
  std::vector<std::shared_ptr<const Event>> added;
  added.reserve(events.size());
  for (Event& event : events) added.push_back(std::make_shared<const Event>(std::move(event)));
  std::vector<std::shared_ptr<Reader>> woken;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& reader : readers_) {
      if (reader->next <= head_) continue;  // Behind: it has been woken, or is reading.
      const Revision hit = first_in(added, *reader);
      if (hit == 0) {
        reader->next = std::max(reader->next, head + 1);
        continue;
      }
      reader->next = hit;
      if (std::exchange(reader->armed, false)) woken.push_back(reader);
    }
    for (auto& event : added) {
      bytes_ += bytes_of(*event);
      events_.push_back(std::move(event));
    }
    head_ = std::max(head_, head);
    drop_oldest();
  }
  for (const auto& reader : woken) reader->wake();
  const std::lock_guard lock(mutex_);
  delivered_ = std::max(delivered_, head);
  release_waiters();
}

void Feed::drop_oldest() {
  while (bytes_ > max_bytes_ && !events_.empty()) {
    const Revision oldest = events_.front()->kv.modified;
    while (!events_.empty() && events_.front()->kv.modified == oldest) {
      bytes_ -= bytes_of(*events_.front());
      events_.pop_front();
    }
    start_ = oldest + 1;
  }
}

void Feed::lose(Revision compacted, Revision head) {
  std::vector<std::shared_ptr<Reader>> readers;
  {
    const std::lock_guard lock(mutex_);
    compacted_ = std::max(compacted_, compacted);
    head_ = std::max(head_, head);
    start_ = head_ + 1;
    delivered_ = head_;
    events_.clear();
    bytes_ = 0;
    readers = readers_;
    for (const auto& reader : readers) reader->armed = false;
    release_waiters();
  }
  for (const auto& reader : readers) reader->wake();
}

void Feed::set_compacted(Revision revision) {
  const std::lock_guard lock(mutex_);
  compacted_ = std::max(compacted_, revision);
}

Revision Feed::compacted() const {
  const std::lock_guard lock(mutex_);
  return compacted_;
}

Revision Feed::head() const {
  const std::lock_guard lock(mutex_);
  return head_;
}

void Feed::set_live(bool live) {
  const std::lock_guard lock(mutex_);
  live_ = live;
  release_waiters();
  live_changed_.notify_all();
}

void Feed::wait_until_live() {
  std::unique_lock lock(mutex_);
  live_changed_.wait_for(lock, kMostWait, [&] { return live_; });
}

void Feed::wait_for(Revision revision) {
  std::unique_lock lock(mutex_);
  if (!live_ || delivered_ >= revision) return;
  Waiter waiter;
  const auto place = waiting_.emplace(revision, &waiter);
  if (!waiter.released_changed.wait_for(lock, kMostWait, [&] { return waiter.released; })) waiting_.erase(place);
}

// Wakes those who have nothing to wait for any more, and nobody else. Precondition: the mutex is held, so that none of
// them is gone before it has been told.
void Feed::release_waiters() {
  while (!waiting_.empty() && (!live_ || waiting_.begin()->first <= delivered_)) {
    Waiter& waiter = *waiting_.begin()->second;
    waiting_.erase(waiting_.begin());
    waiter.released = true;
    waiter.released_changed.notify_one();
  }
}

Error Feed::expired(Revision wanted) const {
  return {Reason::Expired,
          "revision " + std::to_string(wanted) + " has been compacted; the oldest is " + std::to_string(compacted_)};
}

Result<std::unique_ptr<storage::Watch>> Feed::watch(const storage::WatchOptions& options) {
  const std::lock_guard lock(mutex_);
  auto reader = std::make_shared<Reader>();
  reader->range = {options.start, options.end};
  // An empty etcd is at revision 1: there is no event before 2.
  reader->next = options.from == 0 ? head_ + 1 : std::max<Revision>(options.from, 2);
  if (options.from != 0 && options.from < compacted_) return expired(options.from);
  readers_.push_back(reader);
  return std::unique_ptr<storage::Watch>(std::make_unique<Cursor>(*this, std::move(reader)));
}

}  // namespace kubernel::storage_etcd
