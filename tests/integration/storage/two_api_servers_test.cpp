// SPDX-License-Identifier: Apache-2.0
//
// Two API servers on one database. Nothing is shared but the server: what one hands out, the other never does.

#include <atomic>
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
  ApiServer(const Flavor& flavor, const RealServer& server, const std::string& database) {
    auto opened = around_.open(flavor.open, R"({"url":")" + server.url(database) + R"("})");
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

class TwoApiServers : public ::testing::TestWithParam<Flavor> {
 protected:
  void SetUp() override {
    server_ = shared_server(GetParam().kind);
    if (server_ == nullptr) GTEST_SKIP() << "SKIPPED: " << RealServer::missing(GetParam().kind) << " is not installed";
    database_ = server_->make_database();
    for (int i = 0; i < 2; ++i) servers_.push_back(std::make_unique<ApiServer>(GetParam(), *server_, database_));
    const auto made = servers_[0]->create(api::resources::kNamespaces, "", R"({"metadata":{"name":"default"}})");
    ASSERT_TRUE(made) << made.error().message();
  }
  void TearDown() override {
    servers_.clear();
    if (server_ != nullptr) server_->drop_database(database_);
  }

  RealServer* server_ = nullptr;
  std::string database_;
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
          const auto made = server.create(api::resources::kServices, "default",
                                          R"({"metadata":{"name":")" + name +
                                              R"("},"spec":{"type":"NodePort","ports":[{"port":80}]}})");
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

INSTANTIATE_TEST_SUITE_P(Servers, TwoApiServers, ::testing::ValuesIn(flavors()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace kubernel::storage_server::testing
