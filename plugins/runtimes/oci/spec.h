// SPDX-License-Identifier: Apache-2.0
//
// config.json of the OCI runtime specification: what a container is, said to runc or crun. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/result.h>
#include <kubernel/runtime/container_runtime.h>

#include "manifest.h"
#include "passwd.h"

namespace kubernel::runtime::oci {

struct Device {
  std::string path, type;  ///< type: "c" or "b".
  std::int64_t major = 0, minor = 0;
  std::uint32_t mode = 0, uid = 0, gid = 0;
};

/// What of this machine a spec depends on.
struct Machine {
  std::vector<std::string> capabilities;  ///< The bounding set: "CAP_CHOWN", …
  std::int64_t oom_score_adj = 0;         ///< Ours.
  bool may_lower_oom_score = false;       ///< CAP_SYS_RESOURCE.
  bool cgroup_v2 = false, accounts_swap = false;
  std::vector<Device> devices;  ///< For privileged containers.
};

Result<Machine> read_machine(bool cgroup_v2, bool accounts_swap);

/// The capabilities a container gets: containerd's default set with what is added and dropped, as far as this process
/// has them itself. Errors: Invalid for an unknown name.
Result<std::vector<std::string>> container_capabilities(const SecurityOptions& security, const Machine& machine);

/// Where a sandbox's namespaces are.
struct SandboxPlace {
  std::int64_t pause_pid = 0;
  std::string network_namespace_path;  ///< Empty: the machine's.
  NamespaceMode network = NamespaceMode::Pod, pid = NamespaceMode::Container, ipc = NamespaceMode::Pod;
  std::string hostname, hostname_file, shm_path;
};

struct ContainerSpecInput {
  const ContainerConfig& config;
  const ImageConfig& image;
  const SandboxPlace& sandbox;
  const ProcessUser& user;
  const Machine& machine;
  std::string rootfs, cgroup_path;
  std::string seccomp_json;  ///< linux.seccomp; empty: unconfined.
};

/// Errors: Invalid: no command, an unknown capability, a relative path.
Result<std::string> make_container_spec(const ContainerSpecInput& input);

struct PauseSpecInput {
  const SandboxConfig& config;
  const Machine& machine;
  std::string rootfs, cgroup_path;
};
std::string make_pause_spec(const PauseSpecInput& input);

/// The process of an exec: the container's own, with another command.
/// Errors: Invalid for a config that is not one.
Result<std::string> make_exec_process(std::string_view container_spec, const ExecOptions& options);

/// linux.resources alone, for an update of a running container.
std::string make_resources(const Resources& resources, const Machine& machine);

/// The command by the rules of the Kubernetes API: a command replaces the image's entrypoint and cmd, args replace its
/// cmd.
std::vector<std::string> command_line(const ContainerConfig& config, const ImageConfig& image);

/// "SIGUSR1", "USR1" or "10" as a number; absent when it is none.
std::optional<int> parse_signal(std::string_view text);

}  // namespace kubernel::runtime::oci
