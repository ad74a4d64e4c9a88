// SPDX-License-Identifier: Apache-2.0
#include "server_config.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kubernel::storage_server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Result<ServerConfig> parse(const std::string& json) {
  return parse_config("storage-x", "scheme", 1234, json);
}

std::string refusal(const std::string& json) {
  const auto parsed = parse(json);
  EXPECT_FALSE(parsed) << json;
  return parsed ? "" : parsed.error().message();
}

TEST(ServerConfig, AUrlNamesUserHostPortAndDatabase) {
  const auto config = parse(R"({"url":"scheme://us%40er@db.example.org:99/sto%2Fre"})");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->address.user, "us@er");
  EXPECT_EQ(config->address.host, "db.example.org");
  EXPECT_EQ(config->address.port, 99);
  EXPECT_EQ(config->address.database, "sto/re");
  const auto six = parse(R"({"url":"scheme://u@[::1]/d"})");
  ASSERT_TRUE(six) << six.error().message();
  EXPECT_EQ(six->address.host, "::1");
  EXPECT_EQ(six->address.port, 1234);
  EXPECT_EQ(six->address.text(), "scheme://u@[::1]:1234/d");
}

TEST(ServerConfig, AUrlMayNameASocketInstead) {
  const auto config = parse(R"({"url":"scheme://u@/d?socket=/run/db"})");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->address.socket, "/run/db");
  EXPECT_EQ(config->address.text(), "scheme://u@/d?socket=/run/db");
}

TEST(ServerConfig, TlsIsVerifiedByDefaultWhenTheServerIsElsewhere) {
  EXPECT_EQ(parse(R"({"url":"scheme://u@db.example.org/d"})")->tls.mode, TlsMode::VerifyFull);
  EXPECT_EQ(parse(R"({"url":"scheme://u@127.0.0.1/d"})")->tls.mode, TlsMode::Prefer);
  EXPECT_EQ(parse(R"({"url":"scheme://u@/d?socket=/run/db"})")->tls.mode, TlsMode::Prefer);
  EXPECT_EQ(parse(R"({"url":"scheme://u@127.0.0.1/d","tls":{"mode":"require"}})")->tls.mode, TlsMode::Require);
}

TEST(ServerConfig, APasswordInTheUrlIsRefusedAndNotRepeated) {
  const std::string says = refusal(R"({"url":"scheme://u:hunter2@db/d"})");
  EXPECT_THAT(says, HasSubstr("storage-x: config: url holds a password: put it into a file named by passwordFile"));
  EXPECT_THAT(says, Not(HasSubstr("hunter2")));
}

TEST(ServerConfig, WhatIsWrongIsSaid) {
  EXPECT_THAT(refusal("{}"), HasSubstr("url is required"));
  EXPECT_THAT(refusal(R"({"url":"http://u@h/d"})"), HasSubstr("scheme://USER@HOST:PORT/DATABASE"));
  EXPECT_THAT(refusal(R"({"url":"scheme://u@h"})"), HasSubstr("names no database"));
  EXPECT_THAT(refusal(R"({"url":"scheme://h/d"})"), HasSubstr("names no user"));
  EXPECT_THAT(refusal(R"({"url":"scheme://u@/d"})"), HasSubstr("a host or a socket"));
  EXPECT_THAT(refusal(R"({"url":"scheme://u@h:x/d"})"), HasSubstr("\"x\" is no port"));
  EXPECT_THAT(refusal(R"({"url":"scheme://u@h:0/d"})"), HasSubstr("is no port"));
  EXPECT_THAT(refusal(R"({"url":"scheme://u%4@h/d"})"), HasSubstr("two hex digits"));
  EXPECT_THAT(refusal(R"({"url":"scheme://u@h/d?sslmode=disable"})"), HasSubstr("TLS is set by \"tls\""));
  EXPECT_THAT(refusal(R"({"url":"scheme://u@h/d","passwordFile":"a","passwordEnvironment":"B"})"),
              HasSubstr("not both"));
  EXPECT_THAT(refusal(R"({"url":"scheme://u@h/d","tls":{"mode":"maybe"}})"), HasSubstr("\"maybe\""));
  EXPECT_THAT(refusal(R"({"url":"scheme://u@h/d","tls":{"certFile":"c"}})"), HasSubstr("go together"));
}

TEST(ServerConfig, AMissingPasswordIsNamed) {
  const PasswordSource file{.file = "/nonexistent/password", .environment = ""};
  EXPECT_THAT(file.read().error().message(), HasSubstr("/nonexistent/password"));
  const PasswordSource variable{.file = "", .environment = "KUBERNEL_TEST_UNSET_VARIABLE"};
  EXPECT_THAT(variable.read().error().message(), HasSubstr("KUBERNEL_TEST_UNSET_VARIABLE"));
  EXPECT_EQ(*PasswordSource{}.read(), "");
}

TEST(ServerConfig, AMessageIsOneLine) {
  EXPECT_EQ(first_line("ERROR: this \nLINE 1: that\n"), "ERROR: this");
}

}  // namespace
}  // namespace kubernel::storage_server
