// SPDX-License-Identifier: Apache-2.0
#include "node_rules.h"

#include <gtest/gtest.h>

namespace kubernel::network::cni {
namespace {

TEST(NodeRules, MasqueradesWhatLeavesTheClusterInEachFamily) {
  EXPECT_EQ(make_masquerade_rules({"10.244.1.0/24"}, {"10.244.2.0/24", "10.96.0.0/12", "fd00::/48"}),
            "add table ip kubernel-cni\n"
            "delete table ip kubernel-cni\n"
            "table ip kubernel-cni {\n"
            "  set cluster { type ipv4_addr; flags interval; auto-merge; elements = { 10.244.2.0/24, 10.96.0.0/12, "
            "10.244.1.0/24, 224.0.0.0/4 } }\n"
            "  chain leaving { type nat hook postrouting priority srcnat + 5; policy accept; ip saddr { 10.244.1.0/24 "
            "} ip daddr != @cluster masquerade "
            "fully-random; }\n"
            "}\n"
            "add table ip6 kubernel-cni\n"
            "delete table ip6 kubernel-cni\n");
}

TEST(NodeRules, NothingThatIsNoRangeGetsIntoARule) {
  EXPECT_EQ(make_masquerade_rules({"10.0.0.0/24; drop"}, {}).find("drop"), std::string::npos);
}

TEST(NodeRules, RangesAndAddressesAreChecked) {
  for (const char* good : {"10.0.0.0/8", "0.0.0.0/0", "fd00::/64", "::/0"}) EXPECT_TRUE(valid_cidr(good)) << good;
  for (const char* bad :
       {"", "10.0.0.0", "10.0.0/24", "10.0.0.0/33", "fd00::/129", "10.0.0.0/-1", "10.0.0.0/8x", "x/8"})
    EXPECT_FALSE(valid_cidr(bad)) << bad;
}

TEST(NodeRules, RoutesFollowThePeers) {
  NodeNetwork node;
  node.peers = {{"b", "172.30.0.12", {"10.244.2.0/24", "fd00:2::/64"}},
                {"c", "172.30.0.13", {"10.244.3.0/24"}},
                {"d", "", {"10.244.4.0/24"}}};
  const auto wanted = wanted_routes(node);
  EXPECT_EQ(wanted,
            (std::map<std::string, std::string>{{"10.244.2.0/24", "172.30.0.12"}, {"10.244.3.0/24", "172.30.0.13"}}));
  const auto existing = parse_routes(
      R"([{"dst":"10.244.2.0/24","gateway":"172.30.0.12"},{"dst":"10.244.3.0/24","gateway":"172.30.0.99"},{"dst":"10.244.9.0/24","gateway":"172.30.0.9"}])");
  ASSERT_TRUE(existing);
  EXPECT_EQ(make_route_changes(*existing, wanted),
            "route del 10.244.9.0/24 proto 77\nroute replace 10.244.3.0/24 via 172.30.0.13 proto 77\n");
  EXPECT_EQ(make_route_changes(wanted, wanted), "");
}

}  // namespace
}  // namespace kubernel::network::cni
