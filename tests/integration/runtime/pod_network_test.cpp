// SPDX-License-Identifier: Apache-2.0
#include <kubernel/network/pod_network.h>

#include "plugins/network/cni/cni_network.h"
#include "plugins/network/cni/node_rules.h"
#include "runtime_fixture.h"

namespace kubernel::runtime {
namespace {

using network::NodeNetwork;
using network::PodAddresses;
using network::PodAttachment;

class PodNetworkTest : public RuntimeFixture {
 protected:
  void SetUp() override {
    RuntimeFixture::SetUp();
    if (IsSkipped()) return;
    if (!std::filesystem::exists("/usr/lib/cni/bridge"))
      GTEST_SKIP() << "no CNI plugins: apt-get install containernetworking-plugins";
    open_network();
  }
  void TearDown() override {
    if (network_) {
      for (const PodAttachment& pod : attached_)
        EXPECT_TRUE(opened_.containers->stop_sandbox(context(), sandboxes_[pod.sandbox_id]));
      for (const PodAttachment& pod : attached_) {
        const auto detached = network_->detach(context(), pod);
        EXPECT_TRUE(detached) << detached.error().message();
      }
      EXPECT_TRUE(std::filesystem::is_empty("/run/netns"));
      EXPECT_TRUE(std::filesystem::is_empty(directory_ + "/cni/results"));
      EXPECT_EQ(tool("ls " + directory_ + "/cni/ipam/kubernel 2>/dev/null | grep -c '^[0-9a-f]*[.:]'"), "0\n");
      EXPECT_EQ(tool("ip -o link show type veth | wc -l"), "0\n");
      EXPECT_EQ(tool("iptables-save -t nat 2>/dev/null | grep -c 'to-destination'"), "0\n");
    }
    RuntimeFixture::TearDown();
    // For the next test in the same namespace.
    tool("ip link del kb0 2>/dev/null; ip -4 route flush proto 77");
  }

  void open_network() {
    const std::string config = R"({"bridge":"kb0","dataDir":")" + directory_ + R"(/cni"})";
    auto network = network::cni::open_network({config, log_, *clock_, *pool_, false});
    ASSERT_TRUE(network) << network.error().message();
    network_ = *std::move(network);
  }
  void configure(const std::vector<NodeNetwork::Peer>& peers = {}) {
    const auto configured = network_->configure(context(), {"node-1", {"10.77.1.0/24", "fd77:1::/64"}, peers});
    ASSERT_TRUE(configured) << configured.error().message();
    EXPECT_EQ(network_->problem(), "");
  }

  struct Pod {
    PodAddresses addresses;
    std::string container;
  };
  Pod run_pod(const std::string& name, const std::string& script, const std::vector<network::PortMapping>& ports = {}) {
    PodAttachment attachment{name, "default", "uid-" + name, "sandbox-" + name, ports};
    auto addresses = network_->attach(context(), attachment);
    EXPECT_TRUE(addresses) << addresses.error().message();
    if (!addresses) return {};
    attached_.push_back(attachment);
    SandboxConfig config = sandbox_config();
    config.network = NamespaceMode::Pod;
    config.network_namespace_path = addresses->namespace_path;
    const std::string sandbox = run_sandbox(config);
    sandboxes_[attachment.sandbox_id] = sandbox;
    return {*addresses, start(sandbox, shell(script, name))};
  }
  static std::string tool(const std::string& script) {
    ChildOptions child;
    child.argv = {"/bin/sh", "-c", script};
    child.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
    auto output = run_child(context(), child);
    EXPECT_TRUE(output);
    return output ? output->standard_output + output->standard_error : "";
  }

  std::unique_ptr<network::PodNetwork> network_;
  std::vector<PodAttachment> attached_;
  std::map<std::string, std::string> sandboxes_;
};

TEST_F(PodNetworkTest, PodsReachEachOtherAndThemselves) {
  configure();
  const Pod a = run_pod("a", "exec sleep 1000");
  const Pod b = run_pod("b", "exec sleep 1000");
  ASSERT_EQ(a.addresses.ips.size(), 2U);
  EXPECT_TRUE(a.addresses.ips[0].starts_with("10.77.1."));
  EXPECT_TRUE(a.addresses.ips[1].starts_with("fd77:1::"));
  EXPECT_NE(a.addresses.ips[0], b.addresses.ips[0]);
  EXPECT_EQ(a.addresses.namespace_path, "/run/netns/sandbox-a");
  for (const std::string& target :
       {b.addresses.ips[0], a.addresses.ips[0], std::string("127.0.0.1"), std::string("10.77.1.1")}) {
    EXPECT_EQ(exec(a.container, "ping -c 1 -W 5 " + target + " > /dev/null && echo ok"), "ok\n") << target;
  }
  EXPECT_EQ(exec(a.container, "n=0; until ping -6 -c 1 -W 1 " + b.addresses.ips[1] +
                                  " > /dev/null || [ $((n+=1)) = 5 ]; do :; done; echo $n"),
            "0\n");
  EXPECT_EQ(tool("busybox ping -c 1 -W 5 " + b.addresses.ips[0] + " > /dev/null && echo ok"), "ok\n");
}

TEST_F(PodNetworkTest, HostPortsLeadToThePod) {
  configure();
  run_pod("web", "while :; do echo served | nc -l -p 80; done", {{18080, 80, "tcp", ""}});
  EXPECT_EQ(
      tool(
          "timeout 10 sh -c 'until busybox nc -w 2 127.0.0.1 18080 < /dev/null 2>/dev/null | grep served; do :; done'"),
      "served\n");
}

TEST_F(PodNetworkTest, AttachingAgainGivesTheSameAddresses) {
  configure();
  const Pod a = run_pod("a", "exec sleep 1000");
  open_network();  // As another process.
  const auto again = network_->attach(context(), attached_.front());
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->ips, a.addresses.ips);
  EXPECT_TRUE(network_->detach(context(), {"x", "default", "u", "never-attached", {}}));
}

TEST_F(PodNetworkTest, AddressesOfBeforeARebootAreFreed) {
  configure();
  PodAttachment pod{"a", "default", "u", "sandbox-a", {}};
  const auto before = network_->attach(context(), pod);
  ASSERT_TRUE(before) << before.error().message();
  tool("umount /run/netns/sandbox-a; rm /run/netns/sandbox-a");
  const auto after = network_->attach(context(), pod);
  ASSERT_TRUE(after) << after.error().message();
  EXPECT_NE(after->ips, before->ips);
  ASSERT_TRUE(network_->detach(context(), pod));
}

TEST_F(PodNetworkTest, ConfiguresRoutesMasqueradingAndForwarding) {
  tool(
      "ip link add uplink type veth peer name far; ip addr add 172.31.0.1/24 dev uplink; ip link set uplink up; ip "
      "link set far up");
  configure({{"node-2", "172.31.0.2", {"10.77.2.0/24"}}, {"node-3", "172.31.0.3", {"10.77.3.0/24"}}});
  EXPECT_EQ(tool("ip -4 route show proto 77 | sort"),
            "10.77.2.0/24 via 172.31.0.2 dev uplink \n10.77.3.0/24 via 172.31.0.3 dev uplink \n");
  const std::string rules = tool("nft list table ip kubernel-cni");
  EXPECT_NE(rules.find("ip saddr 10.77.1.0/24 ip daddr != @cluster masquerade fully-random"), std::string::npos)
      << rules;
  EXPECT_NE(rules.find("10.77.1.0-10.77.3.255"), std::string::npos) << rules;
  configure({{"node-3", "172.31.0.4", {"10.77.3.0/24"}}});
  EXPECT_EQ(tool("ip -4 route show proto 77"), "10.77.3.0/24 via 172.31.0.4 dev uplink \n");
  EXPECT_EQ(tool("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"), "1\n1\n");
  tool("ip link del uplink");
}

TEST_F(PodNetworkTest, SaysWhatIsMissing) {
  EXPECT_EQ(network_->problem(), "no pod range has been assigned to this node");
  const auto early = network_->attach(context(), {"a", "default", "u", "sandbox-a", {}});
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().reason(), Reason::ServiceUnavailable);
  EXPECT_EQ(network_->configure(context(), {"n", {"nonsense"}, {}}).error().reason(), Reason::Invalid);
  EXPECT_EQ(network_->attach(context(), {"a", "default", "u", "../evil", {}}).error().reason(), Reason::Invalid);
  const auto elsewhere = network::cni::open_network(
      {R"({"binDir":"/nonexistent","dataDir":")" + directory_ + R"(/cni"})", log_, *clock_, *pool_, false});
  ASSERT_TRUE(elsewhere);
  ASSERT_TRUE((*elsewhere)->configure(context(), {"node-1", {"10.77.1.0/24"}, {}}));
  EXPECT_EQ((*elsewhere)->problem(), "network plugin /nonexistent/bridge is not installed");
  const auto failed = (*elsewhere)->attach(context(), {"a", "default", "u", "sandbox-a", {}});
  ASSERT_FALSE(failed);
  EXPECT_FALSE(std::filesystem::exists("/run/netns/sandbox-a"));
}

}  // namespace
}  // namespace kubernel::runtime
