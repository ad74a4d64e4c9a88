// SPDX-License-Identifier: Apache-2.0
//
// What is kept on disk about a sandbox and a container, so that another process can take them over.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/result.h>
#include <kubernel/runtime/container_runtime.h>

#include "monitor.h"

namespace kubernel::runtime::oci {

struct SandboxRecord {
  std::string id;
  SandboxConfig config;
  std::int64_t created_ns = 0;  ///< Calendar time.
  ProcessId pause;
};

struct ContainerRecord {
  std::string id, sandbox_id, name, image_id, image_ref, log_path, cgroup_path;
  std::uint32_t attempt = 0;
  std::vector<std::string> chain_ids;
  std::map<std::string, std::string> labels, annotations;
  bool tty = false, stdin_open = false, stdin_once = false;
  bool own_pid_namespace = true;
  int stop_signal = 15;
  State state = State::Created;
  std::int64_t created_ns = 0, started_ns = 0, finished_ns = 0;  ///< 0: not yet.
  ProcessId monitor, process;
  int exit_code = 0;
  std::string reason, message;
};

std::string to_json(const SandboxRecord& record);
std::string to_json(const ContainerRecord& record);
/// Errors: Invalid.
Result<SandboxRecord> parse_sandbox(std::string_view json);
Result<ContainerRecord> parse_container(std::string_view json);

}  // namespace kubernel::runtime::oci
