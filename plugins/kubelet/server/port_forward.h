// SPDX-License-Identifier: Apache-2.0
//
// PortForward: carries TCP connections between a client and ports inside a pod.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/result.h>
#include <kubernel/net/spdy.h>

#include "tasks.h"

namespace kubernel::kubelet {

// A connected, non-blocking socket to a port on the loopback of the network namespace at `path` (empty: this one).
// The caller closes it. Blocks up to `timeout`. Errors: ServiceUnavailable with the system's reason.
Result<int> dial_in_namespace(const std::string& path, int port, const Clock& clock, std::chrono::seconds timeout);

// Serves one client connection: each pair of streams (error, data) of one request id is one TCP connection.
// Lives as long as the connection.
class PortForward : public std::enable_shared_from_this<PortForward> {
 public:
  using Dial = std::function<Result<int>(int port)>;
  PortForward(std::shared_ptr<net::SpdyConnection> connection, Dial dial, Poller& poller, Tasks& tasks, Logger& log);
  ~PortForward();
  void start();

 private:
  class Relay;
  void add(std::shared_ptr<net::SpdyStream> stream);
  void end();

  std::shared_ptr<net::SpdyConnection> connection_;
  Dial dial_;
  Poller& poller_;
  Tasks& tasks_;
  Logger& log_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Relay>> relays_;  // By request id.
  std::shared_ptr<PortForward> self_;                     // Until the connection is closed.
};

}  // namespace kubernel::kubelet
