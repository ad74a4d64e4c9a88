// SPDX-License-Identifier: Apache-2.0
//
// Machine: what this computer is and has, read from /proc, /sys and /etc.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kubernel::kubelet {

struct Machine {
  std::int64_t cpus = 0;          // What this process may use: affinity and cgroup quota count.
  std::int64_t memory_bytes = 0;  // The smaller of the machine's and the own cgroup's limit.
  std::int64_t available_memory_bytes = 0;
  std::int64_t disk_bytes = 0, available_disk_bytes = 0, inodes = 0,
               available_inodes = 0;  // Of the kubelet's file system.
  std::int64_t max_pids = 0, pids = 0;
  std::string machine_id, system_uuid, boot_id, kernel_version, os_image, architecture;
  std::int64_t lowest_oom_score_adj = 0;  // -1000 with CAP_SYS_RESOURCE, else this process's own.
};

// `root` is "" on a real machine; a test gives a directory that has proc/, sys/ and etc/. What cannot be read stays
// zero or empty.
Machine read_machine(const std::string& root, const std::string& kubelet_directory);

// The addresses of interfaces that are up, global ones, IPv4 first.
std::vector<std::string> global_addresses();

}  // namespace kubernel::kubelet
