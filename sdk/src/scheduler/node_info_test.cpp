// SPDX-License-Identifier: Apache-2.0
#include <kubernel/scheduler/node_info.h>

#include <gtest/gtest.h>

namespace kubernel::scheduler {
namespace {

std::shared_ptr<const PodInfo> pod(const std::string& name, const std::string& spec) {
  auto object = api::Object::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + R"(","uid":"u-)" +
                                   name + R"("},"spec":)" + spec + "}");
  EXPECT_TRUE(object) << object.error().message();
  return std::make_shared<const PodInfo>(*object);
}

NodeInfo node(const std::string& rest) {
  auto object = api::Object::parse(R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n"},)" + rest + "}");
  EXPECT_TRUE(object) << object.error().message();
  return NodeInfo(*object);
}

TEST(PodRequests, AreTheSumOfTheContainersAndOneSlot) {
  const auto info = pod("a", R"({"containers":[{"resources":{"requests":{"cpu":"100m","memory":"1Mi"}}},
                                               {"resources":{"requests":{"cpu":"1","example.com/gpu":"2"}}}]})");
  EXPECT_EQ(info->requests.milli_cpu, 1100);
  EXPECT_EQ(info->requests.memory, 1048576);
  EXPECT_EQ(info->requests.amount("example.com/gpu"), 2);
  EXPECT_EQ(info->requests.pods, 1);
}

TEST(PodRequests, AnInitContainerCountsOnlyWhenItNeedsMore) {
  EXPECT_EQ(pod("a", R"({"initContainers":[{"resources":{"requests":{"cpu":"2"}}}],
                         "containers":[{"resources":{"requests":{"cpu":"1"}}}]})")
                ->requests.milli_cpu,
            2000);
}

// KEP-753: a restartable init container goes on running beside what comes after it.
TEST(PodRequests, ASidecarAddsToWhatComesAfterIt) {
  EXPECT_EQ(pod("a", R"({"initContainers":[{"restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}},
                                           {"resources":{"requests":{"cpu":"5"}}}],
                         "containers":[{"resources":{"requests":{"cpu":"2"}}}]})")
                ->requests.milli_cpu,
            6000);
}

TEST(PodRequests, OverheadIsAddedAndPodLevelRequestsWin) {
  const auto info = pod("a", R"({"overhead":{"cpu":"10m"},"resources":{"requests":{"cpu":"3"}},
                                 "containers":[{"resources":{"requests":{"cpu":"1","memory":"5"}}}]})");
  EXPECT_EQ(info->requests.milli_cpu, 3010);
  EXPECT_EQ(info->requests.memory, 5);
}

TEST(PodRequests, ForScoringAContainerThatAsksForNothingCountsToo) {
  const auto info = pod("a", R"({"containers":[{}]})");
  EXPECT_EQ(info->requests.milli_cpu, 0);
  EXPECT_EQ(info->scoring_requests.milli_cpu, kDefaultMilliCpu);
  EXPECT_EQ(info->scoring_requests.memory, kDefaultMemory);
}

TEST(NodeInfo, RemovingAPodUndoesAddingIt) {
  NodeInfo info = node(R"("status":{"allocatable":{"cpu":"4","pods":"110"}})");
  const Resources before = info.requested;
  info.add_pod(
      pod("a", R"({"containers":[{"ports":[{"hostPort":80}],"resources":{"requests":{"cpu":"1","x.io/y":"1"}}}]})"));
  EXPECT_EQ(info.requested.milli_cpu, 1000);
  EXPECT_EQ(info.used_ports.size(), 1U);
  EXPECT_TRUE(info.remove_pod("u-a"));
  EXPECT_FALSE(info.remove_pod("u-a"));
  EXPECT_EQ(info.requested, before);
  EXPECT_TRUE(info.used_ports.empty());
}

TEST(HostPort, ConflictsWithTheWildcardAddress) {
  EXPECT_TRUE(ports_conflict({"0.0.0.0", "TCP", 80}, {"127.0.0.1", "TCP", 80}));
  EXPECT_FALSE(ports_conflict({"127.0.0.2", "TCP", 80}, {"127.0.0.1", "TCP", 80}));
  EXPECT_FALSE(ports_conflict({"0.0.0.0", "UDP", 80}, {"0.0.0.0", "TCP", 80}));
}

TEST(Snapshot, FindsNodesByNameAndCountsImages) {
  const Snapshot snapshot({std::make_shared<const NodeInfo>(
      node(R"("status":{"images":[{"names":["localhost/busybox:latest"],"sizeBytes":5}]})"))});
  EXPECT_NE(snapshot.find("n"), nullptr);
  EXPECT_EQ(snapshot.find("m"), nullptr);
  EXPECT_EQ(snapshot.nodes_with_image("localhost/busybox:latest"), 1U);
  EXPECT_EQ(normalized_image_name("localhost:5000/busybox"), "localhost:5000/busybox:latest");
}

}  // namespace
}  // namespace kubernel::scheduler
