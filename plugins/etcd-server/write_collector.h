// SPDX-License-Identifier: Apache-2.0
//
// WriteCollector: the writes of all clients in batches, so that none of them keeps a thread while it waits for its
// commit.
//
// What arrives while a batch is being committed is the next batch. It is committed by another thread of the pool while
// the clients of the one before are answered: two threads at most, however many clients there are.

#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/net/grpc.h>
#include <kubernel/storage/batch_writer.h>

namespace kubernel::etcd_server {

struct CollectedWrite {
  storage::Transaction transaction;
  /// Asked before the write is made. When it is not OK, the write is not made.
  std::function<net::GrpcStatus()> check;
  /// Called once. `result` is null when the write was refused with `status`.
  std::function<void(const net::GrpcStatus& status, Result<storage::TransactionResult>* result)> answer;
};

/// Lifetime: outlives its writes; nothing of it is used after the last one's answer.
/// Threads: all members may be called concurrently.
class WriteCollector {
 public:
  WriteCollector(storage::BatchWriter& store, Executor& blocking, CallContext ctx);

  /// False when the pool takes no more work: the write has not been taken then.
  bool add(CollectedWrite&& write);

 private:
  void run();
  bool commit_one_batch();

  storage::BatchWriter& store_;
  Executor& blocking_;
  const CallContext ctx_;
  std::mutex mutex_;
  std::vector<CollectedWrite> waiting_;
  bool committing_ = false;
};

}  // namespace kubernel::etcd_server
