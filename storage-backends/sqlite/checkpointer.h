// SPDX-License-Identifier: Apache-2.0
//
// Checkpointer: copies SQLite's write-ahead log into the database beside the writer, not in its way.

#pragma once

#include <memory>
#include <string>

#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>

#include "connection.h"

namespace kubernel::storage_sqlite {

/// Most of the log is copied on the pool while writes go on. They make the log longer meanwhile, so it is never
/// copied whole and could never be used from its start again: the writer copies that rest, which is short, itself.
///
/// Only one of them has the turn. SQLite before 3.51.3 loses writes when a checkpoint begins at the moment at which a
/// writer starts the log anew (https://sqlite.org/wal.html#walresetbug), which it does only when the whole log is
/// copied. The pool gets its turn after a commit, whose pages nobody has copied, and while it has it nobody else
/// copies: so no copy on the pool ever begins on a log that can be started anew.
///
/// A sync of the database that failed once may not be trusted again: what was copied before it may be gone, and only
/// the log still has it. It is copied no more then, so that it is never started anew, and the store must take no more
/// writes; whoever opens it next reads the whole log.
///
/// Threads: after_commit() on the writer's thread, failure() on any.
class Checkpointer {
 public:
  Checkpointer(Connection& writer, Executor& executor, Logger& log);
  /// Waits for a copy that is running; afterwards none is started any more.
  ~Checkpointer();
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;

  /// To be called after each commit, outside any transaction.
  void after_commit();
  /// Why the log is copied no more; null: it is. Lives as long as this object.
  const std::string* failure() const;

 private:
  struct Shared;

  void copy_rest();

  Connection& writer_;
  Executor& executor_;
  Logger& log_;
  int copy_from_;     // In pages, as all lengths of the log.
  int pages_ = 0;     // The log's length after the last commit.
  int again_at_ = 0;  // The length at which a copy that readers stopped early is tried again.
  std::shared_ptr<Shared> shared_;
};

}  // namespace kubernel::storage_sqlite
