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

PodInfo pod_with_status(const std::string& spec, const std::string& status) {
  auto object = api::Object::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","uid":"u"},"spec":)" +
                                   spec + R"(,"status":)" + status + "}");
  EXPECT_TRUE(object) << object.error().message();
  return PodInfo(*object);
}

// KEP-1287.
TEST(PodRequests, InTheMiddleOfAResizeTheLargestCounts) {
  struct Row {
    const char* rule;
    const char* wanted;
    const char* status;
    std::int64_t milli_cpu;
  };
  const std::vector<Row> rows = {
      {"without a report what is wanted", "1", "{}", 1000},
      {"a report without resources says nothing", "1",
       R"({"containerStatuses":[{"name":"c","allocatedResources":{"cpu":"2"}}]})", 1000},
      {"growing: what is wanted", "3",
       R"({"containerStatuses":[{"name":"c","resources":{"requests":{"cpu":"1"}},"allocatedResources":{"cpu":"1"}}]})",
       3000},
      {"shrinking: what is in use still", "1",
       R"({"containerStatuses":[{"name":"c","resources":{"requests":{"cpu":"3"}},"allocatedResources":{"cpu":"1"}}]})",
       3000},
      {"promised, not yet in use", "1",
       R"({"containerStatuses":[{"name":"c","resources":{"requests":{"cpu":"1"}},"allocatedResources":{"cpu":"2"}}]})",
       2000},
      {"infeasible: what is wanted does not count", "9",
       R"({"conditions":[{"type":"PodResizePending","status":"True","reason":"Infeasible"}],
           "containerStatuses":[{"name":"c","resources":{"requests":{"cpu":"1"}},"allocatedResources":{"cpu":"2"}}]})",
       2000},
      {"infeasible, but nothing is reported: what is wanted", "9",
       R"({"conditions":[{"type":"PodResizePending","status":"True","reason":"Infeasible"}]})", 9000},
      {"deferred: it counts", "9",
       R"({"conditions":[{"type":"PodResizePending","status":"True","reason":"Deferred"}],
           "containerStatuses":[{"name":"c","resources":{"requests":{"cpu":"1"}},"allocatedResources":{"cpu":"2"}}]})",
       9000},
      {"another container's report says nothing", "1",
       R"({"containerStatuses":[{"name":"d","resources":{"requests":{"cpu":"3"}}}]})", 1000},
  };
  for (const Row& row : rows) {
    const auto info = pod_with_status(
        R"({"containers":[{"name":"c","resources":{"requests":{"cpu":")" + std::string(row.wanted) + R"("}}}]})",
        row.status);
    EXPECT_EQ(info.requests.milli_cpu, row.milli_cpu) << row.rule;
    EXPECT_EQ(info.scoring_requests.milli_cpu, row.milli_cpu) << row.rule;
    EXPECT_EQ(info.scoring_requests.memory, kDefaultMemory) << row.rule;
  }
}

TEST(PodRequests, WhatAContainerOnlyUsesIsNotAssumedBesides) {
  const auto info = pod_with_status(R"({"containers":[{"name":"c"}]})",
                                    R"({"containerStatuses":[{"name":"c","resources":{"requests":{"cpu":"10m"}}}]})");
  EXPECT_EQ(info.scoring_requests.milli_cpu, 10);
  EXPECT_EQ(info.scoring_requests.memory, kDefaultMemory);
}

TEST(PodRequests, OfInitContainersOnlySidecarsAreResized) {
  const char* const status = R"({"initContainerStatuses":[
      {"name":"s","resources":{"requests":{"cpu":"4"}}},{"name":"i","resources":{"requests":{"cpu":"9"}}}]})";
  const auto info = pod_with_status(R"({"initContainers":[
      {"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}},
      {"name":"i","resources":{"requests":{"cpu":"2"}}}],
      "containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]})",
                                    status);
  EXPECT_EQ(info.requests.milli_cpu, 6000);
}

TEST(PodRequests, ResourcesOfThePodAreResizedAsThoseOfContainers) {
  const std::string spec =
      R"({"resources":{"requests":{"cpu":"2","hugepages-2Mi":"4Mi"}},
          "containers":[{"name":"c","resources":{"requests":{"cpu":"1","memory":"5"}}}]})";
  struct Row {
    const char* rule;
    const char* status;
    std::int64_t milli_cpu, huge_pages;
  };
  const std::vector<Row> rows = {
      {"without a report what is wanted", R"({"allocatedResources":{"cpu":"5"}})", 2000, 4 << 20},
      {"in use", R"({"resources":{"requests":{"cpu":"3"}},"allocatedResources":{"cpu":"1"}})", 3000, 4 << 20},
      {"promised", R"({"resources":{"requests":{"cpu":"1"}},"allocatedResources":{"cpu":"4","hugepages-2Mi":"6Mi"}})",
       4000, 6 << 20},
      {"infeasible",
       R"({"conditions":[{"type":"PodResizePending","reason":"Infeasible"}],"resources":{"requests":{"cpu":"1"}}})",
       1000, 0},
  };
  for (const Row& row : rows) {
    const auto info = pod_with_status(spec, row.status);
    EXPECT_EQ(info.requests.milli_cpu, row.milli_cpu) << row.rule;
    EXPECT_EQ(info.requests.amount("hugepages-2Mi"), row.huge_pages) << row.rule;
    EXPECT_EQ(info.requests.memory, 5) << row.rule;
  }
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

TEST(NodeInfo, KnowsTheLowestPriorityOfItsPods) {
  NodeInfo info = node(R"("spec":{})");
  EXPECT_FALSE(info.has_pods_below(1'000'000));
  info.add_pod(pod("a", R"({"priority":5})"));
  info.add_pod(pod("b", R"({"priority":-3})"));
  info.add_pod(pod("c", R"({"priority":-3})"));
  EXPECT_TRUE(info.has_pods_below(-2));
  EXPECT_FALSE(info.has_pods_below(-3));
  info.remove_pod("u-b");
  EXPECT_TRUE(info.has_pods_below(-2));
  info.remove_pod("u-c");
  EXPECT_FALSE(info.has_pods_below(5));
  EXPECT_TRUE(info.has_pods_below(6));
  info.replace_pod(*info.pods.front(), pod("a", R"({"priority":5})"));
  EXPECT_EQ(info.priorities, (std::vector<std::pair<std::int64_t, std::size_t>>{{5, 1}}));
  info.remove_pod("u-a");
  EXPECT_TRUE(info.priorities.empty());
}

TEST(NodeInfo, IsNoLongerTheCachesOnceItsPodsAreImagined) {
  NodeInfo info = node(R"("spec":{})");
  info.generation = 7;
  NodeInfo imagined = info;
  EXPECT_EQ(imagined.generation, 7U);
  imagined.add_pod(pod("a", "{}"));
  EXPECT_EQ(imagined.generation, 0U);
  imagined.generation = 8;
  imagined.remove_pod("u-a");
  EXPECT_EQ(imagined.generation, 0U);
}

TEST(PodInfo, KnowsWhenItStarted) {
  const auto object = api::Object::parse(
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"status":{"startTime":"1970-01-01T00:00:02Z"}})");
  EXPECT_EQ(PodInfo(*object).started, Clock::WallTime(std::chrono::seconds(2)));
  EXPECT_FALSE(pod("a", "{}")->started);
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
