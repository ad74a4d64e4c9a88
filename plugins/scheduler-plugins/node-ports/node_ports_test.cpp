// SPDX-License-Identifier: Apache-2.0

#include "node_ports.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

std::string with_port(const std::string& port) {
  return R"({"containers":[{"ports":[)" + port + "]}]}";
}

class NodePortsTest : public testing::SchedulerPluginTest {
 protected:
  std::unique_ptr<scheduler::Plugin> plugin_ = make(make_node_ports);
};

TEST_F(NodePortsTest, APortIsHeldByOnePodAtATime) {
  auto busy = node("a");
  busy.add_pod(pod(with_port(R"({"hostPort":80})"), "first"));
  EXPECT_EQ(filter(*plugin_, *pod(with_port(R"({"hostPort":80})")), busy),
            "node(s) didn't have free ports for the requested pod ports");
  EXPECT_EQ(filter(*plugin_, *pod(with_port(R"({"hostPort":81})")), busy), "");
  EXPECT_EQ(filter(*plugin_, *pod(with_port(R"({"hostPort":80,"protocol":"UDP"})")), busy), "");
}

TEST_F(NodePortsTest, TwoAddressesShareAPort) {
  auto busy = node("a");
  busy.add_pod(pod(with_port(R"({"hostPort":80,"hostIP":"127.0.0.1"})"), "first"));
  EXPECT_EQ(filter(*plugin_, *pod(with_port(R"({"hostPort":80,"hostIP":"127.0.0.2"})")), busy), "");
}

TEST_F(NodePortsTest, IsWokenOnlyByAPodThatFreesAWantedPort) {
  const auto waiting = pod(with_port(R"({"hostPort":80})"));
  for (const auto& interest : plugin_->retry_on()) {
    if (interest.event != scheduler::ClusterEvent::PodDeleted) continue;
    EXPECT_TRUE(interest.helps(*waiting, pod(with_port(R"({"hostPort":80})"))->object, {}));
    EXPECT_FALSE(interest.helps(*waiting, pod("{}")->object, {}));
    EXPECT_FALSE(interest.helps(*waiting, waiting->object, waiting->object)) << "it only needs less of something";
  }
}

}  // namespace
}  // namespace kubernel::plugins
