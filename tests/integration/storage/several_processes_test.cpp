// SPDX-License-Identifier: Apache-2.0
//
// Several stores on one database, as several API servers have them: nothing is shared but the server. And a server that
// is killed under them.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <semaphore>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <kubernel/testing/history.h>

#include "live_surroundings.h"

namespace kubernel::storage_server::testing {
namespace {

using kubernel::testing::History;
using kubernel::testing::RecordedClient;
using kubernel::testing::RecordedWatch;
using std::chrono::milliseconds;

// A store with surroundings of its own.
struct Process {
  Process(const Flavor& flavor, const RealServer& server, const std::string& database) {
    auto opened = around.open(flavor.open, R"({"url":")" + server.url(database) + R"("})");
    if (!opened) throw std::runtime_error(opened.error().message());
    store = *std::move(opened);
  }
  LiveSurroundings around;
  std::unique_ptr<storage::Backend> store;
};

// Wakes a reader when its watch may have something.
class Bell {
 public:
  explicit Bell(storage::Watch& watch) : watch_(watch) {
    watch_.notify([this] {
      const std::lock_guard lock(mutex_);
      rung_ = true;
      changed_.notify_all();
    });
  }
  ~Bell() { watch_.notify({}); }
  /// False when it did not ring for long.
  bool wait() {
    std::unique_lock lock(mutex_);
    const bool rang = changed_.wait_for(lock, std::chrono::seconds(20), [this] { return rung_; });
    rung_ = false;
    return rang;
  }

 private:
  storage::Watch& watch_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool rung_ = false;
};

class SeveralProcesses : public ::testing::TestWithParam<Flavor> {
 protected:
  void SetUp() override {
    server_ = shared_server(GetParam().kind);
    if (server_ == nullptr) GTEST_SKIP() << "SKIPPED: " << RealServer::missing(GetParam().kind) << " is not installed";
    database_ = server_->make_database();
    for (int i = 0; i < 2; ++i) processes_.push_back(std::make_unique<Process>(GetParam(), *server_, database_));
  }
  void TearDown() override {
    processes_.clear();
    if (server_ != nullptr) server_->drop_database(database_);
  }

  storage::Backend& store(std::size_t i) { return *processes_.at(i)->store; }

  RealServer* server_ = nullptr;
  std::string database_;
  std::vector<std::unique_ptr<Process>> processes_;
};

TEST_P(SeveralProcesses, CompareAndSwapHasOneWinnerAndWatchesOneOrder) {
  constexpr int kThreads = 8;
  constexpr int kWins = 25;
  History history;
  std::vector<std::unique_ptr<RecordedWatch>> watches;
  for (std::size_t i = 0; i < 2; ++i) {
    watches.push_back(std::make_unique<RecordedWatch>(history, store(i), storage::WatchOptions{.from = 2}));
  }
  std::atomic<int> errors = 0;
  {
    std::vector<std::jthread> threads;
    for (int number = 0; number < kThreads; ++number) {
      threads.emplace_back([&, number] {
        RecordedClient client(history, store(static_cast<std::size_t>(number % 2)), number);
        storage::Revision expected = 0;
        for (int wins = 0; wins < kWins;) {
          const std::string value = std::to_string(number) + "." + std::to_string(wins);
          const auto result = client.put("/hot", value, expected);
          if (!result) {
            ++errors;
            return;
          }
          wins += result->applied ? 1 : 0;
          expected = result->applied ? result->revision : result->current ? result->current->modified : 0;
          const auto own = client.put("/own/" + value, value, 0);
          if (!own) ++errors;
          if (wins % 5 == 0 && !client.range({.start = "/", .end = "0"})) ++errors;
        }
      });
    }
  }
  EXPECT_EQ(errors, 0);
  const auto head = store(0).stats({});
  ASSERT_TRUE(head);
  for (auto& watch : watches) {
    Bell bell(*watch->watch());
    while (watch->progress() < head->revision) {
      const auto batch = watch->take(50);
      ASSERT_TRUE(batch) << batch.error().message();
      if (batch->events.empty() && watch->progress() < head->revision) {
        ASSERT_TRUE(bell.wait()) << "nothing came";
      }
    }
  }
  watches.clear();
  EXPECT_EQ(violation(history), "");
  EXPECT_EQ((*store(1).get({}, "/hot", 0))->version, kThreads * kWins);
}

TEST_P(SeveralProcesses, AWriteIsSeenByTheOthersWatchSoon) {
  constexpr int kWrites = 200;
  auto watch = store(1).watch({.start = "/lag/", .end = "/lag0"});
  ASSERT_TRUE(watch) << watch.error().message();
  Bell bell(**watch);
  std::vector<milliseconds> lags;
  storage::Revision revision = 0;
  for (int i = 0; i < kWrites; ++i) {
    const auto put = store(0).put({}, "/lag/a", std::to_string(i), revision, 0);
    ASSERT_TRUE(put && put->applied);
    revision = put->revision;
    const auto acknowledged = std::chrono::steady_clock::now();
    for (storage::Revision seen = 0; seen < revision;) {
      const auto batch = (*watch)->take(10);
      ASSERT_TRUE(batch) << batch.error().message();
      if (!batch->events.empty()) seen = batch->events.back().kv.modified;
      if (batch->events.empty()) {
        ASSERT_TRUE(bell.wait()) << "write " << i << " was not seen";
      }
    }
    lags.push_back(std::chrono::ceil<milliseconds>(std::chrono::steady_clock::now() - acknowledged));
  }
  std::sort(lags.begin(), lags.end());
  const auto at = [&](int percent) { return lags[lags.size() * static_cast<std::size_t>(percent) / 100].count(); };
  std::printf("%s: lag p50 %lld ms, p99 %lld ms, max %lld ms\n", GetParam().name, static_cast<long long>(at(50)),
              static_cast<long long>(at(99)), static_cast<long long>(lags.back().count()));
  // The tail is the bench's to judge: here it shares the machine with other tests.
  EXPECT_LE(at(50), 100);
}

TEST_P(SeveralProcesses, ALeaseAndItsKeysBelongToAll) {
  const auto lease = store(0).leases().grant({}, 0, std::chrono::seconds(600));
  ASSERT_TRUE(lease) << lease.error().message();
  const auto put = store(1).put({}, "/leased", "1", 0, *lease);
  ASSERT_TRUE(put) << put.error().message();
  ASSERT_TRUE(store(1).leases().renew({}, *lease));
  ASSERT_TRUE(store(0).leases().revoke({}, *lease));
  const auto found = store(1).get({}, "/leased", 0);
  ASSERT_TRUE(found);
  EXPECT_FALSE(*found);
  const auto gone = store(1).put({}, "/other", "1", 0, *lease);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().reason(), Reason::NotFound);
}

TEST_P(SeveralProcesses, CompactionByOneIsKnownToAll) {
  storage::Revision revision = 0;
  for (int i = 0; i < 300; ++i) {
    const auto put = store(static_cast<std::size_t>(i % 2)).put({}, "/a", std::to_string(i), revision, 0);
    ASSERT_TRUE(put && put->applied) << i;
    revision = put->revision;
  }
  ASSERT_TRUE(store(0).compact({}, revision));
  const auto past = store(1).get({}, "/a", 5);
  ASSERT_FALSE(past);
  EXPECT_EQ(past.error().reason(), Reason::Expired);
  EXPECT_EQ(server_->run(database_, "SELECT count(*) FROM kubernel_log"), "1");
  const auto stats = store(1).stats({});
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->compacted, revision);
  EXPECT_EQ(stats->keys, 1);
}

INSTANTIATE_TEST_SUITE_P(Servers, SeveralProcesses, ::testing::ValuesIn(flavors()),
                         [](const auto& row) { return std::string(row.param.name); });

// A server of its own, which is killed.
class KilledServer : public ::testing::TestWithParam<Flavor> {
 protected:
  void SetUp() override {
    server_ = RealServer::start(GetParam().kind);
    if (server_ == nullptr) GTEST_SKIP() << "SKIPPED: " << RealServer::missing(GetParam().kind) << " is not installed";
    database_ = server_->make_database();
  }

  // Reads until everything up to `last` is seen; opens the watch again when its cursor is gone.
  static void follow(History& history, storage::Backend& store, const std::atomic<storage::Revision>& last) {
    auto watch = std::make_unique<RecordedWatch>(history, store, storage::WatchOptions{.from = 2});
    auto bell = std::make_unique<Bell>(*watch->watch());
    for (;;) {
      const auto batch = watch->take(100);
      if (!batch) {
        // Only reading history fails while the server is away; the watch goes on from where it is.
        EXPECT_NE(batch.error().reason(), Reason::Expired) << "nothing has been compacted";
        continue;
      }
      if (last != 0 && watch->progress() >= last) break;
      if (batch->events.empty() && last == 0) bell->wait();
    }
    bell.reset();
  }

  std::unique_ptr<RealServer> server_;
  std::string database_;
};

TEST_P(KilledServer, NoAcknowledgedWriteIsLostAndWatchesGoOn) {
  constexpr int kThreads = 6;
  constexpr int kWritesEach = 120;  // At least: they write until the server was away as often as it is to be.
  constexpr int kKills = 2;
  Process process(GetParam(), *server_, database_);
  storage::Backend& store = *process.store;
  History history;
  std::atomic<int> acknowledged = 0;
  std::atomic<int> failures = 0;
  std::atomic<storage::Revision> last = 0;
  std::atomic<int> kills = 0;
  std::counting_semaphore<kKills> kill_due(0);
  std::jthread follower([&] { follow(history, store, last); });
  {
    std::vector<std::jthread> threads;
    for (int number = 0; number < kThreads; ++number) {
      threads.emplace_back([&, number] {
        RecordedClient client(history, store, number);
        const std::string key = "/k/" + std::to_string(number % 3);  // Two writers a key.
        storage::Revision expected = 0;
        int unique = 0;
        for (int done = 0; done < kWritesEach || kills < kKills;) {
          const auto result = client.put(key, std::to_string(number) + "." + std::to_string(++unique), expected);
          if (!result) {
            ++failures;
            // Not recorded: the checker would have to place each of these writes and reads.
            while (!store.get({}, key, 0)) std::this_thread::yield();
            const auto found = client.get(key);
            if (found) expected = *found ? (*found)->modified : 0;
            continue;
          }
          expected = result->applied ? result->revision : result->current ? result->current->modified : 0;
          if (!result->applied) continue;
          ++done;
          const int count = ++acknowledged;
          if (count == kThreads * kWritesEach / 4 || count == kThreads * kWritesEach / 2) kill_due.release();
        }
      });
    }
    for (; kills < kKills; ++kills) {
      kill_due.acquire();
      server_->kill();
      server_->start_again();
    }
  }
  EXPECT_GT(failures, 0) << "the server was not away while anybody wrote";
  const auto stats = store.stats({});
  ASSERT_TRUE(stats) << stats.error().message();
  last = stats->revision;
  {
    RecordedClient reader(history, store, kThreads);
    ASSERT_TRUE(reader.put("/k/end", "end", 0)) << "wakes the follower for the end";
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(reader.get("/k/" + std::to_string(i)));
  }
  follower.join();
  EXPECT_EQ(violation(history), "");
}

INSTANTIATE_TEST_SUITE_P(Servers, KilledServer, ::testing::ValuesIn(flavors()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace kubernel::storage_server::testing
