// SPDX-License-Identifier: Apache-2.0
#include "write_collector.h"

#include <utility>

namespace kubernel::etcd_server {

WriteCollector::WriteCollector(storage::BatchWriter& store, Executor& blocking, CallContext ctx)
    : store_(store), blocking_(blocking), ctx_(std::move(ctx)) {}

bool WriteCollector::add(CollectedWrite&& write) {
  const std::lock_guard lock(mutex_);
  if (!committing_) {
    // Submitting does not run the task here.
    if (!blocking_.submit([this] { run(); })) return false;
    committing_ = true;
  }
  waiting_.push_back(std::move(write));
  return true;
}

void WriteCollector::run() {
  while (commit_one_batch()) continue;
}

// Returns whether the next batch is this thread's, too. The server may be gone once everybody has been answered.
bool WriteCollector::commit_one_batch() {
  std::vector<CollectedWrite> batch;
  {
    const std::lock_guard lock(mutex_);
    batch.swap(waiting_);
  }
  std::vector<net::GrpcStatus> refusals(batch.size());
  std::vector<storage::Transaction> transactions;
  transactions.reserve(batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    refusals[i] = batch[i].check();
    if (refusals[i].ok()) transactions.push_back(std::move(batch[i].transaction));
  }
  auto results = store_.transact_each(ctx_, transactions);
  bool go_on = false;
  {
    const std::lock_guard lock(mutex_);
    committing_ = !waiting_.empty();
    go_on = committing_ && !blocking_.submit([this] { run(); });
  }
  auto result = results.begin();
  for (std::size_t i = 0; i < batch.size(); ++i) batch[i].answer(refusals[i], refusals[i].ok() ? &*result++ : nullptr);
  return go_on;
}

}  // namespace kubernel::etcd_server
