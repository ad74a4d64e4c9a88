// SPDX-License-Identifier: Apache-2.0
#include "commit_queue.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <utility>

namespace kubernel::storage_common {
namespace {

// How many batches one thread commits before it hands over.
constexpr int kBatchesInARow = 8;

// std::atomic's own wait() gives the processor away several times before it sleeps, which costs more than to sleep
// when there are more writers than processors.
void sleep_while(std::atomic<int>& word, int value) {
  static_assert(sizeof word == sizeof(int) && std::atomic<int>::is_always_lock_free);
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void wake(std::atomic<int>& word, int threads) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0);
}

}  // namespace

CommitQueue::CommitQueue(Commit commit, std::size_t max_batch) : commit_(std::move(commit)), max_batch_(max_batch) {}

void CommitQueue::submit(std::span<Write> writes) {
  if (writes.empty()) return;
  std::vector<std::shared_ptr<Batch>> joined;
  std::unique_lock lock(mutex_);
  for (Write& write : writes) {
    if (waiting_.empty() || waiting_.back()->exclusive != nullptr || waiting_.back()->writes.size() >= max_batch_) {
      waiting_.push_back(std::make_shared<Batch>());
    }
    if (joined.empty() || joined.back() != waiting_.back()) joined.push_back(waiting_.back());
    waiting_.back()->writes.push_back(&write);
  }
  bool first = !std::exchange(leading_, true);
  lock.unlock();
  // One after the other: a batch that is handed over needs somebody who waits for it.
  for (const auto& batch : joined) join(batch, std::exchange(first, false));
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
    {
      const std::lock_guard lock(mutex_);
      waiting_.pop_front();  // From here on nobody joins the batch.
    }
    lead(batch);
    return;
  }
  for (int seen = batch->state; seen != kDone; seen = batch->state) {
    if (seen == kLead && batch->state.compare_exchange_strong(seen, kLeading)) {
      lead(batch);
      return;
    }
    sleep_while(batch->state, seen);
  }
  // The leader wakes one only, and goes on; that one wakes the others.
  if (!batch->told.exchange(true)) wake(batch->state, INT_MAX);
}

// Commits the batch, which nobody can join any more, and some that come after it.
void CommitQueue::lead(std::shared_ptr<Batch> batch) {
  for (int made = 1; batch; ++made) {
    const After after = batch->exclusive != nullptr ? (*batch->exclusive)() : commit_(batch->writes);
    // A batch that is handed over starts before this one's callers are told: that is the longer way.
    const std::shared_ptr<Batch> following = next(made < kBatchesInARow);
    batch->state = kDone;
    wake(batch->state, 1);
    if (after) after();
    batch = following;
  }
}

// Takes the batch to be committed next, if the caller is to `go_on`; otherwise hands it over.
std::shared_ptr<CommitQueue::Batch> CommitQueue::next(bool go_on) {
  std::shared_ptr<Batch> batch;
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) {
      leading_ = false;
      return nullptr;
    }
    batch = std::move(waiting_.front());
    waiting_.pop_front();
  }
  if (go_on) {
    batch->state = kLeading;
    return batch;
  }
  batch->state = kLead;
  wake(batch->state, 1);
  return nullptr;
}

}  // namespace kubernel::storage_common
