// SPDX-License-Identifier: Apache-2.0
//
// Server: a store over etcd's v3 API.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>
#include <kubernel/storage/backend.h>

#include "config.h"

namespace kubernel::etcd_server {

/// Lent for the server's life.
struct Surroundings {
  storage::Backend& store;
  Clock& clock;
  Executor& blocking;
  Logger& log;
  Metrics& metrics;
};

/// Threads: made, stopped and destroyed by one thread. Connections are on the I/O threads of libkubernel-net.
class Server {
 public:
  /// Errors: ServiceUnavailable "address 127.0.0.1:2379 cannot be served on ...", Invalid for unusable TLS files.
  static Result<std::unique_ptr<Server>> open(const Surroundings& surroundings, Config config);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// "127.0.0.1:43127", in the order of Config::listen.
  const std::vector<std::string>& addresses() const noexcept;

  /// Takes no more requests, ends streams, lets requests finish until ctx.deadline and then breaks them off.
  void stop(const CallContext& ctx);

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace kubernel::etcd_server
