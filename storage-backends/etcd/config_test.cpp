// SPDX-License-Identifier: Apache-2.0
#include "config.h"

#include <gtest/gtest.h>

#include "wire.h"

namespace kubernel::storage_etcd {
namespace {

std::string problem(const std::string& text) {
  const auto config = read_config(text);
  return config ? "" : config.error().message();
}

TEST(EtcdConfig, EndpointsAreUrls) {
  EXPECT_EQ(problem(R"({"endpoints":["http://127.0.0.1:2379/","http://[::1]"]})"), "");
  EXPECT_NE(problem(R"({"endpoints":["127.0.0.1:2379"]})").find("must begin with http:// or https://"),
            std::string::npos);
  EXPECT_NE(problem(R"({"endpoints":["http://user@host"]})").find("is no https://HOST:PORT"), std::string::npos);
  EXPECT_NE(problem(R"({"endpoints":["http://a","https://b"]})").find("all be"), std::string::npos);
  bool secure = false;
  EXPECT_EQ(*address_of("https://[::1]", secure), "[::1]:2379");
  EXPECT_TRUE(secure);
}

TEST(EtcdConfig, SettingsThatBelongTogetherComeTogether) {
  EXPECT_NE(problem(R"({"endpoints":["http://a"],"caFile":"x"})").find("for https://"), std::string::npos);
  EXPECT_NE(problem(R"({"endpoints":["https://a"],"certFile":"x"})").find("go together"), std::string::npos);
  EXPECT_NE(problem(R"({"endpoints":["http://a"],"username":"x"})").find("go together"), std::string::npos);
}

TEST(EtcdWire, OurKeysAreBehindThePrefixAndNobodyElsesAre) {
  const Keys keys("/us/");
  EXPECT_EQ(keys.to_etcd("/a"), "/us//a");
  EXPECT_EQ(keys.from_etcd("/us//a"), "/a");
  EXPECT_FALSE(keys.from_etcd("/them/a"));
  const auto all = keys.bounds({});
  EXPECT_EQ(all.key, "/us/");
  EXPECT_EQ(all.range_end, "/us0");
  const auto one = keys.bounds(storage::KeyRange::only("/a"));
  EXPECT_EQ(one.key, "/us//a");
  EXPECT_EQ(one.range_end, "");
}

TEST(EtcdWire, WithoutAPrefixTheWholeKeySpaceIsOurs) {
  const Keys keys("");
  const auto all = keys.bounds({});
  EXPECT_EQ(all.key, std::string(1, '\0'));
  EXPECT_EQ(all.range_end, std::string(1, '\0'));
}

}  // namespace
}  // namespace kubernel::storage_etcd
