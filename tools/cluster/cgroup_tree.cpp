// SPDX-License-Identifier: Apache-2.0
#include "cgroup_tree.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "files.h"

namespace kubernel::cluster {
namespace {

namespace fs = std::filesystem;

// What containers are limited by; "systemd" is where runtimes keep track of processes.
constexpr const char* kControllers[] = {"cpu",     "cpuacct", "cpuset", "memory", "devices",
                                        "freezer", "blkio",   "pids",   "systemd"};

// A version 1 cpuset takes no process until it names processors and memory nodes.
Result<void> inherit_cpuset(const std::string& parent, const std::string& child) {
  for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) {
    KUBERNEL_CHECK_OK(write_control_file(child + file, read_text(parent + file)));
  }
  return {};
}

Result<void> remove_tree(const std::string& top) {
  if (!fs::exists(top)) return {};
  std::vector<std::string> directories;
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(top, ignored)) {
    if (entry.is_directory()) directories.push_back(entry.path());
  }
  directories.push_back(top);
  // Deepest first: a path is always longer than the ones above it.
  std::ranges::sort(directories, [](const auto& a, const auto& b) { return a.size() > b.size(); });
  for (const std::string& directory : directories) {
    if (rmdir(directory.c_str()) != 0 && errno != ENOENT) return system_error("remove cgroup", directory);
  }
  return {};
}

Result<void> mount_at(const char* source, const std::string& target, const char* type, unsigned long flags,
                      const char* data) {
  if (mkdir(target.c_str(), 0755) != 0 && errno != EEXIST) return system_error("make directory", target);
  if (mount(source, target.c_str(), type, flags, data) != 0) return system_error("mount", target);
  return {};
}

}  // namespace

CgroupTree::CgroupTree(std::string name, std::string root) : name_(std::move(name)), root_(std::move(root)) {
  unified_ = fs::exists(root_ + "/cgroup.controllers");
  if (unified_) return;
  for (const char* controller : kControllers) {
    if (fs::is_directory(root_ + "/" + controller)) controllers_.emplace_back(controller);
  }
}

std::vector<std::string> CgroupTree::hierarchies() const {
  if (unified_) return {root_};
  std::vector<std::string> out;
  for (const std::string& controller : controllers_) out.push_back(root_ + "/" + controller);
  return out;
}

Result<void> CgroupTree::create(const std::string& node) const {
  for (const std::string& hierarchy : hierarchies()) {
    const std::string cluster = hierarchy + "/" + name_;
    const std::string leaf = cluster + "/" + node;
    KUBERNEL_CHECK_OK(make_directory(leaf));
    if (hierarchy.ends_with("/cpuset")) {
      KUBERNEL_CHECK_OK(inherit_cpuset(hierarchy, cluster));
      KUBERNEL_CHECK_OK(inherit_cpuset(cluster, leaf));
    }
    if (unified_) {
      for (const std::string& parent : {root_, cluster}) {
        KUBERNEL_CHECK_OK(write_control_file(parent + "/cgroup.subtree_control", "+cpu +cpuset +memory +pids +io"));
      }
    }
  }
  return {};
}

Result<void> CgroupTree::enter(const std::string& node) const {
  for (const std::string& hierarchy : hierarchies()) {
    KUBERNEL_CHECK_OK(write_control_file(hierarchy + "/" + name_ + "/" + node + "/cgroup.procs", "0"));
  }
  return {};
}

Result<void> CgroupTree::remove() const {
  for (const std::string& hierarchy : hierarchies()) KUBERNEL_CHECK_OK(remove_tree(hierarchy + "/" + name_));
  return {};
}

Result<void> mount_own_cgroups(const CgroupTree& tree) {
  // The old /sys shows the parent's network and cgroups.
  if (umount2("/sys", MNT_DETACH) != 0 && errno != EINVAL) return system_error("unmount", "/sys");
  KUBERNEL_CHECK_OK(mount_at("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr));
  if (tree.unified()) {
    KUBERNEL_CHECK_OK(mount_at("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr));
    // A version 2 cgroup that delegates controllers holds no processes itself.
    KUBERNEL_CHECK_OK(make_directory("/sys/fs/cgroup/init"));
    KUBERNEL_CHECK_OK(write_control_file("/sys/fs/cgroup/init/cgroup.procs", "0"));
    return write_control_file("/sys/fs/cgroup/cgroup.subtree_control", "+cpu +cpuset +memory +pids +io");
  }
  KUBERNEL_CHECK_OK(mount_at("cgroup", "/sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755"));
  for (const std::string& controller : tree.controllers()) {
    const std::string options = controller == "systemd" ? "none,name=systemd" : controller;
    KUBERNEL_CHECK_OK(mount_at("cgroup", "/sys/fs/cgroup/" + controller, "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                               options.c_str()));
  }
  return {};
}

}  // namespace kubernel::cluster
