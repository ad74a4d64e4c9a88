// SPDX-License-Identifier: Apache-2.0
#include "cgroups.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <set>
#include <sstream>

#include "files.h"

namespace kubernel::runtime::oci {
namespace {

constexpr std::int64_t kMinShares = 2, kMaxShares = 262'144;
constexpr const char* kUnifiedPlace = "/sys/fs/cgroup/unified";
constexpr const char* kV2Controllers[] = {"cpu", "cpuset", "io", "memory", "pids"};

std::vector<std::string> words(std::string_view text, char separator) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::size_t end = text.find(separator);
    if (end != 0) out.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return out;
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

std::int64_t number(std::string_view text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// The value after `key` in lines of "key value".
std::int64_t keyed(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ')
      return number(line.substr(key.size() + 1));
  }
  return 0;
}

// A group's directories, deepest first, the group itself last.
std::vector<std::string> groups_in(const std::string& directory) {
  std::vector<std::string> out;
  std::error_code code;
  for (auto it = std::filesystem::recursive_directory_iterator(directory, code);
       !code && it != std::filesystem::recursive_directory_iterator(); it.increment(code)) {
    if (it->is_directory(code)) out.push_back(it->path().string());
  }
  std::ranges::sort(out, [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
  if (exists(directory)) out.push_back(directory);
  return out;
}

std::set<pid_t> processes_in(const std::string& directory) {
  std::set<pid_t> out;
  for (const std::string& group : groups_in(directory)) {
    const auto text = read_file(group + "/cgroup.procs");
    if (!text) continue;
    for (const std::string& pid : words(*text, '\n')) out.insert(static_cast<pid_t>(number(pid)));
  }
  out.erase(0);  // A process of another pid namespace.
  return out;
}

// Kills and waits until they are gone, or the deadline.
void end_processes(const CallContext& ctx, const std::set<pid_t>& pids) {
  for (const pid_t pid : pids) {
    const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (!process) continue;
    kill(pid, SIGKILL);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(ctx.deadline - CallContext::Clock::now()).count();
    pollfd ended{process.get(), POLLIN, 0};
    poll(&ended, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 5'000)));
  }
}

Result<void> set(const std::string& file, const std::string& value) {
  return write_existing(file, value);
}

}  // namespace

std::int64_t cpu_weight(std::int64_t shares) {
  const std::int64_t bounded = std::clamp(shares, kMinShares, kMaxShares);
  return 1 + (bounded - kMinShares) * 9'999 / (kMaxShares - kMinShares);
}

Result<Cgroups> Cgroups::from_mountinfo(std::string_view text) {
  static const std::set<std::string> kControllers = {"blkio",      "cpu",     "cpuacct", "cpuset",  "devices",
                                                     "freezer",    "hugetlb", "memory",  "net_cls", "net_prio",
                                                     "perf_event", "pids",    "rdma"};
  Cgroups out;
  for (const std::string& line : words(text, '\n')) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const auto before = words(line.substr(0, dash), ' ');
    const auto after = words(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    const std::string& mount_point = before[4];
    if (after[0] == "cgroup2" && out.unified_.empty()) out.unified_ = mount_point;
    if (after[0] != "cgroup") continue;
    for (const std::string& option : words(after[2], ',')) {
      if (kControllers.contains(option) || option.starts_with("name="))
        out.by_controller_.try_emplace(option, mount_point);
    }
  }
  if (out.by_controller_.empty() && out.unified_.empty())
    return Error(Reason::Internal, "no control group file system is mounted");
  return out;
}

Result<Cgroups> Cgroups::detect() {
  KUBERNEL_TRY(const std::string text, read_file("/proc/self/mountinfo"));
  return from_mountinfo(text);
}

bool Cgroups::hybrid_with_controllers() const {
  if (v2() || unified_.empty()) return false;
  const auto controllers = read_file(unified_ + "/cgroup.controllers");
  return controllers && !trimmed(*controllers).empty();
}

bool Cgroups::accounts_swap() const {
  if (v2()) return exists("/proc/swaps");
  const auto memory = by_controller_.find("memory");
  return memory != by_controller_.end() && exists(memory->second + "/memory.memsw.limit_in_bytes");
}

std::vector<std::string> Cgroups::trees() const {
  std::set<std::string> out;
  for (const auto& [controller, mount_point] : by_controller_) out.insert(mount_point);
  if (!unified_.empty()) out.insert(unified_);
  return {out.begin(), out.end()};
}

std::string Cgroups::at(const std::string& controller, const std::string& path, const std::string& file) const {
  if (v2()) return unified_ + path + "/" + file;
  const auto found = by_controller_.find(controller);
  return found == by_controller_.end() ? std::string() : found->second + path + "/" + file;
}

// A new v1 cpuset is empty, and no process may enter an empty one.
Result<void> Cgroups::inherit_cpuset(const std::string& tree, const std::string& path) const {
  std::string done = tree;
  for (const std::string& part : words(path, '/')) {
    const std::string parent = done;
    done += "/" + part;
    for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) {
      KUBERNEL_TRY(const std::string own, read_file(done + file));
      if (!trimmed(own).empty()) continue;
      KUBERNEL_TRY(const std::string inherited, read_file(parent + file));
      KUBERNEL_CHECK_OK(set(done + file, trimmed(inherited)));
    }
  }
  return {};
}

Result<void> Cgroups::make(const std::string& path, const Resources& resources) const {
  if (!path.starts_with('/') || path.find("..") != std::string::npos) {
    return Error(Reason::Invalid, "control group \"" + path + "\" is not an absolute path");
  }
  return v2() ? make_v2(path, resources) : make_v1(path, resources);
}

Result<void> Cgroups::make_v1(const std::string& path, const Resources& r) const {
  for (const auto& [controller, tree] : by_controller_) KUBERNEL_CHECK_OK(make_directories(tree + path));
  if (const auto cpuset = by_controller_.find("cpuset"); cpuset != by_controller_.end()) {
    KUBERNEL_CHECK_OK(inherit_cpuset(cpuset->second, path));
    if (!r.cpuset_cpus.empty()) KUBERNEL_CHECK_OK(set(at("cpuset", path, "cpuset.cpus"), r.cpuset_cpus));
    if (!r.cpuset_mems.empty()) KUBERNEL_CHECK_OK(set(at("cpuset", path, "cpuset.mems"), r.cpuset_mems));
  }
  if (by_controller_.contains("cpu")) {
    if (r.cpu_shares > 0)
      KUBERNEL_CHECK_OK(set(at("cpu", path, "cpu.shares"), std::to_string(std::max(kMinShares, r.cpu_shares))));
    if (r.cpu_period_us > 0)
      KUBERNEL_CHECK_OK(set(at("cpu", path, "cpu.cfs_period_us"), std::to_string(r.cpu_period_us)));
    if (r.cpu_quota_us > 0) KUBERNEL_CHECK_OK(set(at("cpu", path, "cpu.cfs_quota_us"), std::to_string(r.cpu_quota_us)));
  }
  if (r.memory_limit > 0 && by_controller_.contains("memory")) {
    KUBERNEL_CHECK_OK(set(at("memory", path, "memory.limit_in_bytes"), std::to_string(r.memory_limit)));
  }
  if (r.pids_limit > 0 && by_controller_.contains("pids")) {
    KUBERNEL_CHECK_OK(set(at("pids", path, "pids.max"), std::to_string(r.pids_limit)));
  }
  return {};
}

Result<void> Cgroups::make_v2(const std::string& path, const Resources& r) const {
  std::string done = unified_;
  for (const std::string& part : words(path, '/')) {
    // A parent hands its controllers on before the child can have them.
    const auto available = read_file(done + "/cgroup.controllers");
    const auto names = available ? words(trimmed(*available), ' ') : std::vector<std::string>();
    for (const char* controller : kV2Controllers) {
      if (std::ranges::count(names, controller) > 0) {
        KUBERNEL_CHECK_OK(set(done + "/cgroup.subtree_control", std::string("+") + controller));
      }
    }
    done += "/" + part;
    KUBERNEL_CHECK_OK(make_directories(done));
  }
  if (r.cpu_shares > 0) KUBERNEL_CHECK_OK(set(done + "/cpu.weight", std::to_string(cpu_weight(r.cpu_shares))));
  if (r.cpu_quota_us > 0) {
    const std::int64_t period = r.cpu_period_us > 0 ? r.cpu_period_us : 100'000;
    KUBERNEL_CHECK_OK(set(done + "/cpu.max", std::to_string(r.cpu_quota_us) + " " + std::to_string(period)));
  }
  if (r.memory_limit > 0) KUBERNEL_CHECK_OK(set(done + "/memory.max", std::to_string(r.memory_limit)));
  if (r.pids_limit > 0) KUBERNEL_CHECK_OK(set(done + "/pids.max", std::to_string(r.pids_limit)));
  if (!r.cpuset_cpus.empty()) KUBERNEL_CHECK_OK(set(done + "/cpuset.cpus", r.cpuset_cpus));
  if (!r.cpuset_mems.empty()) KUBERNEL_CHECK_OK(set(done + "/cpuset.mems", r.cpuset_mems));
  return {};
}

void Cgroups::kill_all(const std::string& path) const {
  if (v2() && write_existing(unified_ + path + "/cgroup.kill", "1")) return;
  for (const std::string& tree : trees()) {
    for (const pid_t pid : processes_in(tree + path)) kill(pid, SIGKILL);
  }
}

Result<void> Cgroups::remove(const CallContext& ctx, const std::string& path) const {
  constexpr int kAttempts = 5;  // Each waits for the processes it saw; more can only be ones started meanwhile.
  for (const std::string& tree : trees()) {
    for (int attempt = 0; exists(tree + path); ++attempt) {
      int code = 0;
      for (const std::string& group : groups_in(tree + path)) {
        if (rmdir(group.c_str()) != 0 && errno != ENOENT) code = errno;
      }
      if (code == 0) break;
      if (attempt == kAttempts || ctx.stopping()) return file_error("remove control group", tree + path, code);
      end_processes(ctx, processes_in(tree + path));
    }
  }
  // crun makes plain directories and files at the place of a version 2 tree also where none is mounted.
  if (unified_.empty()) return remove_tree(kUnifiedPlace + path);
  return {};
}

Result<Usage> Cgroups::usage(const std::string& path) const {
  Usage out;
  if (v2()) {
    KUBERNEL_TRY(const std::string cpu, read_file(at("", path, "cpu.stat")));
    KUBERNEL_TRY(const std::string current, read_file(at("", path, "memory.current")));
    KUBERNEL_TRY(const std::string stat, read_file(at("", path, "memory.stat")));
    out.cpu_nanoseconds = keyed(cpu, "usage_usec") * 1'000;
    out.memory_working_set_bytes = std::max<std::int64_t>(0, number(current) - keyed(stat, "inactive_file"));
    out.memory_rss_bytes = keyed(stat, "anon");
    return out;
  }
  KUBERNEL_TRY(const std::string cpu, read_file(at("cpuacct", path, "cpuacct.usage")));
  KUBERNEL_TRY(const std::string current, read_file(at("memory", path, "memory.usage_in_bytes")));
  KUBERNEL_TRY(const std::string stat, read_file(at("memory", path, "memory.stat")));
  out.cpu_nanoseconds = number(cpu);
  out.memory_working_set_bytes = std::max<std::int64_t>(0, number(current) - keyed(stat, "total_inactive_file"));
  out.memory_rss_bytes = keyed(stat, "total_rss");
  return out;
}

std::int64_t Cgroups::oom_kills(const std::string& path) const {
  const auto text = read_file(v2() ? at("", path, "memory.events") : at("memory", path, "memory.oom_control"));
  return text ? keyed(*text, "oom_kill") : 0;
}

}  // namespace kubernel::runtime::oci
