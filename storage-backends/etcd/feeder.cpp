// SPDX-License-Identifier: Apache-2.0
#include "feeder.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <kubernel/base/alarm.h>

namespace kubernel::storage_etcd {

using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;
using storage::Event;
using storage::Revision;

namespace {

constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{2000};

// Events of one response, put together again when it came in fragments.
class Assembler {
 public:
  // True when a whole response is there.
  bool add(const Keys& keys, WatchResponse& response) {
    for (auto& event : *response.mutable_events()) {
      revision_ = event.kv().mod_revision();
      if (auto ours = from_wire(keys, std::move(event))) events_.push_back(*std::move(ours));
    }
    return !response.fragment();
  }
  Revision revision() const noexcept { return revision_; }  // Of the last event, also when it is somebody else's.
  std::vector<Event> take() { return std::exchange(events_, {}); }

 private:
  std::vector<Event> events_;
  Revision revision_ = 0;
};

// A stream that has no leader to ask ends instead of waiting for one.
void require_leader(grpc::ClientContext& context) {
  context.AddMetadata("hasleader", "true");
}

}  // namespace

struct Feeder::State : std::enable_shared_from_this<State> {
  class Stream;

  explicit State(const FeederContext& c)
      : context(c),
        reconnects(c.metrics.counter("kubernel_storage_etcd_watch_reconnects_total",
                                     "Times the watch of the etcd key space was opened again.", {})) {}

  void open();
  void ended(const grpc::Status& status, const std::shared_ptr<Member>& member, bool was_live, const std::string& why);
  void retry(std::chrono::milliseconds pause);
  void reconnect();
  void stop();
  bool same_cluster(std::uint64_t id);
  void well();

  const FeederContext context;
  Counter& reconnects;

  std::mutex mutex;
  std::condition_variable changed;
  Stream* stream = nullptr;  // Deletes itself when it is over.
  int streams = 0;           // Whose callbacks may still run.
  int busy = 0;              // Tasks that run on the executor.
  bool stopping = false;
  bool reported = false;  // The present trouble has been logged.
  std::chrono::milliseconds pause{0};
  std::uint64_t cluster_id = 0;
  Alarm timer;
};

class Feeder::State::Stream final : public grpc::ClientBidiReactor<WatchRequest, WatchResponse> {
 public:
  Stream(std::shared_ptr<State> state, std::shared_ptr<Member> member, Revision from)
      : state_(std::move(state)), member_(std::move(member)), request_(watch_everything(from)) {
    require_leader(call_);
    state_->context.cluster.prepare(call_);
  }

  void run() {
    member_->watch->async()->Watch(&call_, this);
    StartWrite(&request_);
    StartRead(&response_);
    StartCall();
  }
  void cancel() { call_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (!take()) {
      call_.TryCancel();
      return;
    }
    response_.Clear();
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    const auto state = std::move(state_);
    const auto member = std::move(member_);
    const bool was_live = live_;
    const std::string why = std::move(why_);
    {
      const std::lock_guard lock(state->mutex);
      state->stream = nullptr;
    }
    delete this;
    state->ended(status, member, was_live, why);
    const std::lock_guard lock(state->mutex);
    --state->streams;
    state->changed.notify_all();
  }

 private:
  // False when the stream is of no more use.
  bool take() {
    Feed& feed = state_->context.feed;
    if (!state_->same_cluster(response_.header().cluster_id())) {
      why_ = "it belongs to another etcd cluster than the one this process began with";
      return false;
    }
    if (response_.canceled()) {
      if (response_.compact_revision() == 0) {
        why_ = response_.cancel_reason().empty() ? "it cancelled the watch" : response_.cancel_reason();
      } else {
        feed.lose(response_.compact_revision(), response_.header().revision());
        live_ = true;
      }
      return false;
    }
    if (response_.created()) {
      live_ = true;
      state_->well();
      feed.set_live(true);
    }
    if (response_.events_size() != 0 && assembler_.add(state_->context.keys, response_)) {
      feed.append(assembler_.take(), assembler_.revision());
    }
    return true;
  }

  std::shared_ptr<State> state_;
  std::shared_ptr<Member> member_;
  grpc::ClientContext call_;
  const WatchRequest request_;
  WatchResponse response_;
  Assembler assembler_;
  bool live_ = false;
  std::string why_;
};

bool Feeder::State::same_cluster(std::uint64_t id) {
  const std::lock_guard lock(mutex);
  if (cluster_id == 0) cluster_id = id;
  return id == cluster_id;
}

void Feeder::State::well() {
  const std::lock_guard lock(mutex);
  pause = {};
  if (std::exchange(reported, false)) log_info(context.log, "the watch of etcd is open again");
}

void Feeder::State::open() {
  Stream* opened = new Stream(shared_from_this(), context.cluster.current(), context.feed.head() + 1);
  {
    const std::lock_guard lock(mutex);
    if (stopping) {
      delete opened;
      return;
    }
    stream = opened;
    ++streams;
  }
  opened->run();  // Deletes itself; a cancel that came before is remembered.
}

void Feeder::State::ended(const grpc::Status& status, const std::shared_ptr<Member>& member, bool was_live,
                          const std::string& why) {
  context.feed.set_live(false);
  std::chrono::milliseconds wait{0};
  bool report = false;
  {
    const std::lock_guard lock(mutex);
    if (stopping) return;
    if (!was_live) pause = std::min(std::max(pause * 2, kFirstPause), kLongestPause);
    wait = was_live ? std::chrono::milliseconds(0) : pause;
    report = !why.empty() || !was_live ? !std::exchange(reported, true) : false;
  }
  if (report) {
    const std::string text =
        why.empty() ? context.cluster.error_of(status, {}, member->url).message() : "etcd " + member->url + ": " + why;
    log_warning(context.log, "the watch of etcd ended and is tried again", {{"error", text}});
  }
  if (status.error_code() != grpc::StatusCode::CANCELLED || !why.empty()) context.cluster.give_up(member);
  retry(wait);
}

void Feeder::State::retry(std::chrono::milliseconds wait) {
  // On the executor, because logging in blocks and a timer's callback must not.
  timer.set([this, wait] {
    return context.clock.call_at(context.clock.now() + wait, [self = weak_from_this()] {
      const auto state = self.lock();
      if (!state) return;
      auto queued = state->context.blocking.submit([self] {
        if (const auto alive = self.lock()) alive->reconnect();
      });
      if (!queued) state->retry(kLongestPause);
    });
  });
}

void Feeder::State::reconnect() {
  {
    const std::lock_guard lock(mutex);
    if (stopping) return;
    ++busy;  // stop() waits from here on.
  }
  reconnects.add(1);
  // A token may have expired while the stream was open. When the login fails, the stream's own error tells.
  if (auto logged_in = context.cluster.log_in({}); !logged_in) {
    log_warning(context.log, "logging in to etcd again failed", {{"error", logged_in.error()}});
  }
  open();
  const std::lock_guard lock(mutex);
  --busy;
  changed.notify_all();
}

void Feeder::State::stop() {
  {
    std::unique_lock lock(mutex);
    stopping = true;
    if (stream != nullptr) stream->cancel();
    changed.wait(lock, [this] { return streams == 0 && busy == 0; });
  }
  timer.cancel();
}

Feeder::Feeder(const FeederContext& context) : state_(std::make_shared<State>(context)) {
  state_->open();
}

Feeder::~Feeder() {
  state_->stop();
}

Result<storage::WatchBatch> read_history(Cluster& cluster, const Keys& keys, Revision from, Revision to,
                                         const storage::KeyRange& range, std::size_t enough) {
  storage::WatchBatch batch;
  std::optional<Error> expired;
  KUBERNEL_CHECK_OK(cluster.call({}, true, [&](Member& member, grpc::ClientContext& call) {
    batch = {};
    require_leader(call);
    const auto stream = member.watch->Watch(&call);
    stream->Write(watch_everything(from));
    Assembler assembler;
    for (WatchResponse response; stream->Read(&response); response.Clear()) {
      if (response.canceled()) {
        expired.emplace(response.compact_revision() != 0 ? Reason::Expired : Reason::ServiceUnavailable,
                        response.compact_revision() != 0
                            ? "revision " + std::to_string(from) + " has been compacted; the oldest is " +
                                  std::to_string(response.compact_revision())
                            : "etcd " + member.url + ": " + response.cancel_reason());
        break;
      }
      if (response.events_size() == 0 || !assembler.add(keys, response)) continue;
      batch.progress = assembler.revision();
      for (Event& event : assembler.take()) {
        if (range.contains(event.kv.key)) batch.events.push_back(std::move(event));
      }
      if (batch.progress >= to || batch.events.size() >= enough) break;
    }
    const bool done = expired || batch.progress >= to || batch.events.size() >= enough;
    call.TryCancel();
    const grpc::Status status = stream->Finish();
    return done ? grpc::Status::OK : status;
  }));
  if (expired) return *std::move(expired);
  return batch;
}

}  // namespace kubernel::storage_etcd
