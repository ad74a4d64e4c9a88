// SPDX-License-Identifier: Apache-2.0
#include "log_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <kubernel/testing/storage_conformance.h>

#include "fake_database.h"

namespace kubernel::storage_common {
namespace {

using ::testing::HasSubstr;

class FakeInstance final : public testing::StorageInstance {
 public:
  explicit FakeInstance(bool tells) : server_(tells), tells_(tells) {}
  Result<std::unique_ptr<storage::Backend>> open(storage::BackendContext context) override {
    return make_log_store(server_.connect(), context, {.recent_bytes = 4096, .max_batch = 7});
  }
  testing::StorageTraits traits() const override { return {.asynchronous = !tells_}; }

 private:
  FakeServer server_;
  bool tells_;
};

class SharedLogStore : public ::testing::Test {
 protected:
  std::unique_ptr<storage::Backend> open() {
    auto store = make_log_store(server_.connect(), {"", log_, metrics_, clock_, blocking_, poller_}, {});
    EXPECT_TRUE(store) << store.error().message();
    blocking_.run_all();
    return *std::move(store);
  }

  storage::Revision put(storage::Backend& store, std::string_view key, storage::Revision expected = 0) {
    const auto result = store.put({}, key, "v", expected, 0);
    EXPECT_TRUE(result && result->applied) << (result ? "lost" : result.error().message());
    return result ? result->revision : 0;
  }

  std::vector<storage::Revision> revisions(storage::Watch& watch) {
    std::vector<storage::Revision> out;
    blocking_.run_all();
    for (;;) {
      const auto batch = watch.take(100);
      EXPECT_TRUE(batch) << batch.error().message();
      if (!batch || batch->events.empty()) return out;
      for (const auto& event : batch->events) out.push_back(event.kv.modified);
    }
  }

  testing::FakeClock clock_;
  testing::ManualExecutor blocking_;
  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  testing::NoPoller poller_;
  FakeServer server_;
};

TEST_F(SharedLogStore, AWriteWhoseOutcomeIsUnknownIsShownToWatchesWhenItWasDone) {
  const auto store = open();
  const auto watch = *store->watch({});
  put(*store, "/a");
  server_.break_next_commit = true;
  const auto unknown = store->put({}, "/b", "v", 0, 0);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().reason(), Reason::ServiceUnavailable);
  EXPECT_EQ(put(*store, "/c"), 4);
  EXPECT_EQ(revisions(*watch), (std::vector<storage::Revision>{2, 3, 4}));
  EXPECT_EQ(store->stats({})->keys, 3);
}

TEST_F(SharedLogStore, AProcessThatMissedHistoryGoesOnAndItsOldWatchesExpire) {
  const auto writer = open();
  const auto reader = open();
  auto behind = *reader->watch({});
  server_.cut_off = true;
  storage::Revision last = put(*writer, "/a");
  for (int i = 0; i < 10; ++i) last = put(*writer, "/a", last);
  server_.cut_off = false;
  ASSERT_TRUE(writer->compact({}, last));
  blocking_.run_all();
  put(*writer, "/b");
  blocking_.run_all();
  const auto taken = behind->take(10);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().reason(), Reason::Expired);
  behind.reset();
  const auto watch = *reader->watch({.from = last});
  EXPECT_EQ(revisions(*watch), (std::vector<storage::Revision>{last, last + 1}));
  EXPECT_EQ(reader->stats({})->keys, 2);
  put(*writer, "/c");
  EXPECT_EQ(revisions(*watch), (std::vector<storage::Revision>{last + 2}));
}

TEST_F(SharedLogStore, AnIdleProcessThatIsToldHasNoTimer) {
  const auto store = open();
  const auto other = open();
  put(*other, "/a");
  blocking_.run_all();
  EXPECT_FALSE(clock_.next_timer());
}

TEST_F(SharedLogStore, AServerThatDoesNotAnswerIsAskedAgainAndComplainedAboutOnce) {
  FakeServer silent(false);
  auto store = *make_log_store(silent.connect(), {"", log_, metrics_, clock_, blocking_, poller_}, {});
  blocking_.run_all();
  silent.cut_off = true;
  for (int i = 0; i < 5; ++i) {
    clock_.advance(std::chrono::seconds(1));
    blocking_.run_all();
  }
  EXPECT_EQ(log_.lines().size(), 1U);
  EXPECT_THAT(log_.lines().at(0), HasSubstr("nobody answers"));
  silent.cut_off = false;
  const auto watch = *store->watch({});
  auto other = *make_log_store(silent.connect(), {"", log_, metrics_, clock_, blocking_, poller_}, {});
  put(*other, "/a");
  clock_.advance(std::chrono::seconds(1));
  EXPECT_EQ(revisions(*watch), (std::vector<storage::Revision>{2}));
}

TEST(SchemaVersion, ANewerOneIsRefusedInOneLine) {
  EXPECT_TRUE(check_schema_version("storage-x: here:", 0, 3));
  EXPECT_TRUE(check_schema_version("storage-x: here:", 3, 3));
  const auto refused = check_schema_version("storage-x: here:", 4, 3);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(),
            "storage-x: here: has schema version 4, this program knows versions up to 3; use the newer program that"
            " wrote it");
}

}  // namespace
}  // namespace kubernel::storage_common

namespace {

std::unique_ptr<kubernel::testing::StorageInstance> telling() {
  return std::make_unique<kubernel::storage_common::FakeInstance>(true);
}
std::unique_ptr<kubernel::testing::StorageInstance> silent() {
  return std::make_unique<kubernel::storage_common::FakeInstance>(false);
}

}  // namespace

KUBERNEL_STORAGE_CONFORMANCE(LogStore, telling);
KUBERNEL_STORAGE_DURABILITY(LogStore, telling);
KUBERNEL_STORAGE_SHARED(Telling, telling);
KUBERNEL_STORAGE_SHARED(Silent, silent);
