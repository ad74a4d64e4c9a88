// SPDX-License-Identifier: Apache-2.0
//
// What the services share: the store, and the way from gRPC's threads to threads that may block.

#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <grpcpp/grpcpp.h>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>
#include <kubernel/storage/backend.h>

#include "config.h"
#include "wire.h"
#include "write_collector.h"

namespace kubernel::etcd_server {

/// A stream that can be asked to end.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Ends soon, with the status "server stopped". Threads: any.
  virtual void close() = 0;
};

/// Threads: all members may be called concurrently.
class ServiceContext {
 public:
  ServiceContext(const Config& config, storage::Backend& store, Clock& clock, Executor& blocking, Logger& log,
                 Metrics& metrics);

  const Config& config;
  storage::Backend& store;
  Clock& clock;
  Executor& blocking;
  Logger& log;
  Metrics& metrics;
  const Identity identity;
  std::vector<std::string> client_urls;  ///< Set before the first request.

  /// Answers one request: runs `work` where it may block.
  template <class Work>
  grpc::ServerUnaryReactor* unary(grpc::CallbackServerContext* call, const char* method, Work work) {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    if (pending_.fetch_add(1) >= config.max_pending) {
      finish(*reactor, method, too_many());
      return reactor;
    }
    auto queued = blocking.submit([this, call, reactor, method, work = std::move(work)]() mutable {
      grpc::Status status = call->IsCancelled() ? grpc::Status::CANCELLED : work(context_of(*call));
      finish(*reactor, method, status);
    });
    if (!queued) finish(*reactor, method, too_many());
    return reactor;
  }

  /// Answers one request with what the store makes of `transaction`: `fill` makes the answer of the result. No thread
  /// waits for the commit where the store takes many writes at once.
  template <class Fill>
  grpc::ServerUnaryReactor* write(grpc::CallbackServerContext* call, const char* method,
                                  storage::Transaction transaction, Fill fill) {
    if (!collector_) {
      return unary(call, method,
                   [this, transaction = std::move(transaction), fill](const CallContext& ctx) -> grpc::Status {
                     auto result = store.transact(ctx, transaction);
                     if (!result) return status_of(result.error());
                     fill(*std::move(result));
                     return grpc::Status::OK;
                   });
    }
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    const bool room = pending_.fetch_add(1) < config.max_pending;
    const bool taken =
        room && collector_->add({std::move(transaction), [this, call] { return still_wanted(*call); },
                                 [this, reactor, method, fill](const grpc::Status& status, auto* result) {
                                   finish(*reactor, method, result ? filled(*result, fill) : status);
                                 }});
    if (!taken) finish(*reactor, method, too_many());
    return reactor;
  }

  /// Answers a request that nothing is to be done for.
  grpc::ServerUnaryReactor* refuse(grpc::CallbackServerContext* call, const char* method, const grpc::Status& status);

  /// The store's revision now, for answers that carry nothing else. Errors: as Backend::stats().
  void head(etcdserverpb::ResponseHeader& header, storage::Revision revision) const {
    fill(header, identity, revision);
  }
  Result<storage::Revision> revision(const CallContext& ctx) const;

  /// Stop and deadline of the request.
  CallContext context_of(const grpc::ServerContextBase& call) const;

  /// From now on no stream stays open; requests that run go on.
  void close_streams();
  /// From now on every request that runs is asked to stop.
  void request_stop() { stop_.request_stop(); }
  /// Returns once no stream is left.
  void wait_for_streams();
  static grpc::Status stopped() { return {grpc::StatusCode::UNAVAILABLE, "etcdserver: server stopped"}; }

  /// Called by a stream when it begins and, from its destructor, when it is over.
  void opened(const std::shared_ptr<Stream>& stream);
  void over();

  void count(const char* method, const grpc::Status& status);

  Gauge& watchers;
  Counter& events;

 private:
  template <class Fill>
  static grpc::Status filled(Result<storage::TransactionResult>& result, const Fill& fill) {
    if (!result) return status_of(result.error());
    fill(*std::move(result));
    return grpc::Status::OK;
  }
  grpc::Status still_wanted(const grpc::CallbackServerContext& call) const;

  Gauge& streams_;
  static grpc::Status too_many() { return {grpc::StatusCode::RESOURCE_EXHAUSTED, "etcdserver: too many requests"}; }
  void finish(grpc::ServerUnaryReactor& reactor, const char* method, const grpc::Status& status) {
    pending_.fetch_sub(1);
    count(method, status);
    reactor.Finish(status);
  }

  std::atomic<std::size_t> pending_ = 0;
  std::stop_source stop_;
  std::optional<WriteCollector> collector_;  // For stores that take many writes at once.

  // Each looked up once: it costs more than a write's share of a commit.
  std::mutex handled_mutex_;
  std::map<std::pair<const char*, grpc::StatusCode>, Counter*> handled_;

  std::mutex mutex_;
  std::condition_variable none_left_;
  std::vector<std::weak_ptr<Stream>> open_;
  std::size_t open_count_ = 0;
  bool closing_ = false;
};

}  // namespace kubernel::etcd_server
