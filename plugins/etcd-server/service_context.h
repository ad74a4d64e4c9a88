// SPDX-License-Identifier: Apache-2.0
//
// What the services share: the store, and the way from the connections' thread to threads that may block.

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

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>
#include <kubernel/net/grpc.h>
#include <kubernel/storage/backend.h>

#include "config.h"
#include "wire.h"
#include "write_collector.h"

namespace kubernel::etcd_server {

using net::GrpcCall;
using net::GrpcCode;
using net::GrpcMethods;
using net::GrpcStatus;

/// A call that waits for its answer.
using Call = std::shared_ptr<GrpcCall>;

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

  /// A method whose `work` does not block: it is given the call, the request and its size in bytes, and ends the call
  /// by reply(), refuse() or write().
  template <class Request, class Work>
  void add(GrpcMethods& methods, const std::string& service, const char* method, Work work) {
    methods.add(path(service, method), [this, method, work](Call call, std::string_view message) {
      Request request;
      if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
        return refuse(*call, method, unreadable());
      }
      work(std::move(call), std::move(request), message.size());
    });
  }

  /// A method whose `work` may block: it fills the response.
  template <class Request, class Response, class Work>
  void add_blocking(GrpcMethods& methods, const std::string& service, const char* method, Work work) {
    add<Request>(methods, service, method, [this, method, work](Call call, Request&& request, std::size_t) {
      if (pending_.fetch_add(1) >= config.max_pending) return end(*call, method, too_many());
      auto queued = blocking.submit([this, method, work, call, request = std::move(request)] {
        Response response;
        const GrpcStatus status = call->context().stop.stop_requested() ? GrpcStatus{GrpcCode::Cancelled, ""}
                                                                        : work(call->context(), request, response);
        if (status.ok()) call->send(response.SerializeAsString());
        end(*call, method, status);
      });
      if (!queued) end(*call, method, too_many());
    });
  }

  /// Answers a request with what the store makes of `transaction`: `fill` makes the answer of the result. No thread
  /// waits for the commit where the store takes many writes at once.
  template <class Response, class Fill>
  void write(Call call, const char* method, storage::Transaction transaction, Fill fill) {
    const bool room = pending_.fetch_add(1) < config.max_pending;
    auto answer = [this, call, method, fill](const GrpcStatus& refused, Result<storage::TransactionResult>* result) {
      if (result == nullptr) return end(*call, method, refused);
      if (!*result) return end(*call, method, status_of(result->error()));
      Response response;
      fill(*std::move(*result), response);
      call->send(response.SerializeAsString());
      end(*call, method, {});
    };
    bool taken = false;
    if (room && collector_) {
      taken = collector_->add({std::move(transaction), [this, call] { return still_wanted(*call); }, answer});
    } else if (room) {
      auto queued = blocking.submit([this, call, answer, transaction = std::move(transaction)] {
        auto result = store.transact(call->context(), transaction);
        answer({}, &result);
      });
      taken = static_cast<bool>(queued);
    }
    if (!taken) end(*call, method, too_many());
  }

  /// Answers a request that nothing is to be done for.
  void refuse(GrpcCall& call, const char* method, const GrpcStatus& status) {
    count(method, status);
    call.finish(status);
  }

  void head(etcdserverpb::ResponseHeader& header, storage::Revision revision) const {
    fill(header, identity, revision);
  }
  /// The store's revision now, for answers that carry nothing else. Errors: as Backend::stats().
  Result<storage::Revision> revision(const CallContext& ctx) const;

  /// "/etcdserverpb.KV/Put" of "KV" and "Put".
  static std::string path(const std::string& service, const char* method) {
    return "/etcdserverpb." + service + "/" + method;
  }

  /// From now on no stream stays open; requests that run go on.
  void close_streams();
  /// From now on writes on their way to the store are given up.
  void request_stop() { stop_.request_stop(); }
  /// Returns once no stream is left.
  void wait_for_streams();
  static GrpcStatus stopped() { return {GrpcCode::Unavailable, "etcdserver: server stopped"}; }
  static GrpcStatus too_many() { return {GrpcCode::ResourceExhausted, "etcdserver: too many requests"}; }
  static GrpcStatus unreadable() { return {GrpcCode::Internal, "grpc: the request is no message of this method"}; }

  /// Called by a stream when it begins and, from its destructor, when it is over.
  void opened(const std::shared_ptr<Stream>& stream);
  void over();

  void count(const char* method, const GrpcStatus& status);

  Gauge& watchers;
  Counter& events;

 private:
  GrpcStatus still_wanted(const GrpcCall& call) const;

  // The last thing done for a call: the server may be gone after it.
  void end(GrpcCall& call, const char* method, const GrpcStatus& status) {
    pending_.fetch_sub(1);
    refuse(call, method, status);
  }

  Gauge& streams_;
  std::atomic<std::size_t> pending_ = 0;
  std::stop_source stop_;
  std::optional<WriteCollector> collector_;  // For stores that take many writes at once.

  // Each looked up once: it costs more than a write's share of a commit.
  std::mutex handled_mutex_;
  std::map<std::pair<const char*, GrpcCode>, Counter*> handled_;

  std::mutex mutex_;
  std::condition_variable none_left_;
  std::vector<std::weak_ptr<Stream>> open_;
  std::size_t open_count_ = 0;
  bool closing_ = false;
};

}  // namespace kubernel::etcd_server
