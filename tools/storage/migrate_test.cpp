// SPDX-License-Identifier: Apache-2.0
//
// Between stores of every kind there is, with real servers of the test's own.

#include <stdlib.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "commands.h"
#ifdef KUBERNEL_TEST_ETCD
#include "etcd_process.h"
#endif
#include "testing/real_server.h"

namespace kubernel::storage_tool {
namespace {

using nlohmann::json;
using storage_server::testing::Kind;
using storage_server::testing::RealServer;
using ::testing::HasSubstr;

RealServer* server(Kind kind) {
  static const std::unique_ptr<RealServer> postgres = RealServer::start(Kind::Postgres);
  static const std::unique_ptr<RealServer> mariadb = RealServer::start(Kind::MariaDb);
  return kind == Kind::Postgres ? postgres.get() : mariadb.get();
}

class StorageMigrate : public ::testing::Test {
 protected:
  StorageMigrate() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kubernel-migrate-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    directory_ = pattern;
  }
  ~StorageMigrate() override { std::filesystem::remove_all(directory_); }

  // A new store of each kind that can be had here.
  std::vector<StoreUrl> a_store_of_each_kind() {
    std::vector<std::string> urls = {"sqlite:" +
                                     (directory_ / ("state-" + std::to_string(++stores_) + ".db")).string()};
    for (const Kind kind : {Kind::Postgres, Kind::MariaDb}) {
      RealServer* const found = server(kind);
      const bool postgres = kind == Kind::Postgres;
      const auto plugin = bench_.spec({.plugin = postgres ? "storage-postgres" : "storage-mysql"});
      if (found == nullptr || !plugin) {
        std::fprintf(
            stderr, "SKIPPED: %s\n",
            plugin ? (RealServer::missing(kind) + " is not installed").c_str() : plugin.error().message().c_str());
      } else {
        urls.push_back(found->url(found->make_database()));
      }
    }
    add_etcd(urls);
    std::vector<StoreUrl> out;
    for (const std::string& url : urls) {
      auto parsed = parse_store_url(url);
      EXPECT_TRUE(parsed) << parsed.error().message();
      if (parsed) out.push_back(*std::move(parsed));
    }
    return out;
  }

  // Of its own for each store: an etcd that others write to has gaps in its revisions.
  void add_etcd([[maybe_unused]] std::vector<std::string>& urls) {
#ifdef KUBERNEL_TEST_ETCD
    if (testing::have_etcd()) {
      const std::string& url = etcds_.emplace_back(testing::EtcdProcess::start())->url();
      urls.push_back("etcd" + url.substr(url.find(':')));
      return;
    }
#endif
    std::fprintf(stderr, "SKIPPED: etcd-server is not installed, or storage-etcd has not been built\n");
  }

  void fill(const StoreUrl& url) {
    auto store = bench_.open(url);
    ASSERT_TRUE(store) << store.error().message();
    ASSERT_TRUE((*store)->leases().grant({}, 4711, std::chrono::seconds(3600)));
    for (int i = 0; i < 300; ++i) {
      const auto put = (*store)->put({}, "/k" + std::to_string(i), std::string(static_cast<std::size_t>(i), 'v'), 0,
                                     i % 50 == 0 ? 4711 : 0);
      ASSERT_TRUE(put && put->applied);
    }
  }

  static json said(const Result<Answer>& answer) {
    EXPECT_TRUE(answer) << answer.error().message();
    return answer ? json::parse(answer->json) : json();
  }

  Workbench bench_{plugin_path()};
  Progress progress_{bench_.clock(), stderr};
  const Tools tools_{bench_, progress_};
  std::filesystem::path directory_;
  int stores_ = 0;
#ifdef KUBERNEL_TEST_ETCD
  std::vector<std::unique_ptr<testing::EtcdProcess>> etcds_;
#endif
};

TEST_F(StorageMigrate, AClusterMovesBetweenAllKindsOfStores) {
  const auto sources = a_store_of_each_kind();
  std::string sha256;
  for (const StoreUrl& source : sources) {
    ASSERT_NO_FATAL_FAILURE(fill(source));
    for (const StoreUrl& target : a_store_of_each_kind()) {
      SCOPED_TRACE(source.text + " -> " + target.text);
      const json done = said(migrate(tools_, source, target));
      ASSERT_TRUE(done.is_object());
      EXPECT_EQ(done["keys"], 300);
      EXPECT_EQ(done["leases"], 1);
      EXPECT_GT(done["revision"], done["sourceRevision"]);
      if (sha256.empty()) sha256 = done["sha256"].get<std::string>();
      EXPECT_EQ(done["sha256"], sha256) << "whatever way it took";
      const json checked = said(check(tools_, target));
      EXPECT_TRUE(checked["good"].get<bool>()) << checked;
      EXPECT_EQ(checked["keys"], 300);
      const auto again = migrate(tools_, source, target);
      ASSERT_FALSE(again);
      EXPECT_THAT(again.error().message(), HasSubstr("not empty"));
    }
  }
}

TEST_F(StorageMigrate, ABackupOfAnyStoreIsOneFileAndBecomesAnyStore) {
  for (const StoreUrl& source : a_store_of_each_kind()) {
    ASSERT_NO_FATAL_FAILURE(fill(source));
    const std::string file = (directory_ / ("backup-" + std::to_string(++stores_))).string();
    const json made = said(backup(tools_, source, file));
    ASSERT_TRUE(made.is_object());
    EXPECT_EQ(made["keys"], 300);
    for (const char* suffix : {"-wal", "-shm", ".lock"}) EXPECT_FALSE(std::filesystem::exists(file + suffix));
    for (const StoreUrl& target : a_store_of_each_kind()) {
      SCOPED_TRACE(source.text + " -> backup -> " + target.text);
      constexpr storage::Revision kSkip = 1000;
      const json restored = said(restore(tools_, file, target, kSkip));
      ASSERT_TRUE(restored.is_object());
      EXPECT_EQ(restored["keys"], 300);
      EXPECT_GT(restored["revision"], made["revision"].get<storage::Revision>() + kSkip - 1);
      EXPECT_TRUE(said(check(tools_, target))["good"].get<bool>());
    }
  }
}

}  // namespace
}  // namespace kubernel::storage_tool
