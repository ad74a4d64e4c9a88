// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <kubernel/base/result.h>

#include "cluster_paths.h"

namespace kubernel::cluster {

struct UpOptions {
  std::string name = "kubernel";
  int nodes = 1;
  int port = 0;                     // Of the API on 127.0.0.1; 0 lets the system choose.
  std::string manifest;             // Of the node with the control plane; empty: the shipped one.
  std::string node_manifest;        // Of the other nodes.
  std::vector<std::string> images;  // Archives to load into every node's image store before it starts.
  std::chrono::seconds timeout{60};
};

// Starts the cluster and waits until every node is Ready; says what it does on standard error. When it runs already in
// the shape that is asked for, only the images are loaded. Errors: says what failed and where the log is. What was
// begun is taken down again.
Result<ClusterRecord> up(const ClusterPaths& paths, const UpOptions& options);

// Ends every process of the cluster and removes what it made; with `keep_data` its store and images stay for the next
// up().
Result<void> down(const ClusterPaths& paths, bool keep_data);

}  // namespace kubernel::cluster
