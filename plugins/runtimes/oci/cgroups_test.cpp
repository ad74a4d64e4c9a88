// SPDX-License-Identifier: Apache-2.0
#include "cgroups.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "files.h"
#include "test_directory.h"

namespace kubernel::runtime::oci {
namespace {

// A tree of plain files that looks like a mounted hierarchy.
class FakeTree {
 public:
  std::string mountinfo(const std::string& name, const std::string& type, const std::string& options) {
    std::filesystem::create_directories(dir_ / name);
    return "40 30 0:30 / " + (dir_ / name) + " rw,nosuid shared:9 - " + type + " cgroup " + options + "\n";
  }
  void write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(dir_ / file).parent_path());
    std::ofstream(dir_ / file) << text;
  }
  std::string read(const std::string& file) {
    return read_file(dir_ / file).has_value() ? *read_file(dir_ / file) : "<none>";
  }

 private:
  TestDirectory dir_;
};

TEST(Cgroups, WeightsAreThoseOfTheRuntimes) {
  EXPECT_EQ(cpu_weight(2), 1);
  EXPECT_EQ(cpu_weight(0), 1);
  EXPECT_EQ(cpu_weight(1024), 39);
  EXPECT_EQ(cpu_weight(262'144), 10'000);
  EXPECT_EQ(cpu_weight(1'000'000), 10'000);
}

TEST(Cgroups, TellsTheVersionsApart) {
  FakeTree tree;
  const auto v2 = Cgroups::from_mountinfo(tree.mountinfo("u", "cgroup2", "rw"));
  ASSERT_TRUE(v2);
  EXPECT_TRUE(v2->v2());
  const std::string v1_lines = tree.mountinfo("m", "cgroup", "rw,memory") +
                               tree.mountinfo("c", "cgroup", "rw,cpu,cpuacct") +
                               tree.mountinfo("s", "cgroup", "rw,xattr,name=systemd");
  const auto v1 = Cgroups::from_mountinfo(v1_lines);
  ASSERT_TRUE(v1);
  EXPECT_FALSE(v1->v2());
  EXPECT_FALSE(v1->hybrid_with_controllers());
  tree.write("u/cgroup.controllers", "");
  EXPECT_FALSE(Cgroups::from_mountinfo(v1_lines + tree.mountinfo("u", "cgroup2", "rw"))->hybrid_with_controllers());
  tree.write("u/cgroup.controllers", "hugetlb\n");
  EXPECT_TRUE(Cgroups::from_mountinfo(v1_lines + tree.mountinfo("u", "cgroup2", "rw"))->hybrid_with_controllers());
  EXPECT_FALSE(Cgroups::from_mountinfo("40 30 0:30 / /proc rw - proc proc rw\n"));
}

TEST(Cgroups, SetsVersion1Values) {
  FakeTree tree;
  const auto groups = Cgroups::from_mountinfo(
      tree.mountinfo("cpu", "cgroup", "rw,cpu") + tree.mountinfo("memory", "cgroup", "rw,memory") +
      tree.mountinfo("pids", "cgroup", "rw,pids") + tree.mountinfo("cpuset", "cgroup", "rw,cpuset"));
  ASSERT_TRUE(groups);
  for (const char* file : {"cpu/k/p/cpu.shares", "cpu/k/p/cpu.cfs_quota_us", "cpu/k/p/cpu.cfs_period_us",
                           "memory/k/p/memory.limit_in_bytes", "pids/k/p/pids.max"})
    tree.write(file, "");
  tree.write("cpuset/cpuset.cpus", "0-3\n");
  tree.write("cpuset/cpuset.mems", "0\n");
  for (const char* file :
       {"cpuset/k/cpuset.cpus", "cpuset/k/cpuset.mems", "cpuset/k/p/cpuset.cpus", "cpuset/k/p/cpuset.mems"})
    tree.write(file, "\n");
  Resources resources;
  resources.cpu_shares = 1;
  resources.cpu_quota_us = 50'000;
  resources.cpu_period_us = 100'000;
  resources.memory_limit = 64 << 20;
  resources.pids_limit = 100;
  const auto made = groups->make("/k/p", resources);
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(tree.read("cpu/k/p/cpu.shares"), "2");
  EXPECT_EQ(tree.read("cpu/k/p/cpu.cfs_quota_us"), "50000");
  EXPECT_EQ(tree.read("memory/k/p/memory.limit_in_bytes"), "67108864");
  EXPECT_EQ(tree.read("pids/k/p/pids.max"), "100");
  EXPECT_EQ(tree.read("cpuset/k/p/cpuset.cpus"), "0-3");
}

TEST(Cgroups, SetsVersion2ValuesAndHandsControllersDown) {
  FakeTree tree;
  const auto groups = Cgroups::from_mountinfo(tree.mountinfo("u", "cgroup2", "rw"));
  ASSERT_TRUE(groups);
  tree.write("u/cgroup.controllers", "cpuset cpu memory pids\n");
  for (const char* file : {"u/cgroup.subtree_control", "u/k/cgroup.subtree_control", "u/k/p/cpu.weight",
                           "u/k/p/cpu.max", "u/k/p/memory.max", "u/k/p/pids.max"})
    tree.write(file, "");
  Resources resources;
  resources.cpu_shares = 1024;
  resources.cpu_quota_us = 50'000;
  resources.memory_limit = 1 << 20;
  resources.pids_limit = 7;
  const auto made = groups->make("/k/p", resources);
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(tree.read("u/k/p/cpu.weight"), "39");
  EXPECT_EQ(tree.read("u/k/p/cpu.max"), "50000 100000");
  EXPECT_EQ(tree.read("u/k/p/memory.max"), "1048576");
  EXPECT_EQ(tree.read("u/k/p/pids.max"), "7");
  EXPECT_NE(tree.read("u/cgroup.subtree_control").find("+"), std::string::npos);
}

TEST(Cgroups, ReadsUsageOfBothVersions) {
  FakeTree tree;
  const auto v1 = Cgroups::from_mountinfo(tree.mountinfo("cpuacct", "cgroup", "rw,cpuacct") +
                                          tree.mountinfo("memory", "cgroup", "rw,memory"));
  tree.write("cpuacct/c/cpuacct.usage", "123456\n");
  tree.write("memory/c/memory.usage_in_bytes", "1000\n");
  tree.write("memory/c/memory.stat", "rss 1\ninactive_file 5\ntotal_rss 600\ntotal_inactive_file 300\n");
  tree.write("memory/c/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
  const auto old = v1->usage("/c");
  ASSERT_TRUE(old);
  EXPECT_EQ(old->cpu_nanoseconds, 123456);
  EXPECT_EQ(old->memory_working_set_bytes, 700);
  EXPECT_EQ(old->memory_rss_bytes, 600);
  EXPECT_EQ(v1->oom_kills("/c"), 2);
  EXPECT_EQ(v1->oom_kills("/gone"), 0);

  const auto v2 = Cgroups::from_mountinfo(tree.mountinfo("u", "cgroup2", "rw"));
  tree.write("u/c/cpu.stat", "usage_usec 99\nuser_usec 1\n");
  tree.write("u/c/memory.current", "100\n");
  tree.write("u/c/memory.stat", "anon 40\nfile 3\ninactive_file 120\n");
  tree.write("u/c/memory.events", "low 0\noom 3\noom_kill 1\n");
  const auto now = v2->usage("/c");
  ASSERT_TRUE(now);
  EXPECT_EQ(now->cpu_nanoseconds, 99'000);
  EXPECT_EQ(now->memory_working_set_bytes, 0);
  EXPECT_EQ(now->memory_rss_bytes, 40);
  EXPECT_EQ(v2->oom_kills("/c"), 1);
}

TEST(Cgroups, RefusesPathsThatLeaveTheTree) {
  FakeTree tree;
  const auto groups = Cgroups::from_mountinfo(tree.mountinfo("u", "cgroup2", "rw"));
  EXPECT_FALSE(groups->make("relative", {}));
  EXPECT_FALSE(groups->make("/a/../../b", {}));
}

}  // namespace
}  // namespace kubernel::runtime::oci
