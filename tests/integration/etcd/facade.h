// SPDX-License-Identifier: Apache-2.0
//
// A store served by etcd-server in this process, for tests of both ends of the protocol.

#pragma once

#include <memory>
#include <string>

#include <kubernel/storage/backend.h>
#include <kubernel/testing/fake_clock.h>

#include "core/base/thread_pool.h"
#include "server.h"

namespace kubernel::testing {

/// Settings as the schema's defaults have them, on a free port.
etcd_server::Config facade_config();

/// The server has threads of its own; the store and its leases go by what they were opened with.
class Facade {
 public:
  Facade(storage::Backend& store, Clock& clock, etcd_server::Config config = facade_config());

  const std::string& url() const noexcept { return url_; }
  /// Stops the server and serves the same store on the same port again.
  void restart();
  void stop();
  void start();

 private:
  storage::Backend& store_;
  Clock& clock_;
  etcd_server::Config config_;
  RecordingLogger log_;
  RecordingMetrics metrics_;
  core::ThreadPool blocking_;
  std::unique_ptr<etcd_server::Server> server_;
  std::string url_;
};

}  // namespace kubernel::testing
