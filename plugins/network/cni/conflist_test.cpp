// SPDX-License-Identifier: Apache-2.0
#include "conflist.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kubernel::network::cni {
namespace {

using nlohmann::json;

TEST(Conflist, BridgeListGivesEachFamilyARangeAndADefaultRoute) {
  const std::string list = make_bridge_conflist({"cni0", "/data/ipam", 0, {"10.244.1.0/24", "fd00:1::/64"}});
  const json bridge = json::parse(*plugin_input(list, 0, {}, ""));
  EXPECT_EQ(bridge["type"], "bridge");
  EXPECT_EQ(bridge["cniVersion"], "1.0.0");
  EXPECT_EQ(bridge["name"], "kubernel");
  EXPECT_EQ(bridge["hairpinMode"], true);
  EXPECT_EQ(bridge["ipMasq"], false);
  EXPECT_EQ(
      bridge["ipam"].dump(),
      R"({"dataDir":"/data/ipam","ranges":[[{"subnet":"10.244.1.0/24"}],[{"subnet":"fd00:1::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],"type":"host-local"})");
  EXPECT_EQ(*plugin_types(list), (std::vector<std::string>{"bridge", "portmap"}));
}

TEST(Conflist, PortsGoOnlyToThePluginThatAsksForThem) {
  const std::string list = make_bridge_conflist({"cni0", "/data", 1400, {"10.0.0.0/24"}});
  const std::vector<PortMapping> ports = {{8080, 80, "tcp", "127.0.0.1"}, {0, 90, "tcp", ""}};
  EXPECT_FALSE(json::parse(*plugin_input(list, 0, ports, "")).contains("runtimeConfig"));
  const json portmap = json::parse(*plugin_input(list, 1, ports, R"({"ips":[]})"));
  EXPECT_EQ(portmap["runtimeConfig"].dump(),
            R"({"portMappings":[{"containerPort":80,"hostIP":"127.0.0.1","hostPort":8080,"protocol":"tcp"}]})");
  EXPECT_TRUE(portmap.contains("prevResult"));
  EXPECT_FALSE(portmap.contains("capabilities"));
}

TEST(Conflist, ASingleConfigurationBecomesAListOfOne) {
  const auto list = normalize_conflist(R"({"cniVersion":"0.4.0","name":"n","type":"macvlan","master":"eth0"})");
  ASSERT_TRUE(list);
  EXPECT_EQ(*plugin_types(*list), std::vector<std::string>{"macvlan"});
  EXPECT_EQ(json::parse(*plugin_input(*list, 0, {}, ""))["cniVersion"], "0.4.0");
}

TEST(Conflist, RefusesWhatIsNoConfiguration) {
  for (const char* text : {"", "[]", "{}", R"({"plugins":[]})", R"({"plugins":[{}]})",
                           R"({"plugins":[{"type":"../../bin/sh"}]})", R"({"type":7})"}) {
    EXPECT_FALSE(normalize_conflist(text)) << text;
  }
}

TEST(Conflist, AddressesComeWithoutPrefixAndInOrder) {
  EXPECT_EQ(*result_addresses(R"({"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1"},{"address":"fd00::2/64"}]})"),
            (std::vector<std::string>{"10.0.0.2", "fd00::2"}));
  EXPECT_TRUE(result_addresses("{}")->empty());
  EXPECT_FALSE(result_addresses("no json"));
}

TEST(Conflist, ErrorsSayWhatThePluginSaid) {
  EXPECT_EQ(plugin_error("bridge", R"({"code":11,"msg":"range full","details":"10.0.0.0/30"})", "", 1),
            "bridge: range full: 10.0.0.0/30");
  EXPECT_EQ(plugin_error("bridge", "", "panic: oh\n", 2), "bridge: exit code 2: panic: oh");
}

}  // namespace
}  // namespace kubernel::network::cni
