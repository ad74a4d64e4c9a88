// SPDX-License-Identifier: Apache-2.0
#include "watch_stream.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace kubernel::etcd_server {

using etcdserverpb::WatchCreateRequest;
using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;
using storage::Event;
using storage::Revision;

namespace {

constexpr std::size_t kMostUnsentBytes = 4U << 20U;
constexpr std::size_t kMostUnreadRequests = 1000;
constexpr std::size_t kEventsAtOnce = 256;
// A response grows to this size, and then another one begins; events of one revision stay together but for fragments.
constexpr std::size_t kResponseBytes = 1U << 20U;
constexpr std::int64_t kWholeStream = -1;  // The watch id of an answer that is about all watches.

std::size_t bytes_of(const Event& event, bool with_previous) {
  return 64 + event.kv.key.size() + event.kv.value.size() +
         (with_previous && event.previous ? event.previous->key.size() + event.previous->value.size() : 0);
}

}  // namespace

WatchStream::~WatchStream() {
  context_.watchers.add(-static_cast<double>(watchers_.size()));
  watchers_.clear();
  context_.over();
}

void WatchStream::begin() {
  context_.opened(shared_from_this());
  call_->on_drained([weak = weak_from_this()] {
    if (const auto stream = weak.lock()) stream->drained();
  });
}

void WatchStream::close() {
  const std::lock_guard lock(mutex_);
  finish(ServiceContext::stopped());
}

void WatchStream::progress_due() {
  const std::lock_guard lock(mutex_);
  progress_due_ = true;
  schedule();
}

void WatchStream::finish(const GrpcStatus& status) {
  if (!std::exchange(finished_, true)) call_->finish(status);
}

void WatchStream::on_message(std::string_view message) {
  WatchRequest request;
  const std::lock_guard lock(mutex_);
  if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return finish(ServiceContext::unreadable());
  }
  inbox_.push_back(std::move(request));
  if (inbox_.size() >= kMostUnreadRequests) call_->pause(true);
  schedule();
}

void WatchStream::on_end() {
  const std::lock_guard lock(mutex_);
  finish({});
}

void WatchStream::on_closed() {
  {
    const std::lock_guard lock(mutex_);
    finish({GrpcCode::Cancelled, ""});
  }
  // Cursors may wait for the store when they are closed, and the connections' thread must not. Without room in the pool
  // it happens here after all.
  static_cast<void>(context_.blocking.submit([last = shared_from_this()] {}));
}

void WatchStream::drained() {
  const std::lock_guard lock(mutex_);
  if (starved_) schedule();
}

void WatchStream::ready(std::int64_t id) {
  const std::lock_guard lock(mutex_);
  ready_.insert(id);
  schedule();
}

void WatchStream::schedule() {
  if (finished_ || scheduled_) return;
  auto queued = context_.blocking.submit([stream = shared_from_this()] { stream->pump(); });
  scheduled_ = static_cast<bool>(queued);
  if (!queued) finish({GrpcCode::Unavailable, "etcdserver: too many requests"});  // The client opens a new one later.
}

void WatchStream::send(const WatchResponse& response) {
  call_->send(response.SerializeAsString());
}

void WatchStream::pump() {
  while (pump_once()) {
  }
}

// One request, or one step of one watch. False when there is nothing to do; the pump is then over.
bool WatchStream::pump_once() {
  WatchRequest request;
  std::int64_t id = 0;
  bool progress = false;
  {
    const std::lock_guard lock(mutex_);
    starved_ = !finished_ && call_->backlog() >= kMostUnsentBytes;
    if (finished_ || starved_) {
      scheduled_ = false;
      return false;
    }
    if (!inbox_.empty()) {
      request = std::move(inbox_.front());
      inbox_.pop_front();
      if (inbox_.size() < kMostUnreadRequests / 2) call_->pause(false);
    } else if (!ready_.empty()) {
      id = *ready_.begin();
      ready_.erase(ready_.begin());
    } else if (progress_asked_ || progress_due_) {
      progress = true;
    } else {
      scheduled_ = false;
      return false;
    }
  }
  if (progress) {
    send_progress();
    return true;
  }
  if (request.request_union_case() != WatchRequest::REQUEST_UNION_NOT_SET) {
    handle(request);
    return true;
  }
  const auto found = watchers_.find(id);
  if (found != watchers_.end() && deliver(found->second)) {
    const std::lock_guard lock(mutex_);
    ready_.insert(id);  // There may be more.
  }
  return true;
}

void WatchStream::handle(const WatchRequest& request) {
  if (request.has_create_request()) {
    create(request.create_request());
  } else if (request.has_cancel_request()) {
    cancel(request.cancel_request().watch_id());
  } else if (request.has_progress_request()) {
    const std::lock_guard lock(mutex_);
    progress_asked_ = true;
  }
}

WatchResponse WatchStream::answer(std::int64_t id, Revision revision) const {
  WatchResponse out;
  context_.head(*out.mutable_header(), revision);
  out.set_watch_id(id);
  return out;
}

void WatchStream::create(const WatchCreateRequest& request) {
  const auto head = context_.revision({});
  Watcher watcher;
  watcher.id = request.watch_id() != 0 ? request.watch_id() : next_id_;
  while (request.watch_id() == 0 && watchers_.contains(watcher.id)) ++watcher.id;
  const auto refused = head ? open(watcher, request, *head) : std::optional(head.error());
  if (refused && broken_off(*refused)) return;
  auto created = answer(refused ? kWholeStream : watcher.id, head ? *head : 0);
  created.set_created(true);
  if (refused) {
    created.set_canceled(true);
    created.set_cancel_reason(refused->message());
    send(created);
    return;
  }
  send(created);
  const std::int64_t id = watcher.id;
  if (request.watch_id() == 0) next_id_ = id + 1;
  if (!watcher.cursor) {  // What it asked for is compacted already.
    expire(watcher, Error(Reason::Expired, ""));
    return;
  }
  context_.watchers.add(1);
  const auto placed = watchers_.insert_or_assign(id, std::move(watcher)).first;
  placed->second.cursor->notify([this, id] { ready(id); });
  const std::lock_guard lock(mutex_);
  ready_.insert(id);  // Its first take arms it.
}

// Why the watch cannot be; a watch without a cursor is one whose beginning is compacted.
std::optional<Error> WatchStream::open(Watcher& watcher, const WatchCreateRequest& request, Revision head) {
  if (watchers_.contains(watcher.id))
    return Error(Reason::BadRequest, "mvcc: duplicate watch ID provided on the WatchStream");
  const std::string key = request.key().empty() ? std::string(1, '\0') : request.key();
  const storage::KeyRange range = range_of(key, request.range_end());
  if (!range.end.empty() && range.end <= range.start) return Error(Reason::BadRequest, "mvcc: watcher range is empty");
  watcher.with_previous = request.prev_kv();
  watcher.fragment = request.fragment();
  watcher.progress_notify = request.progress_notify();
  for (const int filter : request.filters()) {
    watcher.without_puts |= filter == WatchCreateRequest::NOPUT;
    watcher.without_deletes |= filter == WatchCreateRequest::NODELETE;
  }
  const Revision from = request.start_revision() > 0 ? request.start_revision() : head + 1;
  auto opened = context_.store.watch({range.start, range.end, from});
  if (!opened && opened.error().reason() != Reason::Expired) return opened.error();
  if (opened) watcher.cursor = *std::move(opened);
  return std::nullopt;
}

void WatchStream::cancel(std::int64_t id) {
  const auto found = watchers_.find(id);
  if (found == watchers_.end()) return;
  const auto head = context_.revision({});
  auto response = answer(id, head ? *head : found->second.progress);
  drop(id);
  response.set_canceled(true);
  send(response);
}

void WatchStream::drop(std::int64_t id) {
  if (watchers_.erase(id) != 0) context_.watchers.add(-1);
}

// True when there may be more to take.
bool WatchStream::deliver(Watcher& watcher) {
  auto batch = watcher.cursor->take(kEventsAtOnce);
  if (!batch) {
    const std::int64_t id = watcher.id;
    if (!broken_off(batch.error())) expire(watcher, batch.error());
    drop(id);
    return false;
  }
  watcher.progress = std::max(watcher.progress, batch->progress);
  const bool some = !batch->events.empty();
  if (some) send_events(watcher, *std::move(batch));
  return some;
}

// A watch that is cancelled is given up by its client, and one whose stream ends with this status is resumed where it
// was. So what may be better in a moment ends the stream.
bool WatchStream::broken_off(const Error& error) {
  switch (error.reason()) {
    case Reason::ServiceUnavailable:
    case Reason::Timeout:
    case Reason::Cancelled:
    case Reason::TooManyRequests: break;
    default: return false;
  }
  const std::lock_guard lock(mutex_);
  finish({GrpcCode::Unavailable, error.message()});
  return true;
}

void WatchStream::expire(Watcher& watcher, const Error& error) {
  const auto stats = context_.store.stats({});
  auto response = answer(watcher.id, stats ? stats->revision : watcher.progress);
  response.set_canceled(true);
  if (error.reason() == Reason::Expired) {
    response.set_compact_revision(std::max<Revision>(stats ? stats->compacted : 0, 1));
    response.set_cancel_reason("etcdserver: mvcc: required revision has been compacted");
  } else {
    response.set_cancel_reason(error.message());
  }
  send(response);
}

void WatchStream::send_events(Watcher& watcher, storage::WatchBatch&& batch) {
  auto response = answer(watcher.id, batch.progress);
  std::size_t bytes = 0;
  Revision revision = 0;
  std::size_t sent = 0;
  for (Event& event : batch.events) {
    const bool put = event.type == Event::Type::Put;
    if (put ? watcher.without_puts : watcher.without_deletes) continue;
    const std::size_t size = bytes_of(event, watcher.with_previous);
    const bool whole = event.kv.modified != revision;
    if (bytes != 0 && bytes + size > kResponseBytes && (whole || watcher.fragment)) {
      // Up to here everything of the revisions before has been sent; within one, more follows.
      response.mutable_header()->set_revision(revision);
      response.set_fragment(!whole);
      send(std::exchange(response, answer(watcher.id, batch.progress)));
      bytes = 0;
    }
    revision = event.kv.modified;
    bytes += size;
    ++sent;
    fill(*response.add_events(), std::move(event), watcher.with_previous);
  }
  if (sent == 0) return;
  watcher.idle = false;
  context_.events.add(static_cast<double>(sent));
  send(response);
}

// Every watch has been read to its end, or nearly: what became ready since comes first.
void WatchStream::send_progress() {
  bool asked = false;
  bool due = false;
  Revision all = 0;
  for (auto& [id, watcher] : watchers_) {
    auto batch = watcher.cursor->take(kEventsAtOnce);
    if (!batch || !batch->events.empty()) {
      const std::lock_guard lock(mutex_);
      ready_.insert(id);
      if (batch) {
        watcher.progress = std::max(watcher.progress, batch->progress);
        send_events(watcher, *std::move(batch));
      }
      return;  // The request stays; the pump comes back to it.
    }
    watcher.progress = std::max(watcher.progress, batch->progress);
    all = all == 0 ? watcher.progress : std::min(all, watcher.progress);
  }
  {
    const std::lock_guard lock(mutex_);
    asked = std::exchange(progress_asked_, false);
    due = std::exchange(progress_due_, false);
  }
  if (asked && all == 0) {
    const auto head = context_.revision({});
    all = head ? *head : 0;
  }
  if (asked) send(answer(kWholeStream, all));
  if (!due) return;
  for (auto& [id, watcher] : watchers_) {
    if (std::exchange(watcher.idle, true) && watcher.progress_notify) send(answer(id, watcher.progress));
  }
}

}  // namespace kubernel::etcd_server
