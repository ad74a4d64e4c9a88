// SPDX-License-Identifier: Apache-2.0
//
// Feeder: the one etcd watch of the process, which fills the Feed.
//
// It watches the whole key space, also when our keys are behind a prefix: every revision then shows up, so it is always
// known how far the feed has come. (Progress notifications would tell too, but those of etcd before 3.4.25 and 3.5.8
// may overtake events.) When the stream breaks, it goes on after the last revision that came whole, from another member
// if need be: no event is missed or told twice.

#pragma once

#include <memory>

#include <kubernel/base/clock.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>

#include "cluster.h"
#include "feed.h"
#include "wire.h"

namespace kubernel::storage_etcd {

struct FeederContext {
  Cluster& cluster;
  const Keys& keys;
  Feed& feed;
  Clock& clock;
  Executor& blocking;
  Logger& log;
  Metrics& metrics;
};

/// Starts at once; the references outlive it. Threads: made and destroyed by one thread.
class Feeder {
 public:
  explicit Feeder(const FeederContext& context);
  /// Ends the stream and waits until nothing of it runs.
  ~Feeder();
  Feeder(const Feeder&) = delete;
  Feeder& operator=(const Feeder&) = delete;

  struct State;

 private:
  std::shared_ptr<State> state_;
};

/// See ReadHistory.
Result<storage::WatchBatch> read_history(Cluster& cluster, const Keys& keys, storage::Revision from,
                                         storage::Revision to, const storage::KeyRange& range, std::size_t enough);

}  // namespace kubernel::storage_etcd
