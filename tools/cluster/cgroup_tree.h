// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <kubernel/base/result.h>

namespace kubernel::cluster {

// The cgroups of a cluster's nodes, one below the other in every hierarchy of the host: version 1 (a mount per
// controller) or version 2. A hybrid host's version 2 hierarchy, which has no controllers of use, is left alone.
class CgroupTree {
 public:
  // `name`: the cluster's cgroup, "kubernel-<cluster>". `root`: /sys/fs/cgroup, or a copy in a test.
  explicit CgroupTree(std::string name, std::string root = "/sys/fs/cgroup");

  bool unified() const { return unified_; }
  // The version 1 controllers that are mounted, "systemd" for the named hierarchy.
  const std::vector<std::string>& controllers() const { return controllers_; }

  // Makes the node's cgroups; they may exist. Errors: Internal, with the path.
  Result<void> create(const std::string& node) const;
  // Moves the calling process into them.
  Result<void> enter(const std::string& node) const;
  // Removes the cluster's cgroups. Errors: Internal when processes are left in one; its path is named.
  Result<void> remove() const;

 private:
  std::vector<std::string> hierarchies() const;

  std::string name_;
  std::string root_;
  bool unified_ = false;
  std::vector<std::string> controllers_;
};

// Gives the calling process, which is in a cgroup namespace of its own, a /sys that shows that namespace only.
Result<void> mount_own_cgroups(const CgroupTree& tree);

}  // namespace kubernel::cluster
