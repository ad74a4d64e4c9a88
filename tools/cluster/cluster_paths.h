// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include <kubernel/base/result.h>

namespace kubernel::cluster {

// Where one cluster keeps its files. Everything it makes on disk is below `directory`.
struct ClusterPaths {
  std::string directory;

  std::string record() const { return directory + "/cluster.json"; }
  std::string pki() const { return directory + "/pki"; }
  std::string kubeconfig() const { return directory + "/kubeconfig"; }
  std::string notify_socket() const { return directory + "/notify.sock"; }
  std::string log() const { return directory + "/cluster.log"; }
  std::string node(int number) const { return directory + "/nodes/node-" + std::to_string(number); }
  std::string node_log(int number) const { return node(number) + "/kubernel.log"; }
  // The cgroup all of the cluster's processes are below, relative to a hierarchy's root.
  std::string cgroup() const;
};

// `name` must be a DNS label. Errors: BadRequest.
Result<ClusterPaths> cluster_paths(const std::string& base_directory, const std::string& name);

// What `up` decided and later commands need.
struct ClusterRecord {
  std::string name;
  int nodes = 1;
  int api_port = 0;  // On the host's 127.0.0.1.
  int pid = 0;       // Of the process that holds the cluster's namespaces, in the host's pid namespace.
  std::uint64_t started =
      0;  // That process's start time (proc(5) field 22), so that a reused pid is not mistaken for it.
};

Result<void> save_record(const ClusterPaths& paths, const ClusterRecord& record);
// Errors: NotFound when there is no such cluster; Invalid when its record cannot be read.
Result<ClusterRecord> load_record(const ClusterPaths& paths);

// True when the holder of the cluster's namespaces lives.
bool is_running(const ClusterRecord& record);
// Start time of a process; 0 when there is none.
std::uint64_t process_start_time(int pid);
// The first child of a process; 0 when it has none.
int first_child(int pid);

std::string node_name(int number);
std::string node_ip(int number);
std::string pod_cidr(int number);

}  // namespace kubernel::cluster
