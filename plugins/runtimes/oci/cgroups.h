// SPDX-License-Identifier: Apache-2.0
//
// Cgroups: the control group hierarchies of this machine, version 1 (one tree per controller, perhaps with an almost
// empty version 2 tree beside them) or version 2. Containers' own groups are made by the OCI runtime; pods', and all
// reading, are here.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/context.h>
#include <kubernel/runtime/container_runtime.h>

namespace kubernel::runtime::oci {

class Cgroups {
 public:
  /// Reads the text of /proc/self/mountinfo.
  /// Errors: Internal when no control group file system is mounted.
  static Result<Cgroups> from_mountinfo(std::string_view text);
  static Result<Cgroups> detect();

  /// True when controllers are in the version 2 tree.
  bool v2() const { return by_controller_.empty(); }
  /// Version 1 with a version 2 tree that owns controllers too; crun refuses that.
  bool hybrid_with_controllers() const;
  /// True when memory.memsw (v1) or memory.swap (v2) can be set.
  bool accounts_swap() const;

  /// Makes the group `path` ("/kubepods/burstable/pod…") with its parents in all hierarchies and sets what `resources`
  /// says. Also for a group that exists, to change it.
  Result<void> make(const std::string& path, const Resources& resources) const;
  /// Kills what runs in the group and removes it with the groups in it. Fine when there is none.
  Result<void> remove(const CallContext& ctx, const std::string& path) const;
  /// SIGKILL to every process in the group and the groups in it.
  void kill_all(const std::string& path) const;

  Result<Usage> usage(const std::string& path) const;
  /// How many processes of the group the kernel killed for want of memory; 0 when the group is gone.
  std::int64_t oom_kills(const std::string& path) const;

 private:
  Result<void> make_v1(const std::string& path, const Resources& resources) const;
  Result<void> make_v2(const std::string& path, const Resources& resources) const;
  Result<void> inherit_cpuset(const std::string& tree, const std::string& path) const;
  std::vector<std::string> trees() const;
  std::string at(const std::string& controller, const std::string& path, const std::string& file) const;

  std::map<std::string, std::string> by_controller_;  // v1: "memory" -> mount point. Also "name=systemd".
  std::string unified_;                               // Mount point of the v2 tree; empty: none.
};

/// cpu.weight (1..10000) for cpu.shares (2..262144): the conversion runc and crun use.
std::int64_t cpu_weight(std::int64_t shares);

}  // namespace kubernel::runtime::oci
