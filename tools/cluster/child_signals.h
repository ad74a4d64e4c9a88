// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>

#include <kubernel/base/child_process.h>
#include <kubernel/base/result.h>

namespace kubernel::cluster {

// SIGTERM, SIGINT and SIGCHLD as something to wait for. One per process, made before any child.
class ChildSignals {
 public:
  static Result<ChildSignals> open();

  // The next signal's number; absent when `timeout` passed first.
  std::optional<int> next(std::optional<std::chrono::milliseconds> timeout);

 private:
  explicit ChildSignals(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace kubernel::cluster
