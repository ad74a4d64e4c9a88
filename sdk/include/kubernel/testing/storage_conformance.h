// SPDX-License-Identifier: Apache-2.0
//
// The tests every storage backend must pass, in this tree or out of it. In the backend's test:
//
//   class MyInstance final : public kubernel::testing::StorageInstance { ... };
//   KUBERNEL_STORAGE_CONFORMANCE(Mine, [] { return std::make_unique<MyInstance>(); });

#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <kubernel/storage/backend.h>
#include <kubernel/testing/fake_clock.h>

namespace kubernel::testing {

/// In what stores may differ.
struct StorageTraits {
  /// Events and progress reach a watch, and an expired lease's keys go, a moment after; the suite then waits with
  /// pass() until they do. Otherwise all is there when the write has returned, and the context's tasks have run.
  bool asynchronous = false;
  /// The shortest lease whose end the suite can wait for.
  std::chrono::seconds lease_ttl{10};
};

/// One store that a test has to itself: a file, a database, a server.
/// The destructor removes it.
class StorageInstance {
 public:
  virtual ~StorageInstance() = default;
  /// Opens the store; the first time it is empty, later a durable one holds what was there when it was closed. Where
  /// stores are shared, it is also called while the store is open: for another process's handle.
  /// `context` lacks only config_json; one that needs a real clock, executor or poller brings its own.
  virtual Result<std::unique_ptr<storage::Backend>> open(storage::BackendContext context) = 0;
  virtual StorageTraits traits() const { return {}; }
  /// Lets time pass, where the store does not go by the context's clock, which has been advanced.
  virtual void pass(std::chrono::milliseconds) {}
  /// What its leases go by.
  virtual const Clock& lease_clock(const Clock& context) const { return context; }
};

/// Returns null when what the instance needs is not there: the tests are skipped then, and say so.
using MakeStorageInstance = std::function<std::unique_ptr<StorageInstance>()>;

class StorageConformance : public ::testing::TestWithParam<MakeStorageInstance> {
 protected:
  using Revision = storage::Revision;
  using Event = storage::Event;
  using KeyValue = storage::KeyValue;

  void SetUp() override {
    instance_ = GetParam()();
    if (!instance_) GTEST_SKIP() << "SKIPPED: the server this backend needs is not installed";
    asynchronous_ = instance_->traits().asynchronous;
    open();
  }

  void TearDown() override {
    store_.reset();
    instance_.reset();
  }

  void open() { open(store_); }

  void open(std::unique_ptr<storage::Backend>& store) {
    auto opened = instance_->open({"", log_, metrics_, clock_, blocking_, poller_});
    ASSERT_TRUE(opened) << opened.error().message();
    store = *std::move(opened);
    while (blocking_.run_all() != 0) continue;
  }

  void reopen() {
    store_.reset();
    open();
  }

  Revision put(std::string_view key, std::string_view value, Revision expected = 0, storage::LeaseId lease = 0) {
    auto result = store_->put({}, key, value, expected, lease);
    EXPECT_TRUE(result) << "put " << key << ": " << result.error().message();
    EXPECT_TRUE(!result || result->applied) << "put " << key << " lost";
    return result ? result->revision : 0;
  }

  Revision remove(std::string_view key, Revision expected) {
    auto result = store_->remove({}, key, expected);
    EXPECT_TRUE(result) << "remove " << key << ": " << result.error().message();
    EXPECT_TRUE(!result || result->applied) << "remove " << key << " lost";
    return result ? result->revision : 0;
  }

  std::optional<KeyValue> get(std::string_view key, Revision at = 0) {
    auto found = store_->get({}, key, at);
    EXPECT_TRUE(found) << "get " << key << ": " << found.error().message();
    return found ? *std::move(found) : std::nullopt;
  }

  storage::Page range(const storage::RangeOptions& options) {
    auto page = store_->range({}, options);
    EXPECT_TRUE(page) << "range: " << page.error().message();
    return page ? *std::move(page) : storage::Page{};
  }

  static std::vector<std::string> keys(const storage::Page& page) {
    std::vector<std::string> out;
    for (const KeyValue& item : page.items) out.push_back(item.key);
    return out;
  }

  std::int64_t count(std::string_view start, std::string_view end) {
    auto found = store_->count({}, start, end);
    EXPECT_TRUE(found) << "count: " << found.error().message();
    return found ? *found : -1;
  }

  Revision head() {
    auto stats = store_->stats({});
    EXPECT_TRUE(stats) << "stats: " << stats.error().message();
    return stats ? stats->revision : 0;
  }

  void compact(Revision revision) {
    const auto compacted = store_->compact({}, revision);
    EXPECT_TRUE(compacted) << "compact " << revision << ": " << compacted.error().message();
  }

  std::unique_ptr<storage::Watch> watch(std::string_view start, std::string_view end, Revision from = 0) {
    auto opened = store_->watch({std::string(start), std::string(end), from});
    EXPECT_TRUE(opened) << "watch: " << opened.error().message();
    return opened ? *std::move(opened) : nullptr;
  }

  /// Everything up to now, `batch` at a time.
  std::vector<Event> drain(storage::Watch& watch, std::size_t batch = 100) {
    std::vector<Event> out;
    const Revision target = head();
    bool failed = false;
    wait_for([&] {
      for (;;) {
        auto taken = watch.take(batch);
        EXPECT_TRUE(taken) << "take: " << taken.error().message();
        failed = !taken;
        if (failed) return true;
        if (taken->events.empty()) return taken->progress >= target;
        for (Event& event : taken->events) out.push_back(std::move(event));
      }
    });
    return out;
  }

  /// Waits until `condition` holds, where the store needs a moment; returns whether it does.
  bool wait_for(const std::function<bool()>& condition) {
    const int tries = asynchronous_ ? 1000 : 2;
    for (int i = 0; i < tries; ++i) {
      if (condition()) return true;
      pass(asynchronous_ ? std::chrono::milliseconds(10) : std::chrono::milliseconds(0));
    }
    return condition();
  }

  /// `units` times the shortest lease.
  std::chrono::seconds ttl(int units = 1) const { return units * instance_->traits().lease_ttl; }
  /// Lets a share of the shortest lease pass.
  void pass_tenths(int tenths) { pass(std::chrono::milliseconds(ttl()) * tenths / 10); }
  /// Whether `wanted` keys are there, or are soon.
  bool keys_left(std::int64_t wanted) {
    return wait_for([&] { return count("", "") == wanted; });
  }

  /// "put /a=1@2" and "delete /a@3", with " was 1" when the event knows what was there before.
  static std::vector<std::string> text(const std::vector<Event>& events) {
    std::vector<std::string> out;
    for (const Event& event : events) {
      const bool put = event.type == Event::Type::Put;
      std::string line = (put ? "put " : "delete ") + event.kv.key;
      if (put) line += "=" + event.kv.value;
      line += "@" + std::to_string(event.kv.modified);
      if (event.previous) line += " was " + event.previous->value;
      out.push_back(std::move(line));
    }
    return out;
  }

  /// Lets time pass, and the work that became due.
  void pass(std::chrono::milliseconds time) {
    clock_.advance(time);
    instance_->pass(time);
    while (blocking_.run_all() != 0) clock_.advance(std::chrono::nanoseconds(0));
  }

  /// Runs `work(i)` on `count` threads at once.
  static void in_parallel(int count, const std::function<void(int)>& work) {
    std::vector<std::jthread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back([&work, i] { work(i); });
  }

  FakeClock clock_;
  ManualExecutor blocking_;
  RecordingLogger log_;
  RecordingMetrics metrics_;
  NoPoller poller_;
  std::unique_ptr<StorageInstance> instance_;
  bool asynchronous_ = false;
  std::unique_ptr<storage::Backend> store_;
};

/// What a backend must pass besides when it keeps its store beyond its own life; see KUBERNEL_STORAGE_DURABILITY.
class StorageDurability : public StorageConformance {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StorageDurability);

/// And when several processes may use its store at once; see KUBERNEL_STORAGE_SHARED.
class StorageShared : public StorageConformance {
 protected:
  void SetUp() override {
    StorageConformance::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) open(other_);
  }
  void TearDown() override {
    other_.reset();
    StorageConformance::TearDown();
  }

  std::unique_ptr<storage::Backend> other_;  ///< Another process's handle on the store.
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StorageShared);

}  // namespace kubernel::testing

#include <kubernel/testing/storage_conformance_concurrency.h>
#include <kubernel/testing/storage_conformance_data.h>
#include <kubernel/testing/storage_conformance_history.h>
#include <kubernel/testing/storage_conformance_linearizable.h>
#include <kubernel/testing/storage_conformance_shared.h>
#include <kubernel/testing/storage_conformance_transactions.h>

/// `make`: callable as MakeStorageInstance.
#define KUBERNEL_STORAGE_CONFORMANCE(name, make)                                                   \
  namespace kubernel::testing {                                                                    \
  INSTANTIATE_TEST_SUITE_P(name, StorageConformance, ::testing::Values(MakeStorageInstance(make)), \
                           [](const auto&) { return std::string("All"); });                        \
  }                                                                                                \
  static_assert(true)

/// For backends whose store can be opened again.
#define KUBERNEL_STORAGE_DURABILITY(name, make)                                                   \
  namespace kubernel::testing {                                                                   \
  INSTANTIATE_TEST_SUITE_P(name, StorageDurability, ::testing::Values(MakeStorageInstance(make)), \
                           [](const auto&) { return std::string("All"); });                       \
  }                                                                                               \
  static_assert(true)

/// For backends whose store several processes may use.
#define KUBERNEL_STORAGE_SHARED(name, make)                                                   \
  namespace kubernel::testing {                                                               \
  INSTANTIATE_TEST_SUITE_P(name, StorageShared, ::testing::Values(MakeStorageInstance(make)), \
                           [](const auto&) { return std::string("All"); });                   \
  }                                                                                           \
  static_assert(true)
