// SPDX-License-Identifier: Apache-2.0
//
// Many writers and watchers at once, on real threads: what a watcher was told adds up to what is stored.
#include <atomic>
#include <latch>
#include <map>
#include <mutex>

#include <gtest/gtest.h>

#include "admission/builtin.h"
#include "core/base/thread_pool.h"
#include "fixture.h"

namespace kubernel::apiserver {
namespace {

class AllowAll final : public auth::Authorizer {
 public:
  Result<auth::Decision> authorize(const CallContext&, const auth::Attributes&) override {
    return auth::Decision{true, false, ""};
  }
};

class NoPoller final : public Poller {
 public:
  Result<std::unique_ptr<Subscription>> when_readable(int, std::function<void()>) override {
    return Error(Reason::BadRequest, "no poller");
  }
};

// The API on a pool of threads.
class Busy {
 public:
  Busy() : pool_({"test", 8, 100'000}, log_, metrics_) {
    backend_ = *storage_memory::open_memory({"{}", log_, metrics_, clock_, pool_, poller_});
    api_ = std::make_unique<Api>(ApiContext{*backend_, clock_, random_, pool_, log_});
    api_->set_authorizer(std::make_shared<AllowAll>());
    add_admission(*api_, {});
    EXPECT_TRUE(api_->start({}));
    client_ = LocalConnector(*api_).connect({"admin", "", {}, {}});
    EXPECT_TRUE(client_->create({}, api::resources::kNamespaces, {}, json{{"metadata", {{"name", "default"}}}}, {}));
  }
  ~Busy() {
    api_->stop();
    pool_.stop();
    client_.reset();
    api_.reset();
  }

  core::ThreadPool& pool() { return pool_; }
  client::ApiClient& client() { return *client_; }

 private:
  kubernel::testing::FakeClock clock_;
  kubernel::testing::SeededRandom random_{7};
  kubernel::testing::RecordingLogger log_;
  kubernel::testing::RecordingMetrics metrics_;
  NoPoller poller_;
  core::ThreadPool pool_;
  std::unique_ptr<storage::Backend> backend_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<client::ApiClient> client_;
};

// Keeps what a watch tells, and what it told wrongly.
class Follower {
 public:
  Follower(Busy& busy, const client::WatchOptions& options) : strand_(make_strand(busy.pool())) {
    auto made = busy.client().watch({}, api::resources::kConfigMaps, options);
    EXPECT_TRUE(made);
    watch_ = *std::move(made);
    watch_->notify([this] { EXPECT_TRUE(strand_->submit([this] { drain(); })); });
  }

  // Stops following and returns the state that was told.
  std::map<std::string, std::int64_t> finish() {
    watch_->notify({});
    std::latch done(1);
    EXPECT_TRUE(strand_->submit([&] {
      drain();
      done.count_down();
    }));
    done.wait();
    watch_.reset();
    return state_;
  }
  const std::string& complaint() const { return complaint_; }

 private:
  void drain() {
    for (;;) {
      const auto events = watch_->take(7);
      if (!events) complaint_ = events.error().message();
      if (!events || events->empty()) return;
      for (const client::WatchEvent& event : *events) apply(event);
    }
  }

  void apply(const client::WatchEvent& event) {
    if (event.type == client::EventType::Bookmark) return;
    const std::string& name = event.object.name();
    const auto place = state_.find(name);
    const bool known = place != state_.end();
    if (known != (event.type != client::EventType::Added)) complaint_ = "wrong type of event for " + name;
    if (event.object.head().resource_version <= last_) complaint_ = "events out of order at " + name;
    last_ = event.object.head().resource_version;
    if (event.type == client::EventType::Deleted) {
      state_.erase(name);
    } else {
      state_[name] = event.object.head().resource_version;
    }
  }

  std::unique_ptr<Executor> strand_;
  std::unique_ptr<client::Watch> watch_;
  std::map<std::string, std::int64_t> state_;
  std::int64_t last_ = 0;
  std::string complaint_;
};

void write_at_random(client::ApiClient& client, std::uint64_t seed) {
  kubernel::testing::SeededRandom random(seed);
  for (int i = 0; i < 300; ++i) {
    const std::string name = "m" + std::to_string(random_below(random, 20));
    const json document = {{"metadata", {{"name", name}}}, {"data", {{"n", std::to_string(i)}}}};
    switch (random_below(random, 3)) {
      case 0: (void)client.create({}, api::resources::kConfigMaps, {"default", ""}, document, {}); break;
      case 1:
        (void)client.patch({}, api::resources::kConfigMaps, {"default", name}, client::PatchType::Merge, document, {});
        break;
      default: (void)client.remove({}, api::resources::kConfigMaps, {"default", name}, {});
    }
  }
}

TEST(Concurrency, WhatWatchersAreToldAddsUpToWhatIsStored) {
  Busy busy;
  std::vector<std::unique_ptr<Follower>> followers;
  for (int i = 0; i < 4; ++i) followers.push_back(std::make_unique<Follower>(busy, client::WatchOptions{}));
  constexpr int kWriters = 4;
  std::latch done(kWriters);
  for (int i = 0; i < kWriters; ++i) {
    ASSERT_TRUE(busy.pool().submit([&busy, &done, i] {
      write_at_random(busy.client(), static_cast<std::uint64_t>(i));
      done.count_down();
    }));
  }
  done.wait();
  const auto listed = busy.client().list({}, api::resources::kConfigMaps, {});
  ASSERT_TRUE(listed);
  std::map<std::string, std::int64_t> stored;
  for (const api::Object& object : listed->items) stored[object.name()] = object.head().resource_version;
  for (const auto& follower : followers) {
    EXPECT_EQ(follower->finish(), stored);
    EXPECT_EQ(follower->complaint(), "");
  }
}

TEST(Concurrency, NoIncrementIsLost) {
  Busy busy;
  ASSERT_TRUE(busy.client().create({}, api::resources::kConfigMaps, {"default", ""},
                                   json{{"metadata", {{"name", "n"}}}, {"data", {{"n", "0"}}}}, {}));
  constexpr int kWriters = 4;
  constexpr int kTimes = 50;
  std::latch done(kWriters);
  for (int i = 0; i < kWriters; ++i) {
    ASSERT_TRUE(busy.pool().submit([&busy, &done] {
      for (int k = 0; k < kTimes;) {
        json document = busy.client().get({}, api::resources::kConfigMaps, {"default", "n"}, "")->to_json();
        document["data"]["n"] = std::to_string(std::stoi(document["data"]["n"].get<std::string>()) + 1);
        if (busy.client().update({}, api::resources::kConfigMaps, {"default", "n"}, document, {})) ++k;
      }
      done.count_down();
    }));
  }
  done.wait();
  EXPECT_EQ((*busy.client().get({}, api::resources::kConfigMaps, {"default", "n"}, ""))["data"]["n"].string(),
            std::to_string(kWriters * kTimes));
}

TEST(Concurrency, OneOfManyBindersWins) {
  Busy busy;
  ASSERT_TRUE(busy.client().create({}, api::resources::kServiceAccounts, {"default", ""},
                                   json{{"metadata", {{"name", "default"}}}}, {}));
  ASSERT_TRUE(busy.client().create({}, api::resources::kPods, {"default", ""}, json::parse(kPod), {}));
  constexpr int kBinders = 8;
  std::latch done(kBinders);
  std::atomic<int> won{0};
  for (int i = 0; i < kBinders; ++i) {
    ASSERT_TRUE(busy.pool().submit([&, i] {
      const json binding = {{"metadata", {{"name", "p"}}},
                            {"target", {{"kind", "Node"}, {"name", "n" + std::to_string(i)}}}};
      if (busy.client().create({}, api::resources::kPods, {"default", "p"}, binding, {.subresource = "binding"})) ++won;
      done.count_down();
    }));
  }
  done.wait();
  EXPECT_EQ(won.load(), 1);
}

}  // namespace
}  // namespace kubernel::apiserver
