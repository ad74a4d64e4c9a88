// SPDX-License-Identifier: Apache-2.0
#include "settings.h"

#include <gtest/gtest.h>

namespace kubernel::plugins {
namespace {

TEST(SchedulerSettings, NothingConfiguredIsUpstreamsDefault) {
  const auto settings = read_settings("{}");
  ASSERT_TRUE(settings) << settings.error().message();
  ASSERT_EQ(settings->profiles.size(), 1U);
  EXPECT_EQ(settings->profiles[0].scheduler_name, "default-scheduler");
  EXPECT_EQ(settings->parallelism, 16);
  EXPECT_FALSE(settings->election.enabled);
}

TEST(SchedulerSettings, ReadsProfilesPointByPoint) {
  const auto settings =
      read_settings(R"({"apiVersion":"kubescheduler.config.k8s.io/v1","kind":"KubeSchedulerConfiguration",
      "profiles":[{"schedulerName":"a","percentageOfNodesToScore":30,
        "plugins":{"multiPoint":{"enabled":[{"name":"X"}],"disabled":[{"name":"*"}]},"score":{"enabled":[{"name":"Y","weight":7}]}},
        "pluginConfig":[{"name":"Y","args":{"apiVersion":"kubescheduler.config.k8s.io/v1","kind":"YArgs","level":3}}]},
       {"schedulerName":"b"}]})");
  ASSERT_TRUE(settings) << settings.error().message();
  const ProfileSettings& a = settings->profiles[0];
  EXPECT_EQ(a.percentage_of_nodes_to_score, 30);
  EXPECT_EQ(a.multi_point.enabled[0].name, "X");
  EXPECT_EQ(a.multi_point.disabled[0], "*");
  EXPECT_EQ(a.points[static_cast<std::size_t>(Point::Score)].enabled[0].weight, 7);
  EXPECT_EQ(a.arguments[0].second, R"({"level":3})");
}

TEST(SchedulerSettings, ReadsExtendersAndTheElection) {
  const auto settings =
      read_settings(R"({"leaderElection":{"leaderElect":true,"leaseDuration":"30s","resourceName":"mine"},
      "extenders":[{"urlPrefix":"https://127.0.0.1:1/x/","filterVerb":"filter","prioritizeVerb":"score","weight":2,"enableHTTPS":true,
        "httpTimeout":"1m30s","managedResources":[{"name":"a.io/b","ignoredByScheduler":true}],"ignorable":true,
        "tlsConfig":{"caData":"Y2E=","serverName":"x"}}]})");
  ASSERT_TRUE(settings) << settings.error().message();
  EXPECT_TRUE(settings->election.enabled);
  EXPECT_EQ(settings->election.lease_duration, std::chrono::seconds(30));
  EXPECT_EQ(settings->election.name, "mine");
  const ExtenderSettings& extender = settings->extenders[0];
  EXPECT_EQ(extender.url_prefix, "https://127.0.0.1:1/x");
  EXPECT_EQ(extender.timeout, std::chrono::seconds(90));
  EXPECT_EQ(extender.ca_pem, "ca");
  EXPECT_EQ(extender.ignored_resources, std::vector<std::string>{"a.io/b"});
}

struct Refusal {
  const char* rule;
  const char* config;
  const char* message;
};

class SettingsRefusal : public ::testing::TestWithParam<Refusal> {};

TEST_P(SettingsRefusal, NamesTheField) {
  const auto settings = read_settings(GetParam().config);
  ASSERT_FALSE(settings);
  EXPECT_EQ(settings.error().message(), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Rules, SettingsRefusal,
    ::testing::Values(
        Refusal{"BackoffOrder", R"({"podInitialBackoffSeconds":5,"podMaxBackoffSeconds":2})",
                "podMaxBackoffSeconds: must be greater than or equal to podInitialBackoffSeconds"},
        Refusal{"Duration", R"({"leaderElection":{"leaseDuration":"soon"}})",
                "leaderElection.leaseDuration: expected a duration such as \"15s\""},
        Refusal{"ProfileNames", R"({"profiles":[{"schedulerName":"a"},{}]})",
                "profiles[1].schedulerName: required with several profiles"},
        Refusal{"ArgumentsTwice", R"({"profiles":[{"pluginConfig":[{"name":"X"},{"name":"X"}]}]})",
                "profiles[0].pluginConfig[1]: \"X\" is configured twice"},
        Refusal{"ArgumentsKind", R"({"profiles":[{"pluginConfig":[{"name":"X","args":{"kind":"YArgs"}}]}]})",
                "profiles[0].pluginConfig[0].args.kind: expected XArgs, got YArgs"},
        Refusal{"ExtenderWeight", R"({"extenders":[{"urlPrefix":"http://x","prioritizeVerb":"p"}]})",
                "extenders[0].weight: must have a positive weight applied to it"},
        Refusal{"ExtenderScheme", R"({"extenders":[{"urlPrefix":"x:1"}]})",
                "extenders[0].urlPrefix: expected http:// or https://, got \"x:1\""},
        Refusal{"ExtenderHttps", R"({"extenders":[{"urlPrefix":"http://x","enableHTTPS":true}]})",
                "extenders[0].urlPrefix: enableHTTPS is set, so the URL must begin with https://"},
        Refusal{"ExtenderInsecure", R"({"extenders":[{"urlPrefix":"https://x","tlsConfig":{"insecure":true}}]})",
                "extenders[0].tlsConfig.insecure: a server whose certificate is not verified is not supported; give "
                "caFile or caData"},
        Refusal{"ExtenderKeyPair", R"({"extenders":[{"urlPrefix":"https://x","tlsConfig":{"certFile":"c"}}]})",
                "extenders[0].tlsConfig: a client certificate and its key go together"},
        Refusal{"OneBinder",
                R"({"extenders":[{"urlPrefix":"http://x","bindVerb":"b"},{"urlPrefix":"http://y","bindVerb":"b"}]})",
                "extenders: only one extender can implement bind, found 2"}),
    [](const auto& row) { return std::string(row.param.rule); });

}  // namespace
}  // namespace kubernel::plugins
