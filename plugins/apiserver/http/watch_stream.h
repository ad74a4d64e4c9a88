// SPDX-License-Identifier: Apache-2.0
//
// WatchStream: carries one watcher's events to one client as they come. It costs no thread; a client that does not
// read holds back its own stream only.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <set>

#include <kubernel/base/clock.h>
#include <kubernel/base/executor.h>
#include <kubernel/net/http.h>

#include "http/encoder.h"
#include "watch_cache/resource_cache.h"

namespace kubernel::apiserver {

/// The open streams of a server, so that it can end them.
///
/// Threads: all members may be called concurrently.
class WatchStreams {
 public:
  WatchStreams(Clock& clock, Executor& blocking) : clock_(clock), blocking_(blocking) {}
  ~WatchStreams() { close_all(); }

  /// Sends what `watcher` finds to `out` until the client goes, `timeout` is over or the watch ends.
  void open(std::shared_ptr<net::ResponseStream> out, std::shared_ptr<Watcher> watcher, Encoder encoder,
            std::chrono::seconds timeout);
  /// Ends all of them cleanly; returns when none will be written to any more.
  void close_all();

 private:
  class Stream;
  void forget(const std::shared_ptr<Stream>& stream);

  Clock& clock_;
  Executor& blocking_;
  std::mutex mutex_;
  std::set<std::shared_ptr<Stream>> streams_;
  bool closed_ = false;
};

}  // namespace kubernel::apiserver
