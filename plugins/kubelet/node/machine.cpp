// SPDX-License-Identifier: Apache-2.0
#include "node/machine.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace kubernel::kubelet {

namespace {

constexpr int kCapSysResource = 24;

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  std::string out = text.str();
  while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
  return out;
}

std::int64_t read_number(const std::string& path) {
  const std::string text = read_text(path);
  // "max" is no limit.
  return text.empty() || text == "max" ? 0 : std::strtoll(text.c_str(), nullptr, 10);
}

// The number after "Name:" in a file like /proc/meminfo.
std::int64_t field(const std::string& text, const std::string& name, int base) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + ":"))
      return static_cast<std::int64_t>(std::strtoull(line.c_str() + name.size() + 1, nullptr, base));
  }
  return 0;
}

std::string os_image(const std::string& root) {
  for (const char* path : {"/etc/os-release", "/usr/lib/os-release"}) {
    std::istringstream lines(read_text(root + path));
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("PRETTY_NAME=")) continue;
      std::string name = line.substr(12);
      std::erase(name, '"');
      return name;
    }
  }
  return "Linux";
}

// The own cgroup's path for a v1 controller, or the unified one (controller "").
std::string own_cgroup(const std::string& root, const std::string& controller) {
  std::istringstream lines(read_text(root + "/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controller.empty() ? names == ",," : names.find("," + controller + ",") != std::string::npos)
      return line.substr(second + 1);
  }
  return {};
}

std::int64_t memory_limit(const std::string& root) {
  std::int64_t limit = 0;
  const auto consider = [&](std::int64_t value) {
    if (value > 0 && (limit == 0 || value < limit)) limit = value;
  };
  const std::string cgroup = root + "/sys/fs/cgroup";
  if (const auto own = own_cgroup(root, "memory"); !own.empty()) {
    consider(read_number(cgroup + "/memory" + own + "/memory.limit_in_bytes"));
  }
  consider(read_number(cgroup + own_cgroup(root, "") + "/memory.max"));
  return limit;
}

std::int64_t cpu_count(const std::string& root) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::int64_t count = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  const std::string cgroup = root + "/sys/fs/cgroup";
  std::int64_t quota = 0, period = 0;
  if (const auto own = own_cgroup(root, "cpu"); !own.empty()) {
    quota = read_number(cgroup + "/cpu" + own + "/cpu.cfs_quota_us");
    period = read_number(cgroup + "/cpu" + own + "/cpu.cfs_period_us");
  } else {
    std::istringstream max(read_text(cgroup + own_cgroup(root, "") + "/cpu.max"));
    std::string first;
    max >> first >> period;
    quota = first == "max" ? 0 : std::strtoll(first.c_str(), nullptr, 10);
  }
  if (quota > 0 && period > 0) count = std::min(count, std::max<std::int64_t>(1, quota / period));
  return count;
}

}  // namespace

Machine read_machine(const std::string& root, const std::string& kubelet_directory) {
  Machine out;
  out.cpus = cpu_count(root);
  const std::string memory = read_text(root + "/proc/meminfo");
  out.memory_bytes = field(memory, "MemTotal", 10) * 1024;
  out.available_memory_bytes = field(memory, "MemAvailable", 10) * 1024;
  if (const std::int64_t limit = memory_limit(root); limit > 0 && limit < out.memory_bytes) {
    out.memory_bytes = limit;
    out.available_memory_bytes = std::min(out.available_memory_bytes, limit);
  }
  // Before the first pod the directory may not be there yet; it will be on the disk of the nearest parent that is.
  std::error_code unknown;
  std::filesystem::path directory = kubelet_directory;
  while (directory.has_relative_path() && !std::filesystem::exists(directory, unknown))
    directory = directory.parent_path();
  struct statvfs disk {};
  if (::statvfs(directory.c_str(), &disk) == 0) {
    const auto block = static_cast<std::int64_t>(disk.f_frsize);
    out.disk_bytes = static_cast<std::int64_t>(disk.f_blocks) * block;
    out.available_disk_bytes = static_cast<std::int64_t>(disk.f_bavail) * block;
    out.inodes = static_cast<std::int64_t>(disk.f_files);
    out.available_inodes = static_cast<std::int64_t>(disk.f_favail);
  }
  out.max_pids = read_number(root + "/proc/sys/kernel/pid_max");
  const std::string load = read_text(root + "/proc/loadavg");
  if (const auto slash = load.find('/'); slash != std::string::npos)
    out.pids = std::strtoll(load.c_str() + slash + 1, nullptr, 10);
  out.machine_id = read_text(root + "/etc/machine-id");
  out.system_uuid = read_text(root + "/sys/class/dmi/id/product_uuid");
  out.boot_id = read_text(root + "/proc/sys/kernel/random/boot_id");
  out.os_image = os_image(root);
  struct utsname names {};
  if (::uname(&names) == 0) {
    out.kernel_version = names.release;
    const std::string machine(names.machine);
    out.architecture = machine == "x86_64" ? "amd64" : machine == "aarch64" ? "arm64" : machine;
  }
  const auto capabilities = static_cast<std::uint64_t>(field(read_text(root + "/proc/self/status"), "CapEff", 16));
  const bool may_lower = (capabilities >> kCapSysResource & 1U) != 0;
  out.lowest_oom_score_adj = may_lower ? -1000 : read_number(root + "/proc/self/oom_score_adj");
  return out;
}

std::vector<std::string> global_addresses() {
  std::vector<std::string> v4, v6;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || (at->ifa_flags & IFF_UP) == 0 || (at->ifa_flags & IFF_LOOPBACK) != 0) continue;
    char text[INET6_ADDRSTRLEN] = {};
    if (at->ifa_addr->sa_family == AF_INET) {
      const auto* address = reinterpret_cast<const sockaddr_in*>(at->ifa_addr);
      if (::inet_ntop(AF_INET, &address->sin_addr, text, sizeof text) != nullptr) v4.emplace_back(text);
    } else if (at->ifa_addr->sa_family == AF_INET6) {
      const auto* address = reinterpret_cast<const sockaddr_in6*>(at->ifa_addr);
      if (IN6_IS_ADDR_LINKLOCAL(&address->sin6_addr)) continue;
      if (::inet_ntop(AF_INET6, &address->sin6_addr, text, sizeof text) != nullptr) v6.emplace_back(text);
    }
  }
  ::freeifaddrs(list);
  v4.insert(v4.end(), v6.begin(), v6.end());
  return v4;
}

}  // namespace kubernel::kubelet
