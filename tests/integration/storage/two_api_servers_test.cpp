// SPDX-License-Identifier: Apache-2.0
//
// Two API servers on one database. Nothing is shared but the server: what one hands out, the other never does.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "admission/builtin.h"
#include "live_surroundings.h"
#include "pipeline/local_client.h"
#ifdef KUBERNEL_TEST_ETCD
#include "etcd_backend.h"
#include "tests/integration/etcd/etcd_process.h"
#endif

namespace kubernel::storage_server::testing {
namespace {

using nlohmann::json;

class AllowAll final : public auth::Authorizer {
 public:
  Result<auth::Decision> authorize(const CallContext&, const auth::Attributes&) override {
    return auth::Decision{true, false, ""};
  }
};

class ApiServer {
 public:
  ApiServer(OpenBackend how, const std::string& config) {
    auto opened = around_.open(how, config);
    if (!opened) throw std::runtime_error(opened.error().message());
    store_ = *std::move(opened);
    // Few addresses, and the same random choices in both: they reach for the same ones.
    api_ = std::make_unique<apiserver::Api>(
        apiserver::ApiContext{*store_, around_.clock, random_, around_.blocking, around_.log, "10.96.0.0/24"});
    api_->set_authorizer(std::make_shared<AllowAll>());
    apiserver::add_admission(*api_, {});
    if (auto started = api_->start({}); !started) throw std::runtime_error(started.error().message());
    connector_ = std::make_unique<apiserver::LocalConnector>(*api_);
    client_ = connector_->connect({"admin", "", {"system:masters", "system:authenticated"}, {}});
  }
  ~ApiServer() {
    client_.reset();
    connector_.reset();
    api_.reset();
  }

  client::ApiClient& client() { return *client_; }
  Result<api::Object> create(const api::Resource& resource, const std::string& ns, const std::string& text) {
    return client_->create({}, resource, {ns, ""}, json::parse(text), {});
  }

 private:
  LiveSurroundings around_;
  kubernel::testing::SeededRandom random_{1};
  std::unique_ptr<storage::Backend> store_;
  std::unique_ptr<apiserver::Api> api_;
  std::unique_ptr<apiserver::LocalConnector> connector_;
  std::unique_ptr<client::ApiClient> client_;
};

// An empty database on a server of its kind.
struct Place {
  std::shared_ptr<void> release;  // Drops it.
  std::string config;
};

struct Store {
  const char* name = "";
  OpenBackend open = nullptr;
  std::function<Place(std::string& missing)> make;
};

std::vector<Store> stores() {
  std::vector<Store> out;
  for (const Flavor& flavor : flavors()) {
    out.push_back({flavor.name, flavor.open, [kind = flavor.kind](std::string& missing) {
                     RealServer* const server = shared_server(kind);
                     if (server == nullptr) missing = RealServer::missing(kind);
                     if (server == nullptr) return Place{};
                     const std::string database = server->make_database();
                     return Place{
                         std::shared_ptr<void>(
                             server, [database](void* it) { static_cast<RealServer*>(it)->drop_database(database); }),
                         R"({"url":")" + server->url(database) + R"("})"};
                   }});
  }
#ifdef KUBERNEL_TEST_ETCD
  out.push_back({"Etcd", storage_etcd::open_etcd, [](std::string& missing) {
                   if (!kubernel::testing::have_etcd()) missing = "etcd-server";
                   if (!missing.empty()) return Place{};
                   std::shared_ptr<kubernel::testing::EtcdProcess> etcd = kubernel::testing::EtcdProcess::start();
                   const std::string config = R"({"endpoints":[")" + etcd->url() + R"("]})";
                   return Place{std::move(etcd), config};
                 }});
#endif
  return out;
}

class TwoApiServers : public ::testing::TestWithParam<Store> {
 protected:
  void SetUp() override {
    std::string missing;
    place_ = GetParam().make(missing);
    if (!missing.empty()) GTEST_SKIP() << "SKIPPED: " << missing << " is not installed";
    for (int i = 0; i < 2; ++i) servers_.push_back(std::make_unique<ApiServer>(GetParam().open, place_.config));
    const auto made = servers_[0]->create(api::resources::kNamespaces, "", R"({"metadata":{"name":"default"}})");
    ASSERT_TRUE(made) << made.error().message();
  }
  void TearDown() override { servers_.clear(); }

  Place place_;  // Outlives the servers.
  std::vector<std::unique_ptr<ApiServer>> servers_;
};

TEST_P(TwoApiServers, GiveNoAddressOrNodePortTwice) {
  constexpr int kThreads = 6;
  constexpr int kEach = 20;
  std::mutex mutex;
  std::multiset<std::string> addresses;
  std::multiset<std::int64_t> ports;
  std::vector<std::string> errors;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        ApiServer& server = *servers_[static_cast<std::size_t>(thread % 2)];
        for (int i = 0; i < kEach; ++i) {
          const std::string name = "s" + std::to_string(thread) + "-" + std::to_string(i);
          const auto made = server.create(
              api::resources::kServices, "default",
              R"({"metadata":{"name":")" + name + R"("},"spec":{"type":"NodePort","ports":[{"port":80}]}})");
          const std::lock_guard lock(mutex);
          if (!made) {
            errors.push_back(made.error().message());
            continue;
          }
          addresses.insert(std::string((*made)["spec"]["clusterIP"].string()));
          ports.insert(made->pointer("/spec/ports/0/nodePort").integer());
        }
      });
    }
  }
  EXPECT_TRUE(errors.empty()) << errors.size() << " failed: " << errors.front();
  EXPECT_EQ(addresses.size(), static_cast<std::size_t>(kThreads * kEach));
  EXPECT_EQ(std::set<std::string>(addresses.begin(), addresses.end()).size(), addresses.size()) << "an address twice";
  EXPECT_EQ(std::set<std::int64_t>(ports.begin(), ports.end()).size(), ports.size()) << "a port twice";
}

TEST_P(TwoApiServers, GiveNoNameTwice) {
  constexpr int kThreads = 6;
  constexpr int kNames = 20;
  std::atomic<int> made = 0;
  std::atomic<int> exists = 0;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < kNames; ++i) {
          const auto result = servers_[static_cast<std::size_t>(thread % 2)]->create(
              api::resources::kConfigMaps, "default", R"({"metadata":{"name":"n)" + std::to_string(i) + R"("}})");
          if (result) ++made;
          if (!result && result.error().reason() == Reason::AlreadyExists) ++exists;
        }
      });
    }
  }
  EXPECT_EQ(made, kNames);
  EXPECT_EQ(exists, (kThreads - 1) * kNames);
}

TEST_P(TwoApiServers, SeeEachOthersWritesAtOnce) {
  constexpr int kWrites = 200;
  const auto watch =
      servers_[1]->client().watch({}, api::resources::kConfigMaps, {.ns = "default", .bookmarks = false});
  ASSERT_TRUE(watch) << watch.error().message();
  std::mutex mutex;
  std::condition_variable changed;
  bool rung = false;
  (*watch)->notify([&] {
    const std::lock_guard lock(mutex);
    rung = true;
    changed.notify_one();
  });
  std::vector<std::int64_t> lags;
  for (int i = 0; i < kWrites; ++i) {
    const std::string name = "c" + std::to_string(i);
    const auto made =
        servers_[0]->create(api::resources::kConfigMaps, "default", R"({"metadata":{"name":")" + name + R"("}})");
    ASSERT_TRUE(made) << made.error().message();
    const auto acknowledged = std::chrono::steady_clock::now();
    for (bool seen = false; !seen;) {
      const auto events = (*watch)->take(10);
      ASSERT_TRUE(events) << events.error().message();
      for (const auto& event : *events) {
        ASSERT_FALSE(seen);
        ASSERT_EQ(event.object.name(), name) << "in order, and nothing twice";
        seen = true;
      }
      if (seen) break;
      std::unique_lock lock(mutex);
      ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return rung; })) << name << " was not seen";
      rung = false;
    }
    lags.push_back(
        std::chrono::ceil<std::chrono::milliseconds>(std::chrono::steady_clock::now() - acknowledged).count());
  }
  (*watch)->notify({});
  std::sort(lags.begin(), lags.end());
  const auto at = [&](std::size_t percent) { return lags[lags.size() * percent / 100]; };
  std::printf("%s: two API servers, lag p50 %lld ms, p99 %lld ms, max %lld ms\n", GetParam().name,
              static_cast<long long>(at(50)), static_cast<long long>(at(99)), static_cast<long long>(lags.back()));
  EXPECT_LE(at(99), 100);
}

INSTANTIATE_TEST_SUITE_P(Servers, TwoApiServers, ::testing::ValuesIn(stores()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace kubernel::storage_server::testing
