// SPDX-License-Identifier: Apache-2.0
#include "http/watch_stream.h"

#include <atomic>
#include <utility>

namespace kubernel::apiserver {

namespace {

constexpr std::size_t kBatch = 100;
// A client that has this much unread is sent no more until it has read all of it.
constexpr std::size_t kMaxBacklog = 256 * 1024;

}  // namespace

class WatchStreams::Stream : public std::enable_shared_from_this<Stream> {
 public:
  Stream(WatchStreams& owner, std::shared_ptr<net::ResponseStream> out, std::shared_ptr<Watcher> watcher,
         Encoder encoder)
      : owner_(owner), out_(std::move(out)), watcher_(std::move(watcher)), encoder_(std::move(encoder)) {}

  void start(std::chrono::seconds timeout) {
    const std::weak_ptr<Stream> weak = weak_from_this();
    const auto again = [weak] {
      if (const auto self = weak.lock()) self->schedule();
    };
    {
      const std::lock_guard lock(timer_mutex_);
      timer_ = owner_.clock_.call_at(owner_.clock_.now() + timeout, [weak] {
        if (const auto self = weak.lock()) self->end_soon();
      });
    }
    out_->on_drained(again);
    out_->on_closed([weak] {
      if (const auto self = weak.lock()) self->end_soon();
    });
    watcher_->notify(again);
    schedule();
  }

  void close() {
    {
      const std::lock_guard lock(run_mutex_);
      if (std::exchange(done_, true)) return;
      out_->finish();
    }
    std::unique_ptr<Subscription> timer;
    {
      const std::lock_guard lock(timer_mutex_);
      timer = std::move(timer_);
    }
    timer.reset();
    watcher_->notify({});
  }

 private:
  void end_soon() {
    ending_.store(true);
    schedule();
  }

  // At most one run is queued or running; calls meanwhile make it go round once more.
  void schedule() {
    if (pending_.fetch_add(1) != 0) return;
    auto queued = owner_.blocking_.submit([self = shared_from_this()] { self->run(); });
    if (!queued) pending_.store(0);  // The next event or drain tries again.
  }

  void run() {
    std::uint64_t seen = pending_.load();
    bool over = false;
    do {
      over = ending_.load() || pump();
    } while (!over && !pending_.compare_exchange_strong(seen, 0));
    if (!over) return;
    close();
    owner_.forget(shared_from_this());
  }

  // True when the stream is over.
  bool pump() {
    const std::lock_guard lock(run_mutex_);
    while (!done_ && out_->backlog() <= kMaxBacklog) {
      auto events = watcher_->take(kBatch);
      if (!events) {
        out_->write(std::make_shared<const std::string>(encoder_.error_event(events.error())));
        return true;
      }
      if (events->empty()) return false;
      for (const client::WatchEvent& event : *events) {
        auto frame = encoder_.event(event, first_);
        if (!frame) {
          out_->write(std::make_shared<const std::string>(encoder_.error_event(frame.error())));
          return true;
        }
        first_ = false;
        if (!out_->write(std::make_shared<const std::string>(*std::move(frame)))) return true;
      }
    }
    return done_;
  }

  WatchStreams& owner_;
  std::shared_ptr<net::ResponseStream> out_;
  std::shared_ptr<Watcher> watcher_;
  Encoder encoder_;
  std::atomic<std::uint64_t> pending_{0};
  std::atomic<bool> ending_{false};
  std::mutex run_mutex_;
  bool done_ = false;
  bool first_ = true;
  std::mutex timer_mutex_;
  std::unique_ptr<Subscription> timer_;
};

void WatchStreams::open(std::shared_ptr<net::ResponseStream> out, std::shared_ptr<Watcher> watcher, Encoder encoder,
                        std::chrono::seconds timeout) {
  auto stream = std::make_shared<Stream>(*this, std::move(out), std::move(watcher), std::move(encoder));
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) streams_.insert(stream);
  }
  stream->start(timeout);
}

void WatchStreams::forget(const std::shared_ptr<Stream>& stream) {
  const std::lock_guard lock(mutex_);
  streams_.erase(stream);
}

void WatchStreams::close_all() {
  std::set<std::shared_ptr<Stream>> streams;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    streams.swap(streams_);
  }
  for (const auto& stream : streams) stream->close();
}

}  // namespace kubernel::apiserver
