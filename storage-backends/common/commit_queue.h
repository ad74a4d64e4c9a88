// SPDX-License-Identifier: Apache-2.0
//
// CommitQueue: group commit without a thread of its own.
//
// Writers that arrive while a commit is under way gather in a batch; when it is done, whoever made it makes the next
// one too, for all of them: handing over costs as long as it takes the next thread to get a processor. After a few
// batches it does hand over, and its own caller is told. One writer alone never waits for company.

#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include <kubernel/storage/backend.h>

namespace kubernel::storage_common {

/// A put, remove or transaction on its way. What the views point to belongs to the waiting caller.
struct Write {
  bool remove = false;
  std::string_view key;
  std::string_view value;
  storage::Revision expected = 0;
  storage::LeaseId lease = 0;
  Result<storage::CasResult> result = storage::CasResult{};

  const storage::Transaction* transaction = nullptr;  ///< Instead of all that.
  Result<storage::TransactionResult> transaction_result = storage::TransactionResult{};

  void fail(const Error& error) {
    if (transaction == nullptr) {
      result = error;
    } else {
      transaction_result = error;
    }
  }
};

/// Threads: all members may be called concurrently.
class CommitQueue {
 public:
  /// What remains to be done for a batch after the next one may start, such as telling watches.
  using After = std::function<void()>;
  /// Commits the writes, in order, and fills in the result of each. Calls do not overlap.
  using Commit = std::function<After(std::span<Write* const>)>;

  CommitQueue(Commit commit, std::size_t max_batch);

  /// Returns when the results of all of them are filled in.
  void submit(std::span<Write> writes);

  /// Runs `work` in its turn, with no batch beside it. Returns when it has run.
  void exclusive(const std::function<After()>& work);

 private:
  enum State : int { kWaiting, kLead, kLeading, kDone };
  struct Batch {
    std::vector<Write*> writes;
    const std::function<After()>* exclusive = nullptr;
    std::atomic<int> state = kWaiting;  // Waited for as a futex.
    std::atomic<bool> told = false;     // Somebody wakes all who wait for it.
  };

  void join(const std::shared_ptr<Batch>& batch, bool lead_now);
  void lead(std::shared_ptr<Batch> batch);
  std::shared_ptr<Batch> next(bool go_on);

  const Commit commit_;
  const std::size_t max_batch_;
  std::mutex mutex_;
  std::deque<std::shared_ptr<Batch>> waiting_;
  bool leading_ = false;
};

}  // namespace kubernel::storage_common
