// SPDX-License-Identifier: Apache-2.0
#include "write_collector.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <kubernel/testing/fake_clock.h>

namespace kubernel::etcd_server {
namespace {

using storage::Transaction;
using storage::TransactionResult;
using ::testing::ElementsAre;

// Gives every transaction a revision; `meanwhile` is what happens while a batch is being committed.
class FakeStore final : public storage::BatchWriter {
 public:
  std::vector<Result<TransactionResult>> transact_each(const CallContext&,
                                                       std::span<const Transaction> transactions) override {
    batches.push_back(transactions.size());
    if (meanwhile) std::exchange(meanwhile, nullptr)();
    std::vector<Result<TransactionResult>> results;
    for (const Transaction& transaction : transactions) {
      if (transaction.then.empty()) {
        results.emplace_back(Error(Reason::BadRequest, "nothing to do"));
      } else {
        results.emplace_back(TransactionResult{.succeeded = true, .revision = ++revision, .outcomes = {}});
      }
    }
    return results;
  }

  std::vector<std::size_t> batches;
  std::function<void()> meanwhile;
  storage::Revision revision = 1;
};

// Takes as many tasks as it is told to.
class NarrowExecutor final : public Executor {
 public:
  Result<void> submit(std::function<void()> task) override {
    if (room == 0) return Error(Reason::TooManyRequests, "the queue is full");
    --room;
    return queue.submit(std::move(task));
  }
  int room = 1000;
  testing::ManualExecutor queue;
};

struct CollectedWrites : ::testing::Test {
  CollectedWrite write(const std::string& name, net::GrpcStatus check = net::GrpcStatus()) {
    Transaction transaction;
    transaction.then.push_back({storage::PutOperation{.key = name, .value = {}}});
    return {std::move(transaction), [check] { return check; },
            [this, name](const net::GrpcStatus& status, Result<TransactionResult>* result) {
              std::string answer = name + ": " + (status.ok() ? "" : status.message);
              if (result != nullptr)
                answer += *result ? std::to_string((*result)->revision) : result->error().message();
              answers.push_back(std::move(answer));
            }};
  }

  FakeStore store;
  NarrowExecutor pool;
  WriteCollector collector{store, pool, {}};
  std::vector<std::string> answers;
};

TEST_F(CollectedWrites, WhatArrivesTogetherIsOneBatchOnOneThread) {
  for (const char* name : {"a", "b", "c"}) EXPECT_TRUE(collector.add(write(name)));
  EXPECT_EQ(pool.queue.pending(), 1U);
  pool.queue.run_all();
  EXPECT_THAT(store.batches, ElementsAre(3));
  EXPECT_THAT(answers, ElementsAre("a: 2", "b: 3", "c: 4"));
  EXPECT_TRUE(collector.add(write("d")));
  pool.queue.run_all();
  EXPECT_THAT(answers.back(), "d: 5");
}

TEST_F(CollectedWrites, WhatArrivesDuringACommitIsTheNextBatch) {
  store.meanwhile = [this] {
    for (const char* name : {"b", "c"}) EXPECT_TRUE(collector.add(write(name)));
    EXPECT_EQ(pool.queue.pending(), 0U) << "nobody commits beside it";
  };
  EXPECT_TRUE(collector.add(write("a")));
  while (pool.queue.run_all() != 0) continue;
  EXPECT_THAT(store.batches, ElementsAre(1, 2));
  EXPECT_THAT(answers, ElementsAre("a: 2", "b: 3", "c: 4"));
}

TEST_F(CollectedWrites, AWriteThatNobodyWaitsForIsNotMade) {
  EXPECT_TRUE(collector.add(write("a")));
  EXPECT_TRUE(collector.add(write("b", {net::GrpcCode::Cancelled, ""})));
  EXPECT_TRUE(collector.add(write("c", {net::GrpcCode::Unavailable, "too late"})));
  EXPECT_TRUE(collector.add(write("d")));
  pool.queue.run_all();
  EXPECT_THAT(store.batches, ElementsAre(2));
  EXPECT_THAT(answers, ElementsAre("a: 2", "b: ", "c: too late", "d: 3"));
}

TEST_F(CollectedWrites, AnErrorIsTheAnswerOfItsWriteAlone) {
  auto nothing = write("nothing");
  nothing.transaction = {};
  EXPECT_TRUE(collector.add(write("a")));
  EXPECT_TRUE(collector.add(std::move(nothing)));
  EXPECT_TRUE(collector.add(write("b")));
  pool.queue.run_all();
  EXPECT_THAT(answers, ElementsAre("a: 2", "nothing: nothing to do", "b: 3"));
}

TEST_F(CollectedWrites, AFullPoolRefusesTheFirstAndCommitsTheRestOnTheThreadItHas) {
  pool.room = 0;
  EXPECT_FALSE(collector.add(write("refused")));
  pool.room = 1;
  EXPECT_TRUE(collector.add(write("a")));
  store.meanwhile = [this] { EXPECT_TRUE(collector.add(write("b"))); };
  EXPECT_EQ(pool.queue.run_all(), 1U);
  EXPECT_THAT(answers, ElementsAre("a: 2", "b: 3"));
}

}  // namespace
}  // namespace kubernel::etcd_server
