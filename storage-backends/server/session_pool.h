// SPDX-License-Identifier: Apache-2.0
//
// SessionPool: the connections a store reads through, and the one place that connects.

#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>

#include "session.h"

namespace kubernel::storage_server {

/// Connects, and does not hammer on a server that is away: after a failure the next attempts fail at once, without
/// being made, for a time that doubles up to a few seconds.
///
/// Threads: all members may be called concurrently.
class Dialer {
 public:
  Dialer(Server& server, Clock& clock) : server_(server), clock_(clock) {}

  /// Errors: ServiceUnavailable, beginning with the server's name.
  Result<std::unique_ptr<Session>> connect();

  Server& server() { return server_; }
  /// When the next attempt will be made; now or earlier when nothing is wrong.
  Clock::TimePoint next_attempt() const;

 private:
  Server& server_;
  Clock& clock_;
  mutable std::mutex mutex_;
  int failures_ = 0;
  Clock::TimePoint next_attempt_ = Clock::TimePoint::min();
  std::string last_error_;
};

/// Threads: all members may be called concurrently. Lifetime: outlives its Leases.
class SessionPool {
 public:
  SessionPool(Dialer& dialer, Executor& executor, Clock& clock, std::size_t most, std::chrono::milliseconds timeout)
      : dialer_(dialer), executor_(executor), clock_(clock), most_(most), timeout_(timeout) {}
  SessionPool(const SessionPool&) = delete;
  SessionPool& operator=(const SessionPool&) = delete;

  /// Runs `read` on a session, within the deadline of `ctx`; ends the statement when `ctx` is stopped. When the
  /// connection turns out to be lost, `read` runs once more on a new one: it must only read, and start anew.
  ///
  /// Errors: those of `read`, beginning with the server's name; Timeout, Cancelled, ServiceUnavailable.
  Result<void> run(const CallContext& ctx, const std::function<Result<void>(Session&)>& read);

 private:
  Result<std::unique_ptr<Session>> take(bool fresh);
  void put_back(std::unique_ptr<Session> session);
  Result<void> run_on(Session& session, const CallContext& ctx, const std::function<Result<void>(Session&)>& read,
                      bool& discard);
  Result<void> limit(Session& session, const CallContext& ctx);

  Dialer& dialer_;
  Executor& executor_;
  Clock& clock_;
  const std::size_t most_;
  const std::chrono::milliseconds timeout_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::size_t used_ = 0;
  std::vector<std::unique_ptr<Session>> idle_;
};

}  // namespace kubernel::storage_server
