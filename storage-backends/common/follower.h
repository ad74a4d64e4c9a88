// SPDX-License-Identifier: Apache-2.0
//
// Follower: keeps a store up to date that other processes write to.

#pragma once

#include <functional>
#include <memory>

#include <kubernel/base/clock.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>

#include "database.h"

namespace kubernel::storage_common {

/// Calls `catch_up` on the pool, one at a time, after the database told of a foreign write; where it cannot tell, a few
/// times a second, less often while nothing happens. A failure is logged once, and tried again.
///
/// Lifetime: the destructor waits for a call that is running; afterwards there is none any more.
class Follower {
 public:
  /// Returns whether there was something new.
  using CatchUp = std::function<Result<bool>()>;

  Follower(Database& database, Clock& clock, Executor& executor, Logger& log, CatchUp catch_up);
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::unique_ptr<Subscription> told_;
};

}  // namespace kubernel::storage_common
