// SPDX-License-Identifier: Apache-2.0
//
// PgListener: hears of other processes' commits (LISTEN), on a connection of its own.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include <kubernel/storage/backend.h>

namespace kubernel::storage_postgres {

struct ListenOptions {
  /// What to connect with; asked for each attempt.
  std::function<Result<std::string>()> connection_string;
  /// The server's name in errors.
  std::string name;
  /// The payload of our own notifications, which are not told.
  std::string self;
};

/// Calls `changed` after each commit of another process, and after a lost connection was made anew. Null when the
/// process has no poller.
///
/// Threads: `changed` is called on the poller's and pool threads, without a lock; it must not block.
/// Lifetime: the context outlives the result. No call comes after its destruction.
std::unique_ptr<Subscription> listen(ListenOptions options, const storage::BackendContext& context,
                                     std::function<void()> changed);

}  // namespace kubernel::storage_postgres
