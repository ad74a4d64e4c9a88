// SPDX-License-Identifier: Apache-2.0
//
// What runs inside a cluster's namespaces. Three processes hold a cluster together:
//
//   switch      first process of the outer namespaces (network, mounts, pids): a bridge that joins the nodes, and no
//   way out; enter-node  moves itself into the node's cgroups and becomes node        first process of a node's
//   namespaces: private /sys, /run and resolv.conf; keeps `kubernel run` running.
//
// When the switch ends, however it ends, the system ends every process of the cluster and takes its networks and mounts
// away.
#pragma once

#include <string>

#include <kubernel/base/result.h>

#include "cluster_paths.h"

namespace kubernel::cluster {

struct SandboxOptions {
  std::string self;      // This program's file.
  std::string kubernel;  // The program that runs the components.
  int nodes = 1;
  std::string first_manifest;  // Of node 1, which has the control plane.
  std::string other_manifest;  // Of the others.
  int listen_fd = -1;          // The API's socket on the host's loopback, opened before the namespaces were.
};

// As command line arguments, and back.
std::string to_argument(const SandboxOptions& options);
Result<SandboxOptions> parse_sandbox_options(const std::string& argument);

// The three mains. They return the exit code.
int switch_main(const ClusterPaths& paths, const SandboxOptions& options);
int enter_node_main(const ClusterPaths& paths, const SandboxOptions& options, int node);
int node_main(const ClusterPaths& paths, const SandboxOptions& options, int node);

// Sends one line to the process that started the cluster, when it still listens.
void notify(const ClusterPaths& paths, const std::string& line);

}  // namespace kubernel::cluster
