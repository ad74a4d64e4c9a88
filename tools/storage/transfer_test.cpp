// SPDX-License-Identifier: Apache-2.0
#include "transfer.h"

#include <gmock/gmock.h>

#include "contents.h"
#include "memory_stores.h"

namespace kubernel::storage_tool {
namespace {

using storage::Revision;
using ::testing::HasSubstr;

class StorageTransfer : public ::testing::Test {
 protected:
  void SetUp() override {
    source_ = around_.memory();
    target_ = around_.memory();
  }

  Result<Transferred> run(storage::Backend& to) {
    return transfer({*source_, to, "etcd://source", around_.blocking, progress_, ttl_});
  }

  Revision put(storage::Backend& store, const std::string& key, const std::string& value, Revision expected = 0,
               storage::LeaseId lease = 0) {
    const auto put = store.put({}, key, value, expected, lease);
    EXPECT_TRUE(put && put->applied);
    return put ? put->revision : 0;
  }

  void fill(int keys) {
    for (int i = 0; i < keys; ++i) put(*source_, "/k" + std::to_string(i), "value " + std::to_string(i));
  }

  static Digest digest_of(storage::Backend& store) {
    const auto out = digest(store, [](std::int64_t) {});
    EXPECT_TRUE(out);
    return out ? *out : Digest{};
  }

  const std::function<Result<std::chrono::seconds>(storage::LeaseId)> ttl_ =
      [](storage::LeaseId) -> Result<std::chrono::seconds> { return std::chrono::seconds(60); };
  TestSurroundings around_;
  Progress progress_{around_.clock, stderr};
  std::unique_ptr<storage::Backend> source_;
  std::unique_ptr<storage::Backend> target_;
};

TEST_F(StorageTransfer, EverythingIsThereAndRevisionsGoOnAboveTheSources) {
  fill(1000);
  ASSERT_TRUE(source_->leases().grant({}, 77, std::chrono::seconds(60)));
  put(*source_, "/leased", "x", 0, 77);
  put(*source_, "/empty", "");
  put(*source_, std::string("/\0\xff", 3), std::string("\0\1", 2));
  const Revision old = put(*source_, "/again", "1");
  put(*source_, "/again", "2", old);
  const auto done = run(*target_);
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->keys, 1004);
  EXPECT_EQ(done->leases, 1);
  EXPECT_FALSE(done->resumed);
  EXPECT_TRUE(digest_of(*source_).same(digest_of(*target_)));
  const auto stats = target_->stats({});
  EXPECT_GT(stats->revision, done->source_revision);
  EXPECT_EQ(stats->keys, 1004) << "nothing of ours is left";
  EXPECT_EQ((*target_->get({}, "/leased", 0))->lease, 77);
  around_.clock.advance(std::chrono::seconds(59));
  EXPECT_TRUE(*target_->get({}, "/leased", 0));
  around_.clock.advance(std::chrono::seconds(2));
  EXPECT_FALSE(*target_->get({}, "/leased", 0)) << "the lease is the new store's own";
  // A client that knows a revision of the source is told that it is too old.
  const auto past = target_->range({}, {.at = done->source_revision});
  ASSERT_FALSE(past);
  EXPECT_EQ(past.error().reason(), Reason::Expired);
  EXPECT_GT(put(*target_, "/new", "1"), done->source_revision);
}

TEST_F(StorageTransfer, ARevisionIsRaisedWriteByWriteAndNothingIsLeft) {
  put(*target_, "/a", "1");
  const auto revision = raise_revision(*target_, 5000, around_.blocking, progress_);
  ASSERT_TRUE(revision) << revision.error().message();
  EXPECT_GE(*revision, 5000);
  const auto stats = target_->stats({});
  EXPECT_EQ(stats->keys, 1);
  EXPECT_EQ(stats->revision, *revision);
  EXPECT_EQ(stats->compacted, *revision);
}

TEST_F(StorageTransfer, AnEmptySourceIsCopiedToo) {
  const auto done = run(*target_);
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->keys, 0);
  EXPECT_EQ(target_->stats({})->keys, 0);
}

TEST_F(StorageTransfer, ATargetWithSomethingInItIsRefusedAndLeftAlone) {
  fill(3);
  put(*target_, "/theirs", "1");
  const auto done = run(*target_);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message(), HasSubstr("not empty: it holds 1 keys"));
  EXPECT_EQ(target_->stats({})->keys, 1);
}

TEST_F(StorageTransfer, AnInterruptedMigrationGoesOnWhereItWas) {
  fill(1000);
  Unreliable failing(*target_);
  failing.writes_left = 600;
  const auto stopped = run(failing);
  ASSERT_FALSE(stopped);
  EXPECT_THAT(stopped.error().message(), HasSubstr("the server has gone"));
  Unreliable counted(*target_);
  const auto done = run(counted);
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_TRUE(done->resumed);
  EXPECT_TRUE(digest_of(*source_).same(digest_of(*target_)));
  EXPECT_LE(counted.writes, 1000 - 599 + 100) << "what was there is not written again";
  EXPECT_GT(target_->stats({})->revision, source_->stats({})->revision);
}

TEST_F(StorageTransfer, AnInterruptionOfAnyWriteIsMended) {
  fill(5);
  for (int writes = 0; writes < 12; ++writes) {
    target_ = around_.memory();
    Unreliable failing(*target_);
    failing.writes_left = writes;
    const auto first = run(failing);
    if (first) break;
    const auto done = run(*target_);
    ASSERT_TRUE(done) << writes << ": " << done.error().message();
    EXPECT_TRUE(digest_of(*source_).same(digest_of(*target_)));
    EXPECT_EQ(target_->stats({})->keys, 5);
  }
}

TEST_F(StorageTransfer, AnotherMigrationsTargetIsRefused) {
  fill(10);
  Unreliable failing(*target_);
  failing.writes_left = 5;
  ASSERT_FALSE(run(failing));
  const auto other = transfer({*source_, *target_, "sqlite:/other", around_.blocking, progress_, ttl_});
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message(), HasSubstr("part of a migration from etcd://source"));
  // Nor is it a source.
  const auto empty = around_.memory();
  const auto from_it = transfer({*target_, *empty, "x", around_.blocking, progress_, ttl_});
  ASSERT_FALSE(from_it);
  EXPECT_THAT(from_it.error().message(), HasSubstr("has not finished"));
}

TEST_F(StorageTransfer, WhatIsWrittenMeanwhileIsCopiedToo) {
  fill(300);
  Unreliable busy(*source_);
  int reads = 0;
  busy.before_range = [&] {
    if (++reads == 2) {
      put(*source_, "/a-late", "1");
      const auto found = source_->get({}, "/k5", 0);
      ASSERT_TRUE(source_->remove({}, "/k5", (*found)->modified));
      put(*source_, "/k7", "changed", (*source_->get({}, "/k7", 0))->modified);
    }
  };
  const auto done = transfer({busy, *target_, "etcd://source", around_.blocking, progress_, ttl_});
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ((*target_->get({}, "/a-late", 0))->value, "1");
  EXPECT_EQ((*target_->get({}, "/k7", 0))->value, "changed");
  EXPECT_FALSE(*target_->get({}, "/k5", 0));
}

TEST_F(StorageTransfer, ASourceThatNeverRestsIsRefused) {
  fill(10);
  Unreliable busy(*source_);
  int reads = 0;
  busy.before_range = [&] { put(*source_, "/busy" + std::to_string(++reads), "1"); };
  const auto done = transfer({busy, *target_, "etcd://source", around_.blocking, progress_, ttl_});
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message(), HasSubstr("still being written to"));
}

TEST_F(StorageTransfer, OtherWritersOfTheTargetAreNoticed) {
  fill(10);
  Unreliable shared(*target_);
  bool once = false;
  Unreliable slow(*source_);
  slow.before_range = [&] {
    if (!std::exchange(once, true)) put(*target_, "/k3", "theirs");
  };
  const auto done = transfer({slow, shared, "etcd://source", around_.blocking, progress_, ttl_});
  // Either noticed at once, or found by the comparison and overwritten: never left as it is.
  if (done) {
    EXPECT_TRUE(digest_of(*source_).same(digest_of(*target_)));
  } else {
    EXPECT_THAT(done.error().message(), HasSubstr("written to by others"));
  }
}

}  // namespace
}  // namespace kubernel::storage_tool
