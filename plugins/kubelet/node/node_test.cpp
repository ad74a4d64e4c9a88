// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "node/machine.h"
#include "node/node_agent.h"
#include "node/node_status.h"
#include "testing.h"

namespace kubernel::kubelet {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

class NodeBench {
 public:
  NodeBench() {
    config.node_name = "n1";
    config.pod_cidrs = {"10.244.1.0/24"};
    config.labels = {{"zone", "a"}};
    config.taints = {{"dedicated", "x", "NoSchedule"}};
    machine.cpus = 2;
    machine.memory_bytes = 4LL << 30;
    machine.available_memory_bytes = 2LL << 30;
    machine.disk_bytes = 100LL << 30;
    machine.available_disk_bytes = 50LL << 30;
    machine.architecture = "amd64";
    machine.max_pids = 32768;
    cluster.put_text(api::resources::kNamespaces, R"({"metadata":{"name":"kube-node-lease"}})");
  }
  void start() {
    agent = std::make_unique<NodeAgent>(
        config, cluster, tasks, log,
        [this] {
          return NodeInput{.config = config,
                           .machine = machine,
                           .addresses = {"192.168.0.7"},
                           .hostname = "host",
                           .port = 10250,
                           .runtime_version = "fake://1",
                           .kubelet_version = "v1.36.0",
                           .images = images,
                           .network_problem = network_problem,
                           .now = clock.wall_now()};
        },
        [](const api::Object&) {});
    agent->start();
    executor.run_all();
  }
  void advance(std::chrono::seconds by) {
    for (; by > 0s; by -= 1s) {
      clock.advance(1s);
      executor.run_all();
    }
  }
  json node() { return cluster.find(api::resources::kNodes, {{}, "n1"})->to_json(); }
  json condition(const std::string& type) {
    const json all = node()["status"]["conditions"];
    for (const auto& one : all) {
      if (one["type"] == type) return one;
    }
    return nullptr;
  }

  testing::FakeClock clock;
  testing::FakeCluster cluster{clock};
  testing::ManualExecutor executor;
  testing::RecordingLogger log;
  Tasks tasks{executor, clock, log};
  Config config;
  Machine machine;
  std::vector<runtime::Image> images;
  std::string network_problem;
  std::unique_ptr<NodeAgent> agent;
};

TEST(NodeAgent, RegistersTheNode) {
  NodeBench bench;
  bench.start();
  const json node = bench.node();
  EXPECT_EQ(node["metadata"]["labels"]["kubernetes.io/hostname"], "host");
  EXPECT_EQ(node["metadata"]["labels"]["kubernetes.io/arch"], "amd64");
  EXPECT_EQ(node["metadata"]["labels"]["zone"], "a");
  EXPECT_EQ(node["spec"]["podCIDR"], "10.244.1.0/24");
  EXPECT_EQ(node["spec"]["taints"][0]["key"], "dedicated");
  EXPECT_EQ(node["status"]["capacity"]["cpu"], "2");
  EXPECT_EQ(node["status"]["capacity"]["memory"], "4194304Ki");
  EXPECT_EQ(node["status"]["allocatable"]["memory"], "4091904Ki");
  EXPECT_EQ(node["status"]["allocatable"]["pods"], "110");
  EXPECT_EQ(node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"], 10250);
  EXPECT_EQ(node["status"]["nodeInfo"]["containerRuntimeVersion"], "fake://1");
  EXPECT_EQ(bench.condition("Ready")["status"], "True");
  EXPECT_EQ(bench.condition("MemoryPressure")["status"], "False");
  EXPECT_EQ(bench.agent->problem(), "");
}

TEST(NodeAgent, WritesTheStatusOnlyWhenItChangedOrAfterFiveMinutes) {
  NodeBench bench;
  bench.start();
  const auto version = bench.node()["metadata"]["resourceVersion"];
  bench.advance(290s);
  EXPECT_EQ(bench.node()["metadata"]["resourceVersion"], version);
  bench.advance(20s);
  EXPECT_NE(bench.node()["metadata"]["resourceVersion"], version);
  bench.images.push_back({.id = "sha256:x", .tags = {"a:1"}, .size_bytes = 7});
  bench.advance(10s);
  EXPECT_EQ(bench.node()["status"]["images"][0]["names"][0], "a:1");
}

TEST(NodeAgent, ReportsPressureAndAMissingNetwork) {
  NodeBench bench;
  bench.network_problem = "no plugin";
  bench.machine.available_disk_bytes = 1LL << 30;
  bench.start();
  EXPECT_EQ(bench.condition("Ready")["status"], "False");
  EXPECT_EQ(bench.condition("Ready")["message"], "container runtime network not ready: no plugin");
  EXPECT_EQ(bench.condition("DiskPressure")["status"], "True");
  const json since = bench.condition("DiskPressure")["lastTransitionTime"];
  bench.network_problem.clear();
  bench.advance(10s);
  EXPECT_EQ(bench.condition("Ready")["status"], "True");
  EXPECT_EQ(bench.condition("DiskPressure")["lastTransitionTime"], since);
}

TEST(NodeAgent, LooksAgainAtOnceWhenSomethingChangedDuringALook) {
  NodeBench bench;
  bench.network_problem = "not configured yet";
  // The network comes up while the first status, which was read before, is being written.
  bool came_up = false;
  bench.cluster.on_call(
      [&](std::string_view verb, const api::Resource& resource, const api::ObjectKey&) -> Result<void> {
        if (resource == api::resources::kNodes && verb != "get" && !std::exchange(came_up, true)) {
          bench.network_problem.clear();
          bench.agent->observe_soon();
        }
        return {};
      });
  bench.start();
  bench.clock.advance(0s);
  bench.executor.run_all();
  EXPECT_TRUE(came_up);
  EXPECT_EQ(bench.condition("Ready")["status"], "True");
}

TEST(NodeAgent, RenewsItsLease) {
  NodeBench bench;
  bench.start();
  bench.advance(1s);
  const auto lease = [&] { return bench.cluster.find(api::resources::kLeases, {"kube-node-lease", "n1"})->to_json(); };
  const json first = lease();
  EXPECT_EQ(first["spec"]["holderIdentity"], "n1");
  EXPECT_EQ(first["spec"]["leaseDurationSeconds"], 40);
  EXPECT_EQ(first["metadata"]["ownerReferences"][0]["kind"], "Node");
  bench.advance(10s);
  EXPECT_NE(lease()["spec"]["renewTime"], first["spec"]["renewTime"]);
}

TEST(NodeAgent, GoesOnWhenTheApiWasAwayAndWhenTheNodeWasDeleted) {
  NodeBench bench;
  bench.cluster.fail_next("get", api::resources::kNodes, Error(Reason::ServiceUnavailable, "away"), 4);
  bench.start();
  EXPECT_NE(bench.agent->problem(), "");
  bench.advance(10s);
  EXPECT_EQ(bench.agent->problem(), "");
  bench.cluster.erase(api::resources::kNodes, {{}, "n1"});
  bench.advance(11s);
  EXPECT_TRUE(bench.cluster.find(api::resources::kNodes, {{}, "n1"}));
}

TEST(NodeAgent, TakesOverANodeThatExistsAndKeepsWhatOthersWrote) {
  NodeBench bench;
  bench.cluster.put_text(api::resources::kNodes,
                         R"({"metadata":{"name":"n1","labels":{"mine":"1"}},"spec":{"unschedulable":true}})");
  bench.start();
  const json node = bench.node();
  EXPECT_EQ(node["metadata"]["labels"]["mine"], "1");
  EXPECT_EQ(node["metadata"]["labels"]["zone"], "a");
  EXPECT_EQ(node["spec"]["unschedulable"], true);
  EXPECT_EQ(node["spec"]["podCIDR"], "10.244.1.0/24");
}

TEST(Machine, ReadsAMachineFromItsFiles) {
  const testing::TemporaryDirectory root;
  const auto put = [&](const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root.path() + path).parent_path());
    std::ofstream(root.path() + path) << text;
  };
  put("/proc/meminfo", "MemTotal:        8000000 kB\nMemFree: 1 kB\nMemAvailable:    4000000 kB\n");
  put("/proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/x\n");
  put("/proc/self/status", "Name:\tx\nCapEff:\t000001fffeffffff\n");
  put("/proc/self/oom_score_adj", "5\n");
  put("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1073741824\n");
  put("/proc/sys/kernel/pid_max", "32768\n");
  put("/proc/loadavg", "0.1 0.2 0.3 2/345 999\n");
  put("/etc/os-release", "NAME=x\nPRETTY_NAME=\"Debian 12\"\n");
  const Machine machine = read_machine(root.path(), root.path());
  EXPECT_EQ(machine.memory_bytes, 1LL << 30);
  EXPECT_EQ(machine.available_memory_bytes, 1LL << 30);
  EXPECT_EQ(machine.max_pids, 32768);
  EXPECT_EQ(machine.pids, 345);
  EXPECT_EQ(machine.os_image, "Debian 12");
  EXPECT_EQ(machine.lowest_oom_score_adj, 5);
  EXPECT_GT(machine.disk_bytes, 0);
  EXPECT_GE(machine.cpus, 1);
}

TEST(Machine, KnowsTheDiskBeforeTheDirectoryOfTheKubeletIsThere) {
  const testing::TemporaryDirectory root;
  EXPECT_GT(read_machine(root.path(), root.path() + "/not/there/yet").disk_bytes, 0);
}

TEST(NodeStatus, IsTheSameWhenTheServerWritesItsAmountsInAnotherWay) {
  const auto status = [](const char* memory) {
    return json{{"capacity", {{"memory", memory}}}, {"allocatable", {{"memory", memory}}}};
  };
  EXPECT_FALSE(status_changed(status("4Gi"), status("4194304Ki")));
  EXPECT_FALSE(status_changed(status("0"), status("0Ki")));
  EXPECT_TRUE(status_changed(status("4Gi"), status("4194305Ki")));
}

}  // namespace
}  // namespace kubernel::kubelet
