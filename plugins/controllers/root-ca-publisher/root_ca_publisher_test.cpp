// SPDX-License-Identifier: Apache-2.0
#include "root_ca_publisher.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/controller_bench.h>

namespace kubernel::plugins::root_ca_publisher {
namespace {

using api::resources::kConfigMaps;
using api::resources::kNamespaces;
using nlohmann::json;
using ::testing::HasSubstr;

constexpr const char* kPem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

class File {
 public:
  explicit File(const std::string& text) {
    std::string pattern = (std::filesystem::temp_directory_path() / "root-ca-XXXXXX").string();
    const int fd = mkstemp(pattern.data());
    path_ = pattern;
    if (fd >= 0) close(fd);
    std::ofstream(path_) << text;
  }
  ~File() { std::filesystem::remove(path_); }
  std::string config() const { return json{{"caFile", path_}}.dump(); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class RootCaPublisherTest : public ::testing::Test {
 protected:
  void put_namespace(const std::string& name) {
    bench_.cluster.put(kNamespaces, {{"metadata", {{"name", name}}},
                                     {"spec", {{"finalizers", {"kubernetes"}}}},
                                     {"status", {{"phase", "Active"}}}});
  }
  std::optional<api::Object> map(const std::string& ns) {
    return bench_.cluster.find(kConfigMaps, {ns, "kube-root-ca.crt"});
  }

  File file_{kPem};
  testing::ControllerBench bench_{make_reconciler, file_.config()};
};

TEST_F(RootCaPublisherTest, EveryNamespaceGetsTheCertificate) {
  put_namespace("before");
  bench_.start();
  put_namespace("after");
  bench_.settle();
  ASSERT_TRUE(map("before"));
  EXPECT_EQ(map("before")->pointer("/data")["ca.crt"].string(), kPem);
  ASSERT_TRUE(map("after"));
}

TEST_F(RootCaPublisherTest, AChangedOrDeletedMapIsWrittenAgain) {
  put_namespace("shop");
  bench_.start();
  bench_.cluster.edit(kConfigMaps, {"shop", "kube-root-ca.crt"}, [](json& m) { m["data"]["ca.crt"] = "forged"; });
  bench_.settle();
  EXPECT_EQ(map("shop")->pointer("/data")["ca.crt"].string(), kPem);
  bench_.cluster.erase(kConfigMaps, {"shop", "kube-root-ca.crt"});
  bench_.settle();
  EXPECT_TRUE(map("shop"));
}

TEST_F(RootCaPublisherTest, OtherMapsAreLeftAlone) {
  put_namespace("shop");
  bench_.start();
  const auto other = bench_.cluster.put(
      kConfigMaps, {{"metadata", {{"name", "mine"}, {"namespace", "shop"}}}, {"data", {{"ca.crt", "x"}}}});
  bench_.settle();
  EXPECT_EQ(bench_.cluster.find(kConfigMaps, other.key())->head().resource_version, other.head().resource_version);
}

TEST_F(RootCaPublisherTest, ANamespaceThatIsGoingGetsNone) {
  put_namespace("shop");
  ASSERT_TRUE(bench_.cluster.remove({}, kNamespaces, {"", "shop"}, {}));
  bench_.start();
  EXPECT_FALSE(map("shop"));
}

Result<std::unique_ptr<controller::Reconciler>> make_with(const std::string& config) {
  static testing::ControllerBench bench{make_reconciler};
  return make_reconciler(
      {config, bench.cluster, bench.events, bench.log, bench.metrics, bench.clock, bench.random, bench.executor});
}

TEST(RootCaPublisher, RefusesAFileThatCannotBeRead) {
  const auto made = make_with(R"({"caFile": "/nonexistent/ca.crt"})");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().message(), "caFile: cannot read /nonexistent/ca.crt");
}

TEST(RootCaPublisher, RefusesAFileWithoutACertificate) {
  const File file("hello");
  EXPECT_THAT(make_with(file.config()).error().message(), HasSubstr("holds no PEM certificate"));
}

TEST(RootCaPublisher, NeverPublishesAKey) {
  const File file(std::string(kPem) + "-----BEGIN EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----\n");
  EXPECT_THAT(make_with(file.config()).error().message(), HasSubstr("holds a private key"));
}

}  // namespace
}  // namespace kubernel::plugins::root_ca_publisher
