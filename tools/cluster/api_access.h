// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <kubernel/base/result.h>

#include "cluster_paths.h"

namespace kubernel::cluster {

// The cluster's API as its administrator, over HTTPS on the host's loopback.
class ApiAccess {
 public:
  // Errors: those of the PKI directory.
  static Result<std::unique_ptr<ApiAccess>> open(const ClusterPaths& paths, int port);
  virtual ~ApiAccess() = default;

  // Returns when all nodes up to `count` have the condition Ready; reads a watch, not a clock.
  // Errors: Timeout, naming the nodes that are missing.
  virtual Result<void> wait_for_nodes(int count, std::chrono::steady_clock::time_point deadline) = 0;

  // The body of a 2xx answer. Errors: the Status the server sent.
  virtual Result<std::string> call(const std::string& method, const std::string& path,
                                   std::chrono::steady_clock::time_point deadline) = 0;
};

}  // namespace kubernel::cluster
