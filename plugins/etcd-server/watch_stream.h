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

#include "rpc.grpc.pb.h"
#include "service_context.h"

namespace kubernel::etcd_server {

/// One client's stream of watches.
///
/// gRPC's threads only put requests into the inbox and answers on the wire; the work is done by pump(), one at a time,
/// on a thread that may block.
class WatchStream final : public grpc::ServerBidiReactor<etcdserverpb::WatchRequest, etcdserverpb::WatchResponse>,
                          public Stream,
                          public std::enable_shared_from_this<WatchStream> {
 public:
  explicit WatchStream(ServiceContext& context) : context_(context) {}
  ~WatchStream() override;

  void begin();
  void close() override;
  /// Tells idle watches that asked for it how far they are.
  void progress_due();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

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
  void schedule();                     // The mutex is held.
  void finish(const grpc::Status& s);  // The mutex is held.
  void write_next();                   // The mutex is held.

  // Inside pump() only.
  void pump();
  bool pump_once();
  void handle(const etcdserverpb::WatchRequest& request);
  void create(const etcdserverpb::WatchCreateRequest& request);
  std::optional<std::string> open(Watcher& watcher, const etcdserverpb::WatchCreateRequest& request,
                                  storage::Revision head);
  void cancel(std::int64_t id);
  void drop(std::int64_t id);
  bool deliver(Watcher& watcher);
  void expire(Watcher& watcher, const Error& error);
  void send_events(Watcher& watcher, storage::WatchBatch&& batch);
  void send_progress();
  void send(etcdserverpb::WatchResponse&& response);
  etcdserverpb::WatchResponse answer(std::int64_t id, storage::Revision revision) const;

  ServiceContext& context_;
  std::shared_ptr<WatchStream> self_;  // Until gRPC is done with it.
  etcdserverpb::WatchRequest incoming_;

  // Recursive: gRPC may call back from within Finish.
  std::recursive_mutex mutex_;
  std::deque<etcdserverpb::WatchRequest> inbox_;
  std::deque<etcdserverpb::WatchResponse> outbox_;  // The first one is on its way while writing_.
  std::size_t outbox_bytes_ = 0;
  std::set<std::int64_t> ready_;
  bool reading_ = false;
  bool writing_ = false;
  bool scheduled_ = false;  // A pump is queued or runs.
  bool starved_ = false;    // The pump stopped because the outbox is full.
  bool closing_ = false;
  bool finished_ = false;
  bool progress_asked_ = false;
  bool progress_due_ = false;

  // The pump's. Destroyed first: cursors wait for their callbacks, which use the above.
  std::int64_t next_id_ = 0;
  std::map<std::int64_t, Watcher> watchers_;
};

}  // namespace kubernel::etcd_server
