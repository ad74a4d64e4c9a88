// SPDX-License-Identifier: Apache-2.0
//
// Runner: drives one Reconciler from its work queue.
//
// It has no thread: at most `workers` reconciles are in flight on the blocking executor, and one timer waits for the
// earliest delayed key. An idle controller costs nothing.

#pragma once

#include <memory>
#include <string>

#include <kubernel/base/context.h>
#include <kubernel/base/export.h>
#include <kubernel/controller/reconciler.h>

namespace kubernel::controller {

/// Lent for the runner's life.
struct RunnerContext {
  Logger& log;
  Metrics& metrics;
  Clock& clock;
  Executor& blocking;
};

struct RunnerOptions {
  std::string name;  ///< Label `name` of the workqueue_* metrics.
  int workers = 1;
};

/// The queue and what empties it.
///
/// What a reconcile returned decides about its key:
///   - done: forgotten until it is added again;
///   - after(d): added again d later;
///   - an Error that is retriable(), or Forbidden or NotFound (a quota, a right or a neighbour that may yet change):
///   again after
///     5 ms * 2^failures, at most 1000 s, and at most 10 retries a second after a burst of 100;
///   - any other Error: logged, counted and parked until the key is added again.
/// An exception is contained, logged, counted as plugin_exceptions_total and treated as Internal.
///
/// Threads: all members may be called concurrently; keys may be added before start() and are kept.
class KUBERNEL_EXPORT Runner : public KeyQueue {
 public:
  /// Destruction is stop() without a deadline.
  ~Runner() override = default;

  /// `reconciler` must outlive the runner or stop(). Call once.
  virtual void start(Reconciler& reconciler) = 0;
  virtual bool started() const = 0;
  /// Takes no more keys, asks the running reconciles to stop and waits for them.
  /// Errors: Timeout when some still run at ctx.deadline; they may then not outlive their reconciler: call again.
  virtual Result<void> stop(const CallContext& ctx) = 0;
};

[[nodiscard]] KUBERNEL_EXPORT std::unique_ptr<Runner> make_runner(const RunnerContext& context, RunnerOptions options);

}  // namespace kubernel::controller
