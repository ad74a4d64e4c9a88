// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "rpc.pb.h"
#include "service_context.h"

namespace kubernel::etcd_server {

/// One client's stream of watches.
///
/// The connection's thread only puts requests into the inbox; the work is done by pump(), one at a time, on a thread
/// that may block.
class WatchStream final : public net::GrpcReceiver, public Stream, public std::enable_shared_from_this<WatchStream> {
 public:
  WatchStream(ServiceContext& context, Call call) : context_(context), call_(std::move(call)) {}
  ~WatchStream() override;

  void begin();
  void close() override;
  /// Tells idle watches that asked for it how far they are.
  void progress_due();

  void on_message(std::string_view message) override;
  void on_end() override;
  void on_closed() override;

 private:
  struct Watcher {
    std::int64_t id = 0;
    bool with_previous = false;
    bool fragment = false;
    bool progress_notify = false;
    bool without_puts = false;
    bool without_deletes = false;
    bool idle = true;  // Nothing was sent since the last progress notification was due.
    storage::Revision progress = 0;
    std::unique_ptr<storage::Watch> cursor;
  };

  // Any thread.
  void ready(std::int64_t id);
  void drained();
  void schedule();                        // The mutex is held.
  void finish(const GrpcStatus& status);  // The mutex is held.

  // Inside pump() only.
  void pump();
  bool pump_once();
  void handle(const etcdserverpb::WatchRequest& request);
  void create(const etcdserverpb::WatchCreateRequest& request);
  std::optional<Error> open(Watcher& watcher, const etcdserverpb::WatchCreateRequest& request, storage::Revision head);
  void cancel(std::int64_t id);
  void drop(std::int64_t id);
  bool deliver(Watcher& watcher);
  bool broken_off(const Error& error);
  void expire(Watcher& watcher, const Error& error);
  void send_events(Watcher& watcher, storage::WatchBatch&& batch);
  void send_progress();
  void send(const etcdserverpb::WatchResponse& response);
  etcdserverpb::WatchResponse answer(std::int64_t id, storage::Revision revision) const;

  ServiceContext& context_;
  const Call call_;

  std::mutex mutex_;
  std::deque<etcdserverpb::WatchRequest> inbox_;
  std::set<std::int64_t> ready_;
  bool scheduled_ = false;  // A pump is queued or runs.
  bool starved_ = false;    // The pump stopped because the client does not read what it was sent.
  bool finished_ = false;
  bool progress_asked_ = false;
  bool progress_due_ = false;

  // The pump's. Destroyed first: cursors wait for their callbacks, which use the above.
  std::int64_t next_id_ = 0;
  std::map<std::int64_t, Watcher> watchers_;
};

}  // namespace kubernel::etcd_server
