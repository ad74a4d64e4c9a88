// SPDX-License-Identifier: Apache-2.0
//
// Executor and Poller: the threads of the process, lent to plugins, which start none.

#pragma once

#include <functional>
#include <memory>

#include <kubernel/base/clock.h>
#include <kubernel/base/result.h>

namespace kubernel {

/// A bounded pool of threads with a bounded queue.
///
/// `blocking`: tasks may do I/O, wait for storage or a child process; they must not wait for
/// another task of the same pool. `compute`: one thread per core; tasks neither block nor lock
/// for long. A task that throws is logged and counted; the process lives.
///
/// Threads: all members may be called concurrently.
class KUBERNEL_EXPORT Executor {
 public:
  virtual ~Executor() = default;

  /// Queues `task`. Tasks start in order of submission and run concurrently.
  ///
  /// Errors: TooManyRequests when the queue is full; Cancelled when the pool is stopping. The
  /// task has then not run and will not.
  virtual Result<void> submit(std::function<void()> task) = 0;
};

/// Tells when a file descriptor can be read, without a thread that waits for it.
///
/// Works for sockets, pipes, eventfds, pidfds, inotify descriptors and ptys.
/// Threads: all members may be called concurrently.
class KUBERNEL_EXPORT Poller {
 public:
  virtual ~Poller() = default;

  /// Calls `callback` on the poller's thread each time `fd` is readable (level-triggered, re-armed
  /// after the callback returns) until the result is destroyed. The callback must not block.
  /// `fd` stays the caller's and must stay open until the result is destroyed.
  ///
  /// Errors: BadRequest when the descriptor cannot be polled.
  virtual Result<std::unique_ptr<Subscription>> when_readable(int fd, std::function<void()> callback) = 0;
};

/// Serializes tasks on an executor: they run one at a time, in order, on whichever thread the
/// pool has free. Use it instead of a thread of one's own. make_strand() is the only maker.
///
/// Lifetime: tasks already queued run even after the Strand is destroyed.
/// Threads: all members may be called concurrently.
[[nodiscard]] KUBERNEL_EXPORT std::unique_ptr<Executor> make_strand(Executor& executor);

}  // namespace kubernel
