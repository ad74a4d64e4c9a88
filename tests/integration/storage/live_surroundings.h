// SPDX-License-Identifier: Apache-2.0
//
// Real time, threads and descriptors for stores under test, and the kinds of servers there are backends for.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <kubernel/testing/fake_clock.h>

#include "core/base/epoll_poller.h"
#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"
#include "shared_server.h"

namespace kubernel::storage_server::testing {

/// What a store needs of a process. Lifetime: outlives the stores opened with it.
class LiveSurroundings {
 public:
  Result<std::unique_ptr<storage::Backend>> open(OpenBackend how, const std::string& config) {
    return how({config, log, metrics, clock, blocking, poller});
  }

  kubernel::testing::RecordingLogger log;
  kubernel::testing::RecordingMetrics metrics;
  core::SystemClock clock;
  core::EpollPoller poller;
  core::ThreadPool blocking{{.name = "blocking", .threads = 8}, log, metrics};
};

struct Flavor {
  const char* name = "";
  Kind kind = Kind::Postgres;
  OpenBackend open = nullptr;
};

/// One for each backend that was built.
std::vector<Flavor> flavors();

}  // namespace kubernel::storage_server::testing
