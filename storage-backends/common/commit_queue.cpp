// SPDX-License-Identifier: Apache-2.0
#include "commit_queue.h"

#include <utility>

namespace kubernel::storage_common {

CommitQueue::CommitQueue(Commit commit, std::size_t max_batch) : commit_(std::move(commit)), max_batch_(max_batch) {}

void CommitQueue::submit(Write& write) {
  std::unique_lock lock(mutex_);
  if (waiting_.empty() || waiting_.back()->exclusive != nullptr || waiting_.back()->writes.size() >= max_batch_) {
    waiting_.push_back(std::make_shared<Batch>());
  }
  const std::shared_ptr<Batch> batch = waiting_.back();
  batch->writes.push_back(&write);
  const bool first = !std::exchange(leading_, true);
  lock.unlock();
  join(batch, first);
}

void CommitQueue::exclusive(const std::function<After()>& work) {
  std::unique_lock lock(mutex_);
  const auto batch = std::make_shared<Batch>();
  batch->exclusive = &work;
  waiting_.push_back(batch);
  const bool first = !std::exchange(leading_, true);
  lock.unlock();
  join(batch, first);
}

// Waits until the batch is done, or leads it. `lead_now`: nobody leads yet, so the batch is the only one.
void CommitQueue::join(const std::shared_ptr<Batch>& batch, bool lead_now) {
  if (lead_now) {
    lead(*batch);
    return;
  }
  for (int seen = batch->state; seen != kDone; seen = batch->state) {
    if (seen == kLead && batch->state.compare_exchange_strong(seen, kLeading)) {
      lead(*batch);
      return;
    }
    batch->state.wait(seen);
  }
}

void CommitQueue::lead(Batch& batch) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.pop_front();  // From here on nobody joins the batch.
  }
  const After after = batch.exclusive != nullptr ? (*batch.exclusive)() : commit_(batch.writes);
  // The next batch starts before this one's callers are told: that is the longer way.
  {
    std::shared_ptr<Batch> next;
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty()) {
        leading_ = false;
      } else {
        next = waiting_.front();
      }
    }
    if (next) {
      next->state = kLead;
      next->state.notify_one();
    }
  }
  batch.state = kDone;
  batch.state.notify_all();
  if (after) after();
}

}  // namespace kubernel::storage_common
