// SPDX-License-Identifier: Apache-2.0
//
// A simulated sandbox with its containers: what is known of them, how they go on with time, and their form on disk.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <kubernel/runtime/container_runtime.h>

#include "behaviour.h"

namespace kubernel::runtime::simulated {

using WallTime = Clock::WallTime;

struct Container {
  ContainerStatus status;
  Behaviour behaviour;
  std::optional<WallTime> starts_at;  ///< While it starts.
  std::optional<WallTime> ends_at;    ///< While it runs, unless for ever.
  int end_code = 0;                   ///< What it will exit with.
  int end_signal = 0;
  std::unique_ptr<Subscription> timer;  ///< Of its next step.

  /// When it changes by itself; absent: never.
  std::optional<WallTime> next_step() const;
  /// Takes the next step if it is due: from starting to running, from running to exited. False when nothing is.
  bool step(WallTime now);
  /// Asked to stop: it will exit with `code`, when it does by itself no earlier.
  void end_by(WallTime when, int code, int signal);
};

struct Sandbox {
  SandboxStatus status;
  std::string log_directory;
  std::map<std::string, Container, std::less<>> containers;  ///< By id.
};

std::string to_json(const Sandbox& sandbox);
/// Errors: Invalid.
Result<std::unique_ptr<Sandbox>> parse_sandbox(std::string_view json);

}  // namespace kubernel::runtime::simulated
