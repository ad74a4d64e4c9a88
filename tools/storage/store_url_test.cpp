// SPDX-License-Identifier: Apache-2.0
#include "store_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kubernel::storage_tool {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

json config_of(const std::string& text, const std::string& plugin) {
  const auto url = parse_store_url(text);
  EXPECT_TRUE(url) << url.error().message();
  if (!url) return {};
  EXPECT_EQ(url->plugin, plugin);
  return json::parse(url->config_json);
}

std::string refusal(const std::string& text) {
  const auto url = parse_store_url(text);
  EXPECT_FALSE(url) << text;
  return url ? "" : url.error().message();
}

TEST(StoreUrl, APathIsASqliteStore) {
  EXPECT_EQ(config_of("sqlite:/var/lib/state.db", "storage-sqlite"), json::parse(R"({"path":"/var/lib/state.db"})"));
  EXPECT_EQ(config_of("sqlite:///var/lib/a%20b.db?synchronous=normal", "storage-sqlite"),
            json::parse(R"({"path":"/var/lib/a b.db","synchronous":"normal"})"));
  EXPECT_EQ(parse_store_url("sqlite:state.db")->file, "state.db");
  EXPECT_THAT(refusal("sqlite:"), HasSubstr("path is missing"));
}

TEST(StoreUrl, AServersParametersAreThePluginsConfiguration) {
  EXPECT_EQ(
      config_of("postgres://kubernel@db:5432/k?passwordFile=/etc/pw&tls=require&connections=3", "storage-postgres"),
      json::parse(R"({"url":"postgresql://kubernel@db:5432/k","passwordFile":"/etc/pw","tls":{"mode":"require"},
                            "connections":3})"));
  EXPECT_EQ(config_of("mysql://kubernel@/k?socket=/run/db.sock&passwordEnvironment=PW", "storage-mysql"),
            json::parse(R"({"url":"mysql://kubernel@/k?socket=/run/db.sock","passwordEnvironment":"PW"})"));
  EXPECT_THAT(refusal("postgres:"), HasSubstr("server is missing"));
  EXPECT_THAT(refusal("postgres://a@b/c?connections=many"), HasSubstr("must be a number"));
}

TEST(StoreUrl, EtcdHasSeveralEndpointsAndTlsWhenThereAreCertificates) {
  EXPECT_EQ(config_of("etcd://a:2379,b:2379", "storage-etcd"),
            json::parse(R"({"endpoints":["http://a:2379","http://b:2379"]})"));
  EXPECT_EQ(config_of("etcd://a:2379/?caFile=/ca.crt", "storage-etcd"),
            json::parse(R"({"endpoints":["https://a:2379"],"caFile":"/ca.crt"})"));
  EXPECT_EQ(config_of("etcds://a:2379", "storage-etcd"), json::parse(R"({"endpoints":["https://a:2379"]})"));
  EXPECT_THAT(refusal("etcd:///"), HasSubstr("servers are missing"));
}

TEST(StoreUrl, APasswordIsRefusedAndNotRepeated) {
  EXPECT_THAT(refusal("postgres://kubernel:s3cret@db/k"), AllOf(HasSubstr("passwordFile"), Not(HasSubstr("s3cret"))));
  EXPECT_THAT(refusal("mysql://kubernel:s3cret@db/k"), Not(HasSubstr("s3cret")));
}

TEST(StoreUrl, WhatNobodyKnowsIsNamed) {
  EXPECT_THAT(refusal("sqllite:/x"),
              AllOf(HasSubstr("unknown kind of store \"sqllite\""), HasSubstr("did you mean \"sqlite\"")));
  EXPECT_THAT(refusal("/var/lib/state.db"), HasSubstr("write sqlite:/path/state.db"));
  EXPECT_THAT(refusal("postgres://a@b/c?passwordfile=x"), HasSubstr("did you mean \"passwordFile\""));
  EXPECT_THAT(refusal("sqlite:/x?synchronous"), HasSubstr("has no value"));
}

TEST(StoreUrl, MemoryIsRefusedWithAReason) {
  EXPECT_THAT(refusal("memory:"), HasSubstr("gone when its process ends"));
}

}  // namespace
}  // namespace kubernel::storage_tool
